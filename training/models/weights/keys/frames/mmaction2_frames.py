"""Keys of mmaction2's TSN and TSM on ResNets: a convolution and its norm are one module, which a shift wraps."""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

_BLOCK = r"backbone\.(layer[1-4]\.\d+)\."
_RULES = (
    (r"backbone\.conv1\.conv\.weight", r"backbone.stem.0.weight"),
    (r"backbone\.conv1\.bn\.(.+)", r"backbone.stem.1.\1"),
    (_BLOCK + r"(conv[1-3])\.conv\.(?:net\.)?weight", r"backbone.\1.\2.weight"),
    (_BLOCK + r"conv([1-3])\.bn\.(.+)", r"backbone.\1.bn\2.\3"),
    (_BLOCK + r"downsample\.conv\.weight", r"backbone.\1.downsample.0.weight"),
    (_BLOCK + r"downsample\.bn\.(.+)", r"backbone.\1.downsample.1.\2"),
    (r"cls_head\.fc_cls\.(weight|bias)", r"classifier.\1"),
)


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if len(shapes.get("backbone.conv1.conv.weight", ())) != 4:
        return None
    shifted = any(key.endswith(".conv1.conv.net.weight") for key in shapes)
    return known_options({"temporal": "tsm" if shifted else "none"}, present)


def _file(name: str, num_frames: int, **more: Any) -> PublishedFile:
    given = {"backbone": "resnet50", "num_classes": 400, "crop_size": 224, **more}
    return PublishedFile(name=name, num_frames=num_frames, **given)


_SHIFT = {"backbone_options": {"temporal": "tsm"}}
LAYOUTS = (
    Layout(
        name="mmaction2_resnet_2d",
        source="open-mmlab/mmaction2, TSN and TSM on ResNets",
        paper="TSM: temporal shift module for efficient video understanding, arXiv:1811.08383",
        licence="Apache-2.0",
        url="https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition",
        rules=_RULES,
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        options=_options,
        files=(_file("tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb_20220906-2692d16c.pth", 8),),
        variants=(_file("TSM", 8, **_SHIFT),),
    ),
)
