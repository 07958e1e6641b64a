"""List the published weights that are known, or say what becomes of those in a file.

kinebert weights
kinebert weights --check r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.orchestration.printing import Paragraph, say, say_json, warn
from kinebert.pipelines.options import run
from kinebert.preprocessing.storage import explained

if TYPE_CHECKING:
    from kinebert.training.models.weights.keys import Layout

_SPLITS = ("1", "2", "3")
"""What ``<k>`` stands for in names of files."""


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """List the published weights that are known: source, licence, paper, files, classes, and what their input must be.

    None are shipped: get a file from its authors and give it to a recipe as model.weights: its path, its name in the
    folder that KINEBERT_WEIGHTS names, or its https:// or hf:// address with model.weights_digest. With --check, print
    what would become of every weight in a file; exit status 1 if something is unaccounted for.
    """

    check: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """File to report on: a path or URI, a name in the folder KINEBERT_WEIGHTS, or an https:// or hf:// address."""
    digest: str = ""
    """SHA-256 of FILE, without which none is fetched from the web."""
    layout: str | None = None
    """List only this layout, or read FILE as it; by default FILE's is recognised from its keys."""
    backbone: str | None = None
    """Backbone to load FILE into; by default the network that FILE is of is looked for."""
    reduction: str = "none"
    """Its feature reduction."""
    head: str = "tgap"
    """Its temporal head."""
    modality: str = "rgb"
    """Its input: rgb, flow or pose."""
    frames: int = 16
    """Images in its clip."""
    size: int = 112
    """Height and width of its input, pixels."""
    num_classes: int = 51
    """Scores that it returns."""
    allow: tuple[str, ...] = ()
    """Patterns (such as head.*) of parameters that FILE may lack, and of its keys that need no place."""
    json: bool = False
    """Print JSON."""
    table: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the list to a Markdown file, and nothing else."""


def main(config: WeightsConfig) -> int:
    """Print the list or the report and return the exit status."""
    if config.check is not None:
        return _check(config, config.check)
    from kinebert.preprocessing.lookup import find
    from kinebert.training.models.weights import known as about
    from kinebert.training.models.weights.keys import layouts

    known = {layout.name: layout for layout in layouts()}
    chosen = [find(known, config.layout, "layout of weights")] if config.layout else list(known.values())
    if config.table is not None:
        with explained(config.table, "write this table"):
            Path(config.table).write_text(about.markdown(chosen), encoding="utf-8")
        say(f"table: {config.table}")
    elif config.json:
        say_json([about.plain(layout) for layout in chosen])
    else:
        from kinebert.training.models.weights.sources import told_folders

        for layout in chosen:
            say(*_lines(layout), "")
        say(Paragraph(text=f"found by name: what lies in the folders {told_folders()}", hanging=4))
        say('next: kinebert weights --check FILE, then model.weights = "FILE" in a recipe')
    return 0


def _lines(layout: "Layout") -> Iterator[Paragraph]:
    """Say all of a layout and its files; what their input must be is said where it changes."""
    from kinebert.training.models.weights import known as about

    yield Paragraph(text=f"{layout.name}: {layout.source}", hanging=4)
    for name in ("paper", "licence", "url"):
        if getattr(layout, name):
            yield Paragraph(text=f"{name}: {getattr(layout, name)}", indent=2, hanging=2)
    before = ""
    for name, network, data, classes, given in about.rows(layout):
        if given != before:
            yield Paragraph(text=f"input: {given}", indent=2, hanging=2)
        before = given
        yield Paragraph(text=name)  # the longest fill a terminal of 80 columns
        yield Paragraph(text=f"{network}; {data}; classes: {classes}", indent=4, hanging=2)
        yield from (Paragraph(text=f"found here: {place}", indent=4, hanging=2) for place in _found(name))


def _found(name: str) -> list[str]:
    from kinebert.training.models.weights.sources import found_by_name

    names = [name.replace("<k>", split) for split in _SPLITS] if "<k>" in name else [name]
    return [place for one in names if (place := found_by_name(one)) is not None]


def _check(config: WeightsConfig, file: str) -> int:
    from kinebert.training.models.sizes.unallocated import build_unallocated
    from kinebert.training.models.weights.known import identify
    from kinebert.training.models.weights.load import check_published
    from kinebert.training.models.weights.sources import local_weights

    uri = local_weights(file, config.digest, warn)
    if config.backbone is None:
        model, report, fits = identify(uri, config.layout, allow=config.allow)
    else:
        model = build_unallocated(
            backbone=config.backbone,
            reduction=config.reduction,
            head=config.head,
            modality=config.modality,
            num_classes=config.num_classes,
            clip_length=config.frames,
            size=config.size,
        )
        report, fits = check_published(model, uri, config.layout, allow=config.allow)
    names = ("backbone", "reduction", "head", "modality", "num_classes")
    network = ", ".join(f"{name} {model.config[name] or 'none'}" for name in names)
    if config.json:
        say_json({"network": model.config, "fits": fits, "report": asdict(report)})
    else:
        say(f"network: {network}")
        say(*report.lines())
        say(f"{uri}: {'every weight is accounted for' if fits else 'refused: something is unaccounted for'}")
    return 0 if fits else 1


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, WeightsConfig, args, "kinebert weights")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
