"""Keys of R(2+1)D beyond basic blocks and one convolution a shortcut: VMZ's with 152 layers, and mmaction2's.

VMZ's PyTorch half names the other depths as :mod:`..bert.ig65m` has it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kinebert.training.models.inputs import FLOW, IMAGENET, KINETICS
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

PAPER = "A closer look at spatiotemporal convolutions for action recognition, arXiv:1711.11248"
_BLOCK = r"(layer[1-4]\.\d+)\."
_HALVES = {r"conv_s\.": "0.", r"bn_s\.": "1.", r"conv_t\.": "3."}
"""mmaction2's names of the layers of a factorised convolution, and their places."""


def _family(name: str, key: str) -> Callable[[Mapping[str, Shape], Mapping[str, Any]], dict[str, Any] | None]:
    def options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
        return known_options({"family": name}, present) if key in shapes else None

    return options


def _mmaction2_rules() -> tuple[tuple[str, str], ...]:
    stem, block = r"backbone\.conv1\.", rf"backbone\.{_BLOCK}"
    rules = [(rf"{stem}bn\.(.+)", r"backbone.stem.4.\1"), (r"cls_head\.fc_cls\.(weight|bias)", r"classifier.\1")]
    for theirs, ours in _HALVES.items():
        rules += [
            (rf"{stem}conv\.{theirs}(.+)", rf"backbone.stem.{ours}\1"),
            (rf"{block}conv([12])\.conv\.{theirs}(.+)", rf"backbone.\1.conv\2.0.{ours}\3"),
            (rf"{block}downsample\.conv\.{theirs}(.+)", rf"backbone.\1.downsample.0.{ours}\2"),
        ]
    rules.append((rf"{block}conv([12])\.bn\.(.+)", r"backbone.\1.conv\2.1.\3"))
    rules.append((rf"{block}downsample\.bn\.(.+)", r"backbone.\1.downsample.1.\2"))
    return tuple(rules)


def _deep(name: str, num_classes: int, data: str) -> PublishedFile:
    return PublishedFile(
        name=f"r2plus1d_152_{name}.pth",
        backbone="r2plus1d_152",
        num_classes=num_classes,
        num_frames=32,
        crop_size=112,
        data=data,
    )


def _mmaction2(name: str, num_frames: int, frame_interval: int) -> PublishedFile:
    return PublishedFile(
        name=f"r2plus1d_r34_{name}.pth",
        backbone="r2plus1d_34",
        backbone_options={"family": "mmaction2"},
        num_classes=400,
        num_frames=num_frames,
        frame_interval=frame_interval,
        crop_size=224,
    )


LAYOUTS = (
    Layout(
        name="vmz_r2plus1d_152",
        source="facebookresearch/VMZ, PyTorch half",
        paper=PAPER,
        licence="Apache-2.0",
        url="https://github.com/facebookresearch/VMZ/blob/main/pt/vmz/models/utils.py",
        rules=(
            (r"(stem\.[0134]\..+)", r"backbone.\1"),
            (_BLOCK + r"(conv[13]\.(?:0\.weight|1\..+))", r"backbone.\1.\2"),
            (_BLOCK + r"(conv2\.(?:0\.[03]\.weight|0\.1\..+|1\..+))", r"backbone.\1.\2"),
            (_BLOCK + r"(downsample\.[01]\..+)", r"backbone.\1.\2"),
            (r"fc\.(weight|bias)", r"classifier.\1"),
        ),
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        options=_family("vmz", "layer1.0.conv3.0.weight"),
        files=(
            _deep("ig65m_from_scratch_f106380637", 359, "IG-65M"),
            _deep("ft_kinetics_from_ig65m_f107107466", 400, "IG-65M, then Kinetics-400"),
            _deep("ft_kinetics_from_sports1m_f128957437", 400, "Sports-1M, then Kinetics-400"),
        ),
    ),
    Layout(
        name="mmaction2_r2plus1d",
        source="open-mmlab/mmaction2",
        paper=PAPER,
        licence="Apache-2.0",
        url="https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/r2plus1d",
        rules=_mmaction2_rules(),
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        options=_family("mmaction2", "backbone.layer2.0.downsample.conv.conv_s.weight"),
        files=(
            _mmaction2("8x8x1_180e_8xb8_kinetics400_rgb_20220812-47cfe041", 8, 8),
            _mmaction2("256p_8x8x1_180e_kinetics400_rgb_20200729-aa94765e", 8, 8),
            _mmaction2("32x2x1_180e_8xb8_kinetics400_rgb_20220812-4270588c", 32, 2),
            _mmaction2("32x2x1_180e_kinetics400_rgb_20200618-63462eb3", 32, 2),
        ),
    ),
)
