"""One part of a diagnosis, in a process of its own: ``python -m kinebert.orchestration.diagnosis.part NAME FOLDER...``.

A library that crashes or hangs when it is imported takes nothing else along. Findings leave as lines of JSON, each when
it is made; whatever else is printed goes to standard error.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from kinebert.orchestration.diagnosis.findings import Finding

PARTS = {
    "packages": "packages.look",
    "machine": "machine.look",
    "disks": "folders.look",
    "torch": "gpus.look",
    "video": "video.look",
    "poses": "poses.look",
    "Ray": "services.look_at_ray",
    "MLflow": "services.look_at_mlflow",
}
"""Parts in the order in which they are shown, with what looks at them."""


def findings(name: str, folders: Sequence[str]) -> Iterator[Finding]:
    """Look at one part. ``folders`` are what is to be looked at beside the usual ones."""
    module, _, function = PARTS[name].partition(".")
    look: Callable[..., Iterator[Finding]] = getattr(
        importlib.import_module(f"kinebert.orchestration.diagnosis.{module}"), function
    )
    yield from look(folders) if name == "disks" else look()


def main(name: str, *folders: str) -> None:
    """Print what is found."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for finding in findings(name, folders):
        answers.write(json.dumps(asdict(finding)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
