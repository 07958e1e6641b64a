"""Keys of alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates: MTNet.

Its README offers files without names: they are called here as its table calls the networks.
"""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options
from kinebert.training.models.weights.keys.clips.srtg import NORMALIZATION, SOURCE, URL

_BLOCK = r"(layer[1-4]\.\d+)\."
_CONV = r"(conv1_1|conv1_2|conv2|conv3|downsample)\."


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    short, long, inside, beside = (
        shapes.get(f"layer4.0.{conv}.conv_{branch}.weight", (0,))[0]
        for conv in ("conv3", "conv1_1")
        for branch in ("short", "long")
    )
    if not min(short, long, inside + beside):
        return None
    channels = short + long
    wanted = {"ratio": short / channels, "groups": channels // (inside + beside)}
    if int(channels * present.get("ratio", 0)) == short:
        wanted["ratio"] = present["ratio"]
    return known_options(wanted, present)


def _file(name: str) -> PublishedFile:
    return PublishedFile(
        name=name, backbone=name, num_classes=200, num_frames=16, crop_size=256, frame_interval=2, data="HACS"
    )


LAYOUTS = (
    Layout(
        name="mtnet",
        source=SOURCE,
        paper="Multi-temporal convolutions for human action recognition in videos, arXiv:2011.03949",
        licence="MIT",
        url=URL,
        rules=(
            (r"(stem\.[01]\..+)", r"backbone.\1"),
            (_BLOCK + _CONV + r"conv_short2long\.weight", r"backbone.\1.\2.lateral.weight"),
            (_BLOCK + _CONV + r"((?:conv|norm)_(?:short|long)\..+)", r"backbone.\1.\2.\3"),
            (_BLOCK + r"sr_(short|long)\.op\.(.+)", r"backbone.\1.recursion_\2.cells.\3"),
            (r"fc\.(weight|bias)", r"classifier.\1"),
        ),
        normalization=NORMALIZATION,
        options=_options,
        files=tuple(_file(f"mtnet_{size}") for size in "sml"),
    ),
)
