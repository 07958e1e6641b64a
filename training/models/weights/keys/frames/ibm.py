"""Keys of IBM/action-recognition-pytorch: TSN, TAM, I3D and S3D, each of ResNets and of Inception-V1.

Its TSN has the names of torchvision's networks, and is read as these: it expects the same. Nothing in a file says
whether frames are pooled over time: the network that it is loaded into decides.
"""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inception import MIXED
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import TRUNK

_BLOCK = r"(layer[1-4]\.\d+)\."
_BRANCHES = {
    "branch1": "point",
    r"branch2\.0": "first_reduce",
    r"branch2\.1": "first",
    r"branch3\.0": "second_reduce",
    r"branch3\.1": "second",
    r"branch4\.1": "pooled",
}
_TAM = {"prev": "previous", "curr": "current", "next": "following"}
_PLACES = dict(zip(("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"), MIXED, strict=True))
"""Our names of inception blocks by the ends of theirs."""

Rules = tuple[tuple[str, str], ...]


def _unit(theirs: str, ours: str) -> Rules:
    return (
        (rf"{theirs}\.conv\.weight", f"backbone.{ours}.conv.weight"),
        (rf"{theirs}\.bn\.(.+)", rf"backbone.{ours}.norm.\1"),
        (rf"{theirs}\.conv_t\.(weight|bias)", rf"backbone.{ours}.time.1.\1"),
        (rf"{theirs}\.bn_t\.(.+)", rf"backbone.{ours}.time.2.\1"),
    )


def _tam(theirs: str, ours: str) -> Rules:
    return tuple(
        (rf"{theirs}\.{name}_se\.fc1\.weight", f"backbone.{ours}.inside.{part}") for name, part in _TAM.items()
    )


GOOGLENET: Rules = (
    *(rule for i in (1, 2, 3) for rule in (*_unit(f"conv{i}", f"conv{i}"), *_tam(f"tam{i}", f"conv{i}"))),
    *(
        rule
        for end, ours in _PLACES.items()
        for branch, part in _BRANCHES.items()
        for rule in _unit(rf"inception{end}\.{branch}", f"{ours}.{part}")
    ),
    *(rule for end, ours in _PLACES.items() for rule in _tam(f"tam{end}", ours)),
    (r"fc\.(weight|bias)", r"classifier.\1"),
)
"""Rules for Inception-V1, torchvision's included."""
_RESNET: Rules = (
    (_BLOCK + r"conv([12])_t\.weight", r"backbone.\1.time\2.1.weight"),
    (_BLOCK + r"bn([12])_t\.(.+)", r"backbone.\1.time\2.2.\3"),
    *_tam(_BLOCK + "tam", r"\1"),
    *TRUNK,
)


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    axes = len(shapes.get("conv1.weight", shapes.get("conv1.conv.weight", ())))
    factored = any("_t." in key for key in shapes)
    if "temporal" not in present or (axes < 5 and not any("prev_se" in key for key in shapes)):
        return None  # a 3D ResNet's, or torchvision's
    return {"temporal": "tam" if axes < 5 else "conv1d" if factored else "conv3d"}


def _published(data: str, temporal: str, depth: int) -> PublishedFile:
    kinetics = data == "K400"
    return PublishedFile(
        name=f"{data}-{'TAM' if temporal == 'tam' else 'I3D'}-ResNet-{depth}-f32",
        backbone=f"resnet{depth}",
        backbone_options={"temporal": temporal},
        num_classes=400 if kinetics else 174,
        num_frames=32,
        crop_size=256,
        frame_interval=2 if kinetics else 1,
        data="Kinetics-400" if kinetics else "Something-Something-V2",
    )


LAYOUTS = (
    Layout(
        name="ibm",
        source="IBM/action-recognition-pytorch",
        paper="Deep analysis of CNN-based spatio-temporal representations for action recognition, arXiv:2010.11757",
        licence="Apache-2.0",
        url="https://github.com/IBM/action-recognition-pytorch#models-and-results",
        rules=(*_RESNET, *GOOGLENET),
        options=_options,
        files=(
            *(_published("K400", temporal, depth) for depth in (50, 101) for temporal in ("conv3d", "tam")),
            *(_published("SSV2", temporal, 50) for temporal in ("conv3d", "tam")),
        ),
    ),
)
