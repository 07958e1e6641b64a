"""Keys of torchvision's VGG and MobileNetV2 of ImageNet, which go under every temporal module as its ResNets do."""

from collections.abc import Iterator
from typing import Any

from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.weights.keys import Layout, PublishedFile
from kinebert.training.models.weights.keys.frames.tsm import mobile_blocks
from kinebert.training.models.weights.keys.frames.twostream import vgg_trunk
from kinebert.training.models.weights.keys.libraries.torchvision import CONNECTING


def _mobilenet() -> Iterator[tuple[str, str]]:
    for theirs, ours in ((r"features\.0", "backbone.stem"), (r"features\.18", "backbone.last")):
        yield rf"{theirs}\.0\.weight", rf"{ours}.conv.weight"
        yield rf"{theirs}\.1\.(.+)", rf"{ours}.norm.\1"
    for number, ours in mobile_blocks():
        units = ("expand", "filter")[number == 1 :]  # the first has no more channels inside
        for i, unit in enumerate(units):
            yield rf"features\.{number}\.conv\.{i}\.0\.weight", rf"{ours}.{unit}.conv.weight"
            yield rf"features\.{number}\.conv\.{i}\.1\.(.+)", rf"{ours}.{unit}.norm.\1"
        yield rf"features\.{number}\.conv\.{len(units)}\.weight", rf"{ours}.project.conv.weight"
        yield rf"features\.{number}\.conv\.{len(units) + 1}\.(.+)", rf"{ours}.project.norm.\1"
    yield r"classifier\.1\.(weight|bias)", r"classifier.\1"


def _image(name: str, backbone: str) -> PublishedFile:
    return PublishedFile(
        name=name, backbone=backbone, num_classes=1000, num_frames=1, crop_size=224, data="ImageNet-1k"
    )


_ABOUT: dict[str, Any] = {
    "source": "torchvision, ImageNet",
    "licence": "BSD 3-Clause",
    "normalization": {"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
    "inflated": True,
    "inflation": "copy",
    "fresh": CONNECTING,
}

LAYOUTS = (
    Layout(
        name="torchvision_vgg",
        paper="Very deep convolutional networks for large-scale image recognition, arXiv:1409.1556",
        url="https://docs.pytorch.org/vision/stable/models/vgg.html",
        rules=(*vgg_trunk(), (r"classifier\.6\.(weight|bias)", r"classifier.\1")),
        files=(_image("vgg16-397923af.pth", "vgg16"),),
        **_ABOUT,
    ),
    Layout(
        name="torchvision_mobilenetv2",
        paper="MobileNetV2: inverted residuals and linear bottlenecks, arXiv:1801.04381",
        url="https://docs.pytorch.org/vision/stable/models/mobilenetv2.html",
        rules=tuple(_mobilenet()),
        files=(
            _image("mobilenet_v2-b0353104.pth", "mobilenetv2"),
            _image("mobilenet_v2-7ebf99e0.pth", "mobilenetv2"),
        ),
        **_ABOUT,
    ),
)
