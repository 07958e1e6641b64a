"""Keys of cypw/PyTorch-MFNet: the network of clips, and the one of pictures that it started from."""

from collections.abc import Iterator, Mapping
from typing import Any

from kinebert.training.models.inputs import FLOW, MFNET
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape

_PARTS = {
    "conv_i1": "multiplexer.0",
    "conv_i2": "multiplexer.1",
    "conv_m1": "conv1",
    "conv_m2": "conv2",
    "conv_w1": "shortcut",
}


def _rules() -> Iterator[tuple[str, str]]:
    yield r"conv1\.conv\.weight", "backbone.stem.0.weight"
    yield r"conv1\.bn\.(.+)", r"backbone.stem.1.\1"
    for stage, units in enumerate((3, 4, 6, 3), start=1):
        for unit in range(units):
            theirs, ours = rf"conv{stage + 1}\.B{unit + 1:02}\.", f"backbone.layer{stage}.{unit}."
            for part, name in _PARTS.items():
                yield rf"{theirs}{part}\.bn\.(.+)", rf"{ours}{name}.0.\1"
                yield rf"{theirs}{part}\.conv\.weight", f"{ours}{name}.2.weight"
    yield r"tail\.bn\.(.+)", r"backbone.tail.0.\1"
    yield r"classifier\.(weight|bias)", r"classifier.\1"


def _of_pictures(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    del present
    return {} if len(shapes.get("conv1.conv.weight", ())) == 4 else None


def _of_clips(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    del present
    return {} if len(shapes.get("conv1.conv.weight", ())) == 5 else None


_NORMALIZATION = {"rgb": MFNET, "flow": FLOW, "pose": MFNET}
_ABOUT: dict[str, Any] = {
    "paper": "Multi-fiber networks for video recognition, arXiv:1807.11195",
    "licence": "MIT",
    "url": "https://github.com/cypw/PyTorch-MFNet#trained-models",
    "rules": tuple(_rules()),
    "normalization": _NORMALIZATION,
}


def _file(name: str, num_classes: int, data: str, num_frames: int = 16) -> PublishedFile:
    return PublishedFile(
        name=name,
        backbone="mfnet",
        num_classes=num_classes,
        num_frames=num_frames,
        crop_size=224,
        frame_interval=2 if num_frames > 1 else 1,
        data=data,
    )


LAYOUTS = (
    Layout(
        name="mfnet",
        source="cypw/PyTorch-MFNet",
        options=_of_clips,
        files=(
            _file("MFNet3D_Kinetics-400_72.8.pth", 400, "Kinetics-400"),
            _file("MFNet3D_UCF-101_Split-1_96.3.pth", 101, "Kinetics-400, then UCF101"),
        ),
        **_ABOUT,
    ),
    Layout(
        name="mfnet_2d",
        source="cypw/PyTorch-MFNet, ImageNet; kernels spread over time",
        options=_of_pictures,
        inflated=True,
        files=(_file("MFNet2D_ImageNet1k-0000.pth", 1000, "ImageNet-1k", 1),),
        **_ABOUT,
    ),
)
