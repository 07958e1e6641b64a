"""Keys of CSN: VMZ's PyTorch half, and mmaction2.

mmaction2 wraps the depth-wise convolution in a list, behind the convolution of size 1 where there is one: its place in
the list depends on the kind of block, so each kind has its layout.
"""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import FLOW, IMAGENET, KINETICS
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape

PAPER = "Video classification with channel-separated convolutional networks, arXiv:1904.02811"
_BLOCK = r"(layer[1-4]\.\d+)\."
_MMACTION2 = r"backbone\."

_SPORTS, _IG, _KINETICS = "Sports-1M", "IG-65M", "Kinetics-400"


def _file(name: str, data: str, num_classes: int = 400, depth: int = 152) -> PublishedFile:
    kind = "ip" if "ipcsn" in name.lower() else "ir"
    return PublishedFile(
        name=name,
        backbone=f"csn_{kind}_{depth}",
        num_classes=num_classes,
        num_frames=32,
        frame_interval=2,
        crop_size=224,
        data=data,
    )


def _mmaction2(kind: str, middle: tuple[tuple[str, str], ...], files: tuple[PublishedFile, ...]) -> Layout:
    block = _MMACTION2 + _BLOCK
    return Layout(
        name=f"mmaction2_{kind}csn",
        source=f"open-mmlab/mmaction2, {kind}-CSN; files called vmz_ are converted from facebookresearch/VMZ",
        paper=PAPER,
        licence="Apache-2.0",
        url="https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/csn",
        rules=(
            (rf"{_MMACTION2}conv1\.conv\.weight", r"backbone.stem.0.weight"),
            (rf"{_MMACTION2}conv1\.bn\.(.+)", r"backbone.stem.1.\1"),
            (rf"{block}conv([13])\.conv\.weight", r"backbone.\1.conv\2.weight"),
            (rf"{block}conv([13])\.bn\.(.+)", r"backbone.\1.bn\2.\3"),
            *((block + theirs, rf"backbone.\1.{ours}") for theirs, ours in middle),
            (rf"{block}downsample\.conv\.weight", r"backbone.\1.downsample.0.weight"),
            (rf"{block}downsample\.bn\.(.+)", r"backbone.\1.downsample.1.\2"),
            (r"cls_head\.fc_cls\.(weight|bias)", r"classifier.\1"),
        ),
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        files=files,
    )


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    del shapes
    return None if "family" in present else {}  # 3D ResNets come in families: torchvision names theirs alike


LAYOUTS = (
    Layout(
        name="vmz_csn",
        source="facebookresearch/VMZ, PyTorch half",
        paper=PAPER,
        licence="Apache-2.0",
        url="https://github.com/facebookresearch/VMZ/blob/main/pt/vmz/models/utils.py",
        rules=(
            (r"(stem\.[01]\..+)", r"backbone.\1"),
            (_BLOCK + r"conv2\.0\.([012]\..+)", r"backbone.\1.conv2.\2"),
            (_BLOCK + r"conv([1-3])\.0\.weight", r"backbone.\1.conv\2.weight"),
            (_BLOCK + r"conv([1-3])\.1\.(.+)", r"backbone.\1.bn\2.\3"),
            (_BLOCK + r"(downsample\.[01]\..+)", r"backbone.\1.\2"),
            (r"fc\.(weight|bias)", r"classifier.\1"),
        ),
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        options=_options,
        variants=tuple(_file(f"{kind}CSN", _KINETICS, depth=depth) for kind in ("ir", "ip") for depth in (50, 101)),
        files=(
            _file("irCSN_152_ft_kinetics_from_ig65m_f126851907.pth", f"{_IG}, then {_KINETICS}"),
            _file("irCSN_152_ft_kinetics_from_Sports1M_f101599884.pth", f"{_SPORTS}, then {_KINETICS}"),
            _file("irCSN_152_ig65m_from_scratch_f125286141.pth", _IG, 359),
            _file("irCSN_152_Sports1M_from_scratch_f99918785.pth", _SPORTS, 487),
            _file("ipCSN_152_ft_kinetics_from_ig65m_f133090949.pth", f"{_IG}, then {_KINETICS}"),
            _file("ipCSN_152_ft_kinetics_from_Sports1M_f111279053.pth", f"{_SPORTS}, then {_KINETICS}"),
            _file("ipCSN_152_ig65m_from_scratch_f130601052.pth", _IG, 359),
            _file("ipCSN_152_Sports1M_from_scratch_f111018543.pth", _SPORTS, 487),
        ),
    ),
    _mmaction2(
        "ir",
        ((r"conv2\.0\.conv\.weight", "conv2.weight"), (r"conv2\.0\.bn\.(.+)", r"bn2.\2")),
        (
            *(
                _file(f"ircsn_ig65m_pretrained_{name}.pth", f"{_IG}, then {_KINETICS}")
                for name in (
                    "r152_32x2x1_58e_8xb12_kinetics400_rgb_20220811-c7a3cc5b",
                    "bnfrozen_r152_32x2x1_58e_8xb12_kinetics400_rgb_20220811-7d1dacde",
                    "r152_32x2x1_58e_kinetics400_rgb_20200803-fc66ce8d",
                    "bnfrozen_r152_32x2x1_58e_kinetics400_rgb_20200812-9037a758",
                )
            ),
            _file(
                "ircsn_ig65m_pretrained_bnfrozen_r50_32x2x1_58e_8xb12_kinetics400_rgb_20220811-44395bae.pth",
                f"{_IG}, then {_KINETICS}",
                depth=50,
            ),
            _file("vmz_ircsn_from_scratch_r152_32x2x1_180e_kinetics400_rgb_20210617-5c933ae1.pth", _KINETICS),
            _file(
                "vmz_ircsn_sports1m_pretrained_r152_32x2x1_58e_kinetics400_rgb_20210617-b9b10241.pth",
                f"{_SPORTS}, then {_KINETICS}",
            ),
        ),
    ),
    _mmaction2(
        "ip",
        (
            (r"conv2\.0\.conv\.weight", "conv2.0.weight"),
            (r"conv2\.0\.bn\.(.+)", r"conv2.1.\2"),
            (r"conv2\.1\.conv\.weight", "conv2.2.weight"),
            (r"conv2\.1\.bn\.(.+)", r"bn2.\2"),
        ),
        (
            _file("vmz_ipcsn_from_scratch_r152_32x2x1_180e_kinetics400_rgb_20210617-d565828d.pth", _KINETICS),
            _file(
                "vmz_ipcsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb_20210617-c3be9793.pth",
                f"{_IG}, then {_KINETICS}",
            ),
            _file(
                "vmz_ipcsn_sports1m_pretrained_r152_32x2x1_58e_kinetics400_rgb_20210617-3367437a.pth",
                f"{_SPORTS}, then {_KINETICS}",
            ),
        ),
    ),
)
