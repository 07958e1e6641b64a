"""Say what a network consists of and what it costs, without building it in memory.

kinebert describe recipe.toml
kinebert describe --backbone resnext101 --reduction frmb --head bert --frames 64 --size 112 --num-classes 51 --json
"""

import json
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from kinebert.orchestration.printing import Table, say, say_json
from kinebert.pipelines.options import Overrides, run
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import read_toml
from kinebert.preprocessing.errors import ConfigError

if TYPE_CHECKING:  # slow imports
    from kinebert.training.clips.sampling import Clips
    from kinebert.training.models.sizes.measure import Sizes
    from kinebert.training.recipe.train import TrainRecipe

COUNT = (
    "the BERT papers' own count of the published network, as ptflops 0.5.2 makes it: multiply-adds of convolutions, "
    "linear and recurrent layers, biases, 2 per element out of a batch norm, 1 per element out of a ReLU layer and "
    "into a pooling layer; no products of attention"
)


@dataclass(frozen=True, kw_only=True)
class DescribeConfig:
    """Print a network's parts with their shapes, parameters and multiply-adds, per clip and per video.

    The network is that of a recipe, or the default one; every option given here goes over it.
    """

    recipe: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="RECIPE")] = None
    """TOML file of a training, or the name of a recipe (`kinebert recipes` lists them)."""
    backbone: str | None = None
    """Name of the backbone."""
    reduction: str | None = None
    """Feature reduction: none, frab or frmb."""
    head: str | None = None
    """Name of the temporal head."""
    width: float | None = None
    """Multiplier of the backbone's channels."""
    frames: int | None = None
    """Images in a clip."""
    size: int | None = None
    """Height and width of the input, pixels."""
    overrides: Overrides = ()
    """Values to take instead of the recipe's, such as model.head_options.num_layers=2."""
    modality: str | None = None
    """rgb, flow or pose: decides the channels of the input; by default the recipe's, else rgb."""
    flow_stack: int | None = None
    """Flow fields in the channels of one image, by default the recipe's: 10 of them are 20 channels."""
    num_classes: int = 51
    """Scores that the network returns."""
    clips: int | None = None
    """Clips of a video that are scored; by default as many as the recipe tests, where that is a number, else 1."""
    crops: int | None = None
    """Crops of each clip that are scored, by default as many as the recipe tests: the papers' ten are four corners and
    the centre, and their mirror images."""
    video_frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Take the clips that `kinebert evaluate` makes of a video of N images, instead of --clips: as the recipe tests it,
    or else all without overlap."""
    json: bool = False
    """Print JSON."""
    paper_tables: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the papers' tables of parameters and operations beside ours to a Markdown file, and nothing else."""


def main(config: DescribeConfig) -> int:
    """Print the sizes and return the exit status."""
    if config.paper_tables is not None:
        from kinebert.preprocessing.storage import explained
        from kinebert.training.models.sizes.papers.page import sizes_page

        with explained(config.paper_tables, "write this table"), Path(config.paper_tables).open("w") as page:
            page.write(sizes_page())
        say(f"table: {config.paper_tables}")
        return 0
    given = [number for number in (config.clips, config.crops, config.video_frames) if number is not None]
    if given and min(given) < 1:
        raise ConfigError("clips, crops and video_frames must be at least 1.")
    recipe = _recipe(config)
    from kinebert.training.models.sizes.measure import (
        sizes_of,  # a slow import, after the options are known to be right
    )

    network = {
        **recipe.model.arguments(),
        "modality": config.modality or recipe.data.modality or "rgb",
        "flow_stack": recipe.data.flow_stack if config.flow_stack is None else config.flow_stack,
        "num_classes": config.num_classes,
        "clip_length": recipe.data.clip_length,
        "size": recipe.data.crop_size,
    }
    found = _as_json(sizes_of(**network), network, _protocol(config, recipe))
    if config.json:
        say_json(found, indent=2)
    else:
        say(*_told(found))
        if recipe.distill is not None:
            say(
                f"taught by {recipe.distill.teacher or 'a teacher that is not named yet'} ({recipe.distill.method}): "
                "kinebert train --dry-run reads it, and counts its memory"
            )
    counted = isinstance(recipe.test.clips, int) or recipe.test.clips == "single"
    if not counted and config.clips is config.video_frames is None and not config.json:
        say("note: this recipe tests as many clips as a video has; --video-frames N counts those of N images")
    return 0


