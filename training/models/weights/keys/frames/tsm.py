"""Keys of mit-han-lab/temporal-shift-module: TSN and TSM on ResNets, MobileNetV2 and BN-Inception.

The network of pictures is ``base_model``; a shift wraps a convolution (``conv1.net``) or, ``place = block``, a whole
block (``net``), a non-local block the residual block in front of it (``block``, ``nl``). Nothing in a file says by
which share channels are shifted: its name does (``shift8``), and 8 is the only one published.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kinebert.training.models.inputs import CAFFE, CAFFE_FLOW, FLOW, IMAGENET
from kinebert.training.models.temporal.tsm import DEEP
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options
from kinebert.training.models.weights.keys.libraries.torchvision import CONNECTING

_BLOCK = r"base_model\.(layer[1-4]\.\d+)\."
_CLASSIFIER = (r"(?:new_fc|(?:base_model\.)?(?:fc|classifier))\.(weight|bias)", r"classifier.\1")

_RESNET = (
    (r"base_model\.conv1\.weight", r"backbone.stem.0.weight"),
    (r"base_model\.bn1\.(.+)", r"backbone.stem.1.\1"),
    (_BLOCK + r"(?:block\.)?(?:net\.)?(conv[1-3])\.(?:net\.)?weight", r"backbone.\1.\2.weight"),
    (_BLOCK + r"(?:block\.)?(?:net\.)?(bn[1-3]\..+|downsample\.[01]\..+)", r"backbone.\1.\2"),
    (_BLOCK + r"nl\.theta\.(weight|bias)", r"backbone.\1.behind.block.query.\2"),
    (_BLOCK + r"nl\.phi\.0\.(weight|bias)", r"backbone.\1.behind.block.key.\2"),
    (_BLOCK + r"nl\.g\.0\.(weight|bias)", r"backbone.\1.behind.block.value.\2"),
    (_BLOCK + r"nl\.W\.0\.(weight|bias)", r"backbone.\1.behind.block.output.\2"),
    (_BLOCK + r"nl\.W\.1\.(.+)", r"backbone.\1.behind.block.norm.\2"),
    _CLASSIFIER,
)

BRANCHES = {
    "1x1": "point",
    "3x3_reduce": "first_reduce",
    "3x3": "first",
    "double_3x3_reduce": "second_reduce",
    "double_3x3_1": "second_middle",
    "double_3x3_2": "second",
    "pool_proj": "pooled",
}
"""Parts of an inception block by Caffe's names."""
MOBILE_STAGES = (1, 2, 3, 7, 4)
"""Blocks of each stage of MobileNetV2, which are in a row in the published ones."""


def mobile_blocks() -> Iterator[tuple[int, str]]:
    """Yield the number of each of MobileNetV2's blocks in a row, from 1, and its name here."""
    number = 0
    for stage, count in enumerate(MOBILE_STAGES):
        for block in range(count):
            number += 1
            yield number, f"backbone.stages.{stage}.{block}"


def _mobilenet() -> Iterator[tuple[str, str]]:
    features = r"(?:base_model\.)?features\."
    for place, part in enumerate(("conv", "norm")):
        yield rf"{features}0\.{place}\.(.+)", rf"backbone.stem.{part}.\1"
        yield rf"{features}18\.{place}\.(.+)", rf"backbone.last.{part}.\1"
    for number, ours in mobile_blocks():
        units = ("expand", "filter", "project")[number == 1 :]  # the first has no more channels inside
        for i, unit in enumerate(units):
            for j, part in enumerate(("conv", "norm")):
                yield rf"{features}{number}\.conv\.{3 * i + j}\.(?:net\.)?(.+)", rf"{ours}.{unit}.{part}.\1"
    yield _CLASSIFIER


def _bninception() -> Iterator[tuple[str, str]]:
    parts = {"conv1_7x7_s2": "stem.unit", "conv2_3x3_reduce": "second.reduce", "conv2_3x3": "second.filter"}
    for name, ours in parts.items():
        yield rf"(?:base_model\.)?{name}\.(weight|bias)", rf"backbone.{ours}.conv.\1"
        yield rf"(?:base_model\.)?{name}_bn\.(.+)", rf"backbone.{ours}.norm.\1"
    for name, ours in BRANCHES.items():
        block = rf"(?:base_model\.)?inception_(\d[a-e])_{name}"
        yield rf"{block}\.(weight|bias)", rf"backbone.mixed.\1.{ours}.conv.\2"
        yield rf"{block}_bn\.(.+)", rf"backbone.mixed.\1.{ours}.norm.\2"
    yield _CLASSIFIER


