"""Keys of IBM/bLVNet-TAM."""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import IMAGENET
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

_NET = r"baseline_model\."
_ENTRY = {
    "conv1": "stem.0",
    "bn1": "stem.1",
    "b_conv0": "entry.big.0",
    "bn_b0": "entry.big.1",
    "l_conv0": "entry.little.0",
    "bn_l0": "entry.little.1",
    "l_conv1": "entry.little.3",
    "bn_l1": "entry.little.4",
    "l_conv2": "entry.little.6",
    "bn_l2": "entry.little.7",
    "bl_init": "entry.merged.0",
    "bn_bl_init": "entry.merged.1",
}
_TAM = {"prev": "previous", "curr": "current", "next": "following"}
_STAGES = _NET + r"(layer[1-3])\."
_LAST = _NET + r"layer4\."


def _rules() -> tuple[tuple[str, str], ...]:
    rules = [(rf"{_NET}{theirs}\.(.+)", rf"backbone.{ours}.\1") for theirs, ours in _ENTRY.items()]
    for theirs, ours in _TAM.items():
        rules += [
            (rf"{_NET}tam\.{theirs}\.weight", f"backbone.entry.tam.{ours}"),
            (rf"{_STAGES}tam\.{theirs}\.weight", rf"backbone.\1.0.tam.{ours}"),
            (rf"{_LAST}0\.tam\.{theirs}\.weight", f"backbone.layer4.0.before.{ours}"),
            (rf"{_LAST}([12])\.tam\.{theirs}\.weight", rf"backbone.layer4.\1.inside.{ours}"),
        ]
    return (
        *rules,
        (_STAGES + r"big\.(.+)", r"backbone.\1.0.big.\2"),
        (_STAGES + r"little\.(.+)", r"backbone.\1.0.little.0.\2"),
        (_STAGES + r"little_e\.0\.weight", r"backbone.\1.0.little.1.weight"),
        (_STAGES + r"little_e\.1\.(.+)", r"backbone.\1.0.little.2.\2"),
        (_STAGES + r"fusion\.0\.(.+)", r"backbone.\1.0.merged.\2"),
        (_LAST + r"(\d\.(?:conv|bn|downsample).+)", r"backbone.layer4.\1"),
        (r"new_fc\.(weight|bias)", r"classifier.\1"),
    )


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    little = shapes.get("baseline_model.l_conv0.weight", ())
    return known_options({"alpha": little[1] // little[0]}, present) if len(little) == 4 else None


def _file(data: str, about: str, num_classes: int, depth: int, pairs: int) -> PublishedFile:
    return PublishedFile(
        name=f"{data}-bLVNet-TAM-{depth}-a2-b4-f{pairs}x2.pth.tar",
        backbone=f"blvnet_tam_{depth}",
        num_classes=num_classes,
        num_frames=2 * pairs,
        crop_size=224,
        data=about,
    )


LAYOUTS = (
    Layout(
        name="blvnet_tam",
        source="IBM/bLVNet-TAM",
        paper="More is less: learning efficient video representations by big-little network and depthwise temporal "
        "aggregation, arXiv:1912.00869",
        licence="Apache-2.0",
        url="https://github.com/IBM/bLVNet-TAM#pretrained-models",
        rules=_rules(),
        normalization={"rgb": IMAGENET},
        options=_options,
        files=(
            *(
                _file(f"st2stv{version}", f"Something-Something V{version}", 174, depth, pairs)
                for version in (1, 2)
                for depth, every in ((50, (8, 16)), (101, (8, 16, 24, 32)))
                for pairs in every
            ),
            *(_file("kinetics400", "Kinetics-400", 400, 50, pairs) for pairs in (8, 16)),
        ),
    ),
)