def _recipe(config: DescribeConfig) -> "TrainRecipe":
    """The recipe with the options over it."""
    from kinebert.training.recipe.train import TrainRecipe

    given = {
        "model.backbone": config.backbone,
        "model.reduction": config.reduction,
        "model.head": config.head,
        "model.width": config.width,
        "data.clip_length": config.frames,
        "data.crop_size": config.size,
    }
    options = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    values = read_toml(config.recipe, [*chain.from_iterable(config.overrides), *options])
    values.setdefault("data", {}).setdefault("shards", "")  # nothing is read
    return from_mapping(TrainRecipe, values, where=config.recipe or "the options")


def _protocol(config: DescribeConfig, recipe: "TrainRecipe") -> dict[str, int]:
    from kinebert.training.clips.sampling import eval_clips
    from kinebert.training.clips.stacking import places

    data, test, images = recipe.data, recipe.test, config.video_frames
    clips = config.clips or (test.clips if isinstance(test.clips, int) else 1)
    crops = test.crops if config.crops is None else config.crops
    if images is not None:
        which: Clips = "multi" if test.clips == "single" else test.clips
        begins = places(images, data.flow_stack if config.flow_stack is None else config.flow_stack)
        clips = len(eval_clips(data.sampling, which, begins, data.clip_length, data.frame_interval, test.step))
    return {"clips": clips, "crops": crops, "views": clips * crops}


def _as_json(sizes: "Sizes", network: Mapping[str, Any], protocol: Mapping[str, int]) -> dict[str, Any]:
    keys = ("input_shape", "output_shape", "parameters", "macs", "paper_flops")
    total = {key: getattr(sizes, key) for key in keys}
    parts = [
        {"name": part.name, "kind": part.kind, **{key: getattr(part, key) for key in keys}} for part in sizes.parts
    ]
    video = {key: protocol["views"] * total[key] for key in ("macs", "paper_flops")}
    return {
        "network": dict(network),
        **total,
        "operations": dict(sizes.operations),
        "parts": parts,
        "per_video": {**protocol, **video},
        "paper_flops_is": COUNT,
    }


def _told(found: Mapping[str, Any]) -> list[str | Table]:
    network, video = found["network"], found["per_video"]
    made_of = " + ".join(network[key] for key in ("backbone", "reduction", "head") if network[key] is not None)
    rows = [_row(part["name"], part["kind"], part) for part in found["parts"]]
    rows.append(_row("the network", "", found))
    header = ("part", "kind", "shape out", "parameters", "GMac", "paper_flops, G")
    return [
        f"{made_of}: {network['modality']}, {network['num_classes']} classes, clip {_shape(found['input_shape'])}",
        "",
        Table(header=header, rows=rows, align="lll"),
        "",
        f"per clip: {_giga(found)}",
        f"per video of {video['clips']} clips x {video['crops']} crops = {video['views']} views: {_giga(video)}",
        "",
        *textwrap.wrap(f"paper_flops is {found['paper_flops_is']}.", 120),
    ]


def _giga(counts: Mapping[str, int]) -> str:
    return f"{counts['macs'] / 1e9:,.2f} GMac, {counts['paper_flops'] / 1e9:,.2f} G as the papers count"


def _row(name: str, kind: str, sizes: Mapping[str, Any]) -> tuple[str, ...]:
    giga = (f"{sizes[key] / 1e9:.4f}" for key in ("macs", "paper_flops"))
    return name or "between the parts", kind, _shape(sizes["output_shape"]), f"{sizes['parameters']:,}", *giga


def _shape(shape: Any) -> str:
    if shape and isinstance(shape[0], tuple):
        return " and ".join(map(_shape, shape))
    each = " x ".join(map(str, shape[1:]))
    return f"{shape[0]} of {each}" if shape and shape[0] > 1 else each  # frames, where each goes by itself


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, DescribeConfig, args, "kinebert describe")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