def _options_resnet(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if len(shapes.get("base_model.conv1.weight", ())) != 4:
        return None
    inside = {key for key in shapes if key.endswith(".conv1.net.weight")}
    around = {key for key in shapes if re.search(r"layer\d\.\d+\.(?:block\.)?net\.conv1\.weight$", key)}
    deep = any(key.startswith(f"base_model.layer3.{DEEP - 1}.") for key in shapes)
    all_of_them = any(re.search(r"layer1\.1\.", key) for key in inside | around)
    modules = ["tsm"] * bool(inside or around) + ["nonlocal"] * any(".nl." in key for key in shapes)
    wanted: dict[str, Any] = {"temporal": "+".join(modules) or "none"}
    if inside or around:
        published = 1 if around or not deep else 2
        every = 1 if all_of_them else 2
        wanted |= {"shift_place": "block" if around else "blockres", "shift_every": 0 if every == published else every}
    return known_options(wanted, present)


def _options_mobilenet(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if not any(re.fullmatch(r"(?:base_model\.)?features\.2\.conv\.7\.weight", key) for key in shapes):
        return None
    if not any(key.startswith("base_model.") for key in shapes):
        return {}  # of pictures, or of the program that shows a shift on-line: nothing in it tells which
    shifted = any(key.endswith(".conv.0.net.weight") for key in shapes)
    return known_options({"temporal": "tsm" if shifted else "none"}, present)


def _file(name: str, backbone: str, num_frames: int, num_classes: int = 400, **more: Any) -> PublishedFile:
    given: dict[str, Any] = {"crop_size": 224, "backbone_options": {"temporal": "tsm"}, **more}
    return PublishedFile(name=name, backbone=backbone, num_classes=num_classes, num_frames=num_frames, **given)


def _something(version: str, backbone: str, num_frames: int) -> PublishedFile:
    name = f"TSM_something{version}_RGB_{backbone}_shift8_blockres_avg_segment{num_frames}_e45.pth"
    data = f"Something-Something {version or 'v1'}"
    return _file(name, backbone, num_frames, 174, data=data)


_SHIFTED = "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_"
_TSM = "TSM: temporal shift module for efficient video understanding, arXiv:1811.08383"
_URL = "https://github.com/mit-han-lab/temporal-shift-module#pretrained-models"
_ABOUT: dict[str, Any] = {"licence": "MIT", "url": _URL}
_DENSE = {"frame_interval": 8}  # 8 images spread over 64
_PICTURES = {"data": "ImageNet-1k", "backbone_options": {}}
_OF_PICTURES: dict[str, Any] = {"inflated": True, "inflation": "copy", "fresh": CONNECTING}
"""Networks of pictures go under every temporal module, as torchvision's do."""

LAYOUTS = (
    Layout(
        name="tsm_resnet",
        source="mit-han-lab/temporal-shift-module, TSN and TSM on ResNets",
        paper=_TSM,
        rules=_RESNET,
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        options=_options_resnet,
        files=(
            _file("TSM_kinetics_RGB_resnet50_avg_segment5_e50.pth", "resnet50", 5, backbone_options={}),
            _file(f"{_SHIFTED}segment8_e50.pth", "resnet50", 8),
            _file(f"{_SHIFTED}segment16_e50.pth", "resnet50", 16),
            _file(f"{_SHIFTED}segment8_e100_dense.pth", "resnet50", 8, **_DENSE),
            _file(
                f"{_SHIFTED}segment8_e100_dense_nl.pth",
                "resnet50",
                8,
                backbone_options={"temporal": "tsm+nonlocal"},
                **_DENSE,
            ),
            _file(
                "TSM_kinetics_Flow_resnet50_shift8_blockres_avg_segment8_e50.pth",
                "resnet50",
                8,
                modality="flow",
                flow_stack=5,
            ),
            *(_something(version, "resnet50", frames) for version in ("", "v2") for frames in (8, 16)),
            *(_something(version, "resnet101", 8) for version in ("", "v2")),
        ),
        **_ABOUT,
    ),
    Layout(
        name="tsm_mobilenetv2",
        source="mit-han-lab/temporal-shift-module, MobileNetV2; and the pictures' network that it started from",
        paper=f"{_TSM}; MobileNetV2: inverted residuals and linear bottlenecks, arXiv:1801.04381",
        rules=tuple(_mobilenet()),
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        options=_options_mobilenet,
        **_OF_PICTURES,
        files=(
            _file(
                "TSM_kinetics_RGB_mobilenetv2_shift8_blockres_avg_segment8_e100_dense.pth", "mobilenetv2", 8, **_DENSE
            ),
            _file(
                "mobilenetv2_jester_online.pth.tar",
                "mobilenetv2",
                8,
                27,
                data="Jester",
                backbone_options={"temporal": "tsm", "shift_online": True},
            ),
            _file("mobilenetv2_1.0-f2a8633.pth.tar", "mobilenetv2", 1, 1000, **_PICTURES),
        ),
        **_ABOUT,
    ),
    Layout(
        name="tsm_bninception",
        source="mit-han-lab/temporal-shift-module, BN-Inception; and the pictures' network that it started from",
        paper=f"Batch normalization, arXiv:1502.03167; Temporal segment networks, arXiv:1608.00859; {_TSM}",
        rules=tuple(_bninception()),
        normalization={"rgb": CAFFE, "flow": CAFFE_FLOW, "pose": CAFFE},
        **_OF_PICTURES,
        files=(
            _file("BNInception-9baff57459f5a1744.pth", "bninception", 1, 1000, **_PICTURES),
            _file("BNInceptionKinetics-47f0695e.pth", "bninception", 1, backbone_options={}),
            PublishedFile(
                name="BNInceptionFlow-ef652051.pth.tar",
                backbone="bninception",
                num_classes=None,
                num_frames=1,
                crop_size=224,
                modality="flow",
                flow_stack=5,
            ),
        ),
        **_ABOUT,
    ),
)
