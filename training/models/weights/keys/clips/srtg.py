"""Keys of alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates: SRTG and, without its cells, the networks below it.

Its README offers files without names: they are called here as its table calls the networks (``srtg_r3d_32`` has 34
layers). Those of ``srtg_r2plus1d_50`` and ``srtg_r2plus1d_101`` have one link. Of the networks without cells none is
offered: listed is what the training program calls its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from kinebert.training.models.inputs import FLOW, MFNET
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

SOURCE = "alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates"
URL = f"https://github.com/{SOURCE}#pre-trained-weights"
NORMALIZATION = {"rgb": MFNET, "flow": FLOW, "pose": MFNET}

_BLOCK = r"(layer[1-4]\.\d+)\."


def _rules(kernels: tuple[tuple[str, str], ...], inside: str) -> tuple[tuple[str, str], ...]:
    return (
        (r"(stem\.[0134]\..+)", r"backbone.\1"),
        *((_BLOCK + theirs, rf"backbone.\1.{inside}{ours}") for theirs, ours in kernels),
        (_BLOCK + r"(downsample\.[01]\..+)", rf"backbone.\1.{inside}\2"),
        (_BLOCK + r"sar\.lstm\.(.+)", r"backbone.\1.recursion.cells.\2"),
        (r"fc\.(weight|bias)", r"classifier.\1"),
    )


_R3D = (
    (r"conv([12])\.0\.0\.weight", r"conv\2.weight"),
    (r"conv([13])\.0\.weight", r"conv\2.weight"),
    (r"conv([123])\.1\.(.+)", r"bn\2.\3"),
)
_R2PLUS1D = ((r"(conv[123](?:\.[013])+\.\w+)", r"\2"),)


def _options(
    factorised: bool, recursion: bool, shapes: Mapping[str, Shape], present: Mapping[str, Any]
) -> dict[str, Any] | None:
    if ("stem.3.weight" in shapes) != factorised or any(".sar." in key for key in shapes) != recursion:
        return None
    if recursion:
        return {}
    # a factorised network without bottlenecks has the keys and shapes of torchvision's
    inside, outside = (shapes.get(f"layer1.0.conv{i}.0.weight", ())[:1] for i in (1, 3))
    if factorised and present.get("family") != "srtg" and (inside != outside or not inside):
        return None
    return known_options({"family": "srtg", "shortcut": "B"}, present)


def _layout(name: str, factorised: bool, recursion: bool, files: tuple[PublishedFile, ...] = ()) -> Layout:
    return Layout(
        name=name,
        source=SOURCE,
        paper="Learn to cycle: time-consistent feature discovery for action recognition, arXiv:2006.08247",
        licence="MIT",
        url=URL,
        rules=_rules(_R2PLUS1D if factorised else _R3D, "block." if recursion else ""),
        normalization=NORMALIZATION,
        options=partial(_options, factorised, recursion),
        files=files,
    )


def _file(name: str, backbone: str) -> PublishedFile:
    return PublishedFile(
        name=name, backbone=backbone, num_classes=200, num_frames=16, crop_size=264, frame_interval=2, data="HACS"
    )


def _saved(network: str, backbone: str) -> PublishedFile:
    return replace(
        _file(f"{network}_ep-<k><k><k><k>.pth", backbone),
        crop_size=224,
        backbone_options={"family": "srtg"},
        data="what its program is given",
    )


LAYOUTS = (
    _layout(
        "srtg_r3d",
        factorised=False,
        recursion=True,
        files=(
            _file("srtg_r3d_32", "srtg_r3d_34"),
            _file("srtg_r3d_50", "srtg_r3d_50"),
            _file("srtg_r3d_101", "srtg_r3d_101"),
        ),
    ),
    _layout(
        "srtg_r2plus1d",
        factorised=True,
        recursion=True,
        files=(
            _file("srtg_r2plus1d_50", "srtg_r2plus1d_50"),
            _file("srtg_r2plus1d_101", "srtg_r2plus1d_101"),
        ),
    ),
    _layout(
        "srtg_plain_r3d",
        factorised=False,
        recursion=False,
        files=tuple(_saved(f"r3d_{layers}", f"resnet3d_{layers}") for layers in (34, 50, 101)),
    ),
    _layout(
        "srtg_plain_r2plus1d",
        factorised=True,
        recursion=False,
        files=(_saved("r2plus1d_50", "r2plus1d_50"),),
    ),
)
