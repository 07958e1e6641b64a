"""Keys of facebookresearch/SlowFast (PySlowFast) and of open-mmlab/mmaction2, which ported its weights: X3D."""

from collections.abc import Iterator, Mapping
from typing import Any

from kinebert.training.models.inputs import SLOWFAST, Normalization
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options
from kinebert.training.models.weights.keys.libraries.pyslowfast import LICENCE, ZOO, Rule

PAPER = "X3D: Expanding architectures for efficient video recognition, arXiv:2004.04730"
_FACTORS = {(24, 3): (2.0, 2.2), (24, 5): (2.0, 5.0), (35, 5): (2.9, 5.0)}
"""Width and depth factor of the network with so many channels in its stem and blocks in its first stage."""


def _published_rules() -> Iterator[Rule]:
    stem, last = r"s1\.pathway0_stem\.", r"head\.conv_5"
    yield stem + r"conv_xy\.weight", "backbone.stem.0.weight"
    yield stem + r"conv\.weight", "backbone.stem.1.weight"
    yield stem + r"bn\.(.+)", r"backbone.stem.2.\1"
    for stage in range(1, 5):
        theirs, ours = rf"s{stage + 1}\.pathway0_res(\d+)\.", rf"backbone.layer{stage}.\1."
        yield theirs + r"branch1\.weight", ours + "downsample.0.weight"
        yield theirs + r"branch1_bn\.(.+)", ours + r"downsample.1.\2"
        yield theirs + r"branch2\.se\.fc1\.(.+)", ours + r"excitation.squeeze.\2"
        yield theirs + r"branch2\.se\.fc2\.(.+)", ours + r"excitation.excite.\2"
        for i, letter in enumerate("abc", start=1):
            yield theirs + rf"branch2\.{letter}\.weight", ours + f"conv{i}.weight"
            yield theirs + rf"branch2\.{letter}_bn\.(.+)", ours + rf"bn{i}.\2"
    yield last + r"\.weight", "backbone.last.0.weight"
    yield last + r"_bn\.(.+)", r"backbone.last.1.\1"
    yield r"head\.lin_5\.weight", "head.projection.weight"
    yield r"head\.projection\.(weight|bias)", r"classifier.\1"


def _ported_rules() -> Iterator[Rule]:
    block = r"(layer[1-4]\.\d+)\."
    yield r"conv1_s\.conv\.weight", "backbone.stem.0.weight"
    yield r"conv1_t\.conv\.weight", "backbone.stem.1.weight"
    yield r"conv1_t\.bn\.(.+)", r"backbone.stem.2.\1"
    yield block + r"conv([1-3])\.conv\.weight", r"backbone.\1.conv\2.weight"
    yield block + r"conv([1-3])\.bn\.(.+)", r"backbone.\1.bn\2.\3"
    yield block + r"se_module\.fc1\.(.+)", r"backbone.\1.excitation.squeeze.\2"
    yield block + r"se_module\.fc2\.(.+)", r"backbone.\1.excitation.excite.\2"
    yield block + r"downsample\.conv\.weight", r"backbone.\1.downsample.0.weight"
    yield block + r"downsample\.bn\.(.+)", r"backbone.\1.downsample.1.\2"
    yield r"conv5\.conv\.weight", "backbone.last.0.weight"
    yield r"conv5\.bn\.(.+)", r"backbone.last.1.\1"
    yield r"cls_head\.fc1\.weight", "head.projection.weight"
    yield r"cls_head\.fc2\.(weight|bias)", r"classifier.\1"


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any], stem: str, block: str) -> dict[str, Any]:
    channels = shapes.get(stem, (0,))[0]
    blocks = sum(block.format(i) in shapes for i in range(16))
    if (channels, blocks) not in _FACTORS:
        return {}
    width, depth = _FACTORS[channels, blocks]
    return known_options({"width_factor": width, "depth_factor": depth}, present)


def _published_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    return _options(shapes, present, "s1.pathway0_stem.conv_xy.weight", "s2.pathway0_res{}.branch2.a.weight")


def _ported_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    return _options(shapes, present, "conv1_s.conv.weight", "layer1.{}.conv1.conv.weight")


def _file(name: str, backbone: str, num_frames: int, interval: int, crop_size: int) -> PublishedFile:
    return PublishedFile(
        name=name,
        backbone=backbone,
        num_classes=400,
        num_frames=num_frames,
        frame_interval=interval,
        crop_size=crop_size,
    )


LAYOUTS = (
    Layout(
        name="pyslowfast_x3d",
        source="facebookresearch/SlowFast (PySlowFast), X3D",
        paper=PAPER,
        licence=LICENCE,
        url=ZOO,
        rules=tuple(_published_rules()),
        normalization={"rgb": SLOWFAST},
        options=_published_options,
        replaceable=("head.projection",),
        files=(
            _file("x3d_xs.pyth", "x3d_xs", 4, 12, 160),
            _file("x3d_s.pyth", "x3d_s", 13, 6, 160),
            _file("x3d_m.pyth", "x3d_m", 16, 5, 224),
            _file("x3d_l.pyth", "x3d_l", 16, 5, 312),
        ),
    ),
    Layout(
        name="mmaction2_x3d",
        source="open-mmlab/mmaction2, X3D (ported from PySlowFast)",
        paper=PAPER,
        licence="Apache-2.0",
        url="https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/x3d",
        rules=tuple(_ported_rules()),
        normalization={"rgb": Normalization(mean=(114.75,) * 3, std=(57.38,) * 3, value_range=(0.0, 255.0))},
        options=_ported_options,
        replaceable=("head.projection",),
        files=(
            _file("x3d_s_facebook_13x6x1_kinetics400_rgb_20201027-623825a0.pth", "x3d_s", 13, 6, 160),
            _file("x3d_m_facebook_16x5x1_kinetics400_rgb_20201027-3f42382a.pth", "x3d_m", 16, 5, 224),
        ),
    ),
)
