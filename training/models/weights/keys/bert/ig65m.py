"""Keys of moabitcoin/ig65m-pytorch and of VMZ's PyTorch half: R(2+1)D trained on IG-65M, and fine-tuned on Kinetics."""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import FLOW, KINETICS
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

R2PLUS1D = (
    (r"(stem\.[0134]\..+)", r"backbone.\1"),
    (r"(layer[1-4]\.\d+\.conv[12]\.0\.[03]\.weight)", r"backbone.\1"),
    (r"(layer[1-4]\.\d+\.conv[12]\.(?:0\.1|1)\..+)", r"backbone.\1"),
    (r"(layer[1-4]\.\d+\.downsample\.[01]\..+)", r"backbone.\1"),
    (r"fc\.(weight|bias)", r"classifier.\1"),
)
"""Rules for R(2+1)D with basic blocks, torchvision's included: the names here are theirs."""


def one_middle(shapes: Mapping[str, Shape], prefix: str = "") -> bool:
    """Whether the first block of a stage has one middle width, as torchvision's have and these have not."""
    first, second = (shapes.get(f"{prefix}layer2.0.conv{i}.0.0.weight", ())[:1] for i in (1, 2))
    return first == second


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    return None if one_middle(shapes) else known_options({"family": "ig65m"}, present)


def _file(name: str, num_classes: int, num_frames: int, data: str) -> PublishedFile:
    return PublishedFile(
        name=name, backbone="r2plus1d_34", num_classes=num_classes, num_frames=num_frames, crop_size=112, data=data
    )


LAYOUTS = (
    Layout(
        name="ig65m",
        source="moabitcoin/ig65m-pytorch, converted from facebookresearch/VMZ",
        paper="Large-scale weakly-supervised pre-training for video action recognition, arXiv:1905.00561",
        licence="MIT",
        url="https://github.com/moabitcoin/ig65m-pytorch/releases/tag/v1.0.0",
        rules=R2PLUS1D,
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        options=_options,
        files=(
            _file("r2plus1d_34_clip8_ig65m_from_scratch-9bae36ae.pth", 487, 8, "IG-65M"),
            _file("r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b.pth", 400, 8, "IG-65M, then Kinetics-400"),
            _file("r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth", 359, 32, "IG-65M"),
            _file("r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth", 400, 32, "IG-65M, then Kinetics-400"),
        ),
    ),
)
