"""Keys of bryanyzhu/two-stream-pytorch: VGG and ResNets on a frame, or on ten fields of flow as one picture."""

from collections.abc import Iterator, Mapping
from typing import Any

from kinebert.training.models.backbones.frames.vgg import STAGES
from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import TRUNK

_CLASSIFIER = (r"fc_action\.(weight|bias)", r"classifier.\1")


def vgg_trunk() -> Iterator[tuple[str, str]]:
    """Yield the rules for VGG up to its classifier, as torchvision names it too."""
    place = 0
    for stage, (_, count) in enumerate(STAGES):
        for conv in range(count):
            yield rf"features\.{place}\.(weight|bias)", rf"backbone.stages.{stage}.convs.{conv}.conv.\1"
            place += 2  # a ReLU behind each
        place += 1  # and a pool behind all of a stage
    yield r"classifier\.0\.(weight|bias)", r"backbone.linears.first.\1"
    yield r"classifier\.3\.(weight|bias)", r"backbone.linears.second.\1"


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    del present
    return {} if len(shapes.get("conv1.weight", shapes.get("features.0.weight", ()))) == 4 else None


def _file(name: str, backbone: str, modality: str) -> PublishedFile:
    return PublishedFile(
        name=name,
        backbone=backbone,
        num_classes=101,
        num_frames=1,
        crop_size=224,
        modality=modality,
        flow_stack=10 if modality == "flow" else 1,
        data="UCF101, split 1",
    )


_ABOUT: dict[str, Any] = {
    "paper": "Two-stream convolutional networks for action recognition in videos, arXiv:1406.2199; "
    "Towards good practices for very deep two-stream ConvNets, arXiv:1507.02159",
    "licence": "MIT",
    "url": "https://github.com/bryanyzhu/two-stream-pytorch#testing",
    "normalization": {"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
    "options": _options,
}

# The names are those of the links; the training program calls every file model_best.pth.tar.
LAYOUTS = (
    Layout(
        name="twostream_vgg",
        source="bryanyzhu/two-stream-pytorch, VGG",
        rules=(*vgg_trunk(), _CLASSIFIER),
        files=(_file("RGB_VGG16", "vgg16", "rgb"), _file("Flow_VGG16", "vgg16", "flow")),
        **_ABOUT,
    ),
    Layout(
        name="twostream_resnet",
        source="bryanyzhu/two-stream-pytorch, ResNets",
        rules=(*TRUNK[:-1], _CLASSIFIER),
        files=(_file("RGB_ResNet152", "resnet152", "rgb"), _file("Flow_ResNet152", "resnet152", "flow")),
        **_ABOUT,
    ),
)
