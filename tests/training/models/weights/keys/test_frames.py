"""Published names of networks of pictures that no golden file has: other depths, places of the shift, and networks.

The names are derived from those of torchvision's ResNets as the published program derives them.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.inputs import CAFFE, CAFFE_FLOW, FLOW
from kinebert.training.models.sizes.unallocated import unallocated
from kinebert.training.models.weights.keys import layouts
from kinebert.training.models.weights.known import identify, input_spec
from tests.helpers import golden

Shapes = dict[str, tuple[int, ...]]


def resnet(*blocks: int, channels: int = 3) -> Shapes:
    """A ResNet of bottlenecks under torchvision's names, without classifier."""
    found: Shapes = {"conv1.weight": (64, channels, 7, 7), **norm("bn1", 64)}
    inside = 64
    for stage, count in enumerate(blocks):
        middle = 64 * 2**stage
        for i in range(count):
            name = f"layer{stage + 1}.{i}"
            found |= {
                f"{name}.conv1.weight": (middle, inside, 1, 1),
                f"{name}.conv2.weight": (middle, middle, 3, 3),
                f"{name}.conv3.weight": (4 * middle, middle, 1, 1),
            }
            for j, width in enumerate((middle, middle, 4 * middle), start=1):
                found |= norm(f"{name}.bn{j}", width)
            if i == 0:
                found[f"{name}.downsample.0.weight"] = (4 * middle, inside, 1, 1)
                found |= norm(f"{name}.downsample.1", 4 * middle)
            inside = 4 * middle
    return found


def norm(name: str, width: int) -> Shapes:
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{kind}": (width,) for kind in kinds}, f"{name}.num_batches_tracked": ()}


def as_tsm(shapes: Shapes, shifted: Callable[[int], bool], around: bool = False) -> Shapes:
    """Wrap the first convolution of shifted blocks, or with ``around`` whole ones, and call the classifier new_fc."""
    found: Shapes = {}
    for key, shape in shapes.items():
        stage, _, rest = key.partition(".")
        block, _, inner = rest.partition(".")
        if stage.startswith("layer") and shifted(int(block)):
            inner = f"net.{inner}" if around else inner.replace("conv1.", "conv1.net.")
            key = f"{stage}.{block}.{inner}"
        found[f"base_model.{key}"] = shape
    return {**found, "new_fc.weight": (51, 2048), "new_fc.bias": (51,)}


def with_non_local(shapes: Shapes) -> Shapes:
    """Wrap the blocks of the published places, and add what follows them."""
    found: Shapes = {}
    for key, shape in shapes.items():
        for place, channels in NON_LOCAL.items():
            if key.startswith(f"base_model.{place}."):
                key = key.replace(f"{place}.", f"{place}.block.")
                found |= dict(non_local(f"base_model.{place}.nl", channels))
        found[key] = shape
    return found


NON_LOCAL = {"layer2.0": 512, "layer2.2": 512, "layer3.0": 1024, "layer3.2": 1024, "layer3.4": 1024}


def non_local(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    half = channels // 2
    for part, out, inside in (("g.0", half, channels), ("theta", half, channels), ("phi.0", half, channels)):
        yield from ((f"{name}.{part}.weight", (out, inside, 1, 1, 1)), (f"{name}.{part}.bias", (out,)))
    yield from ((f"{name}.W.0.weight", (channels, half, 1, 1, 1)), (f"{name}.W.0.bias", (channels,)))
    yield from norm(f"{name}.W.1", channels).items()


def tensors(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors without numbers, under the prefix that the published files have."""
    return {f"module.{key}": torch.empty(shape, device="meta") for key, shape in shapes.items()}


def net(backbone: str, **changes: Any) -> Recognizer:
    arguments: dict[str, Any] = {"head": "tgap", "num_classes": 51, "clip_length": 8, "size": 224}
    with unallocated():
        return build_recognizer(backbone=backbone, **{**arguments, **changes})


R50, R101, R152 = resnet(3, 4, 6, 3), resnet(3, 4, 23, 3), resnet(3, 8, 36, 3)
TSM: dict[str, tuple[str, Shapes, int, dict[str, Any]]] = {
    # how many names the published network has
    "tsm_tsn_resnet50_8f": ("resnet50", as_tsm(R50, lambda _: False), 320, {"temporal": "none"}),
    "tsm_resnet101_8f": ("resnet101", as_tsm(R101, lambda i: i % 2 == 0), 626, {"temporal": "tsm", "shift_every": 0}),
    "tsm_resnet50_8f_nl": (
        "resnet50",
        with_non_local(as_tsm(R50, lambda _: True)),
        385,
        {"temporal": "tsm+nonlocal", "shift_place": "blockres"},
    ),
    "every block of 101 layers": ("resnet101", as_tsm(R101, lambda _: True), 626, {"shift_every": 1}),
    "around blocks": ("resnet50", as_tsm(R50, lambda _: True, around=True), 320, {"shift_place": "block"}),
}


def test_the_names_are_those_of_the_golden_file() -> None:
    assert as_tsm(R50, lambda _: True) == golden.shapes("tsm_resnet50_8f")


@pytest.mark.parametrize("name", TSM)
def test_every_variant_of_tsm_has_a_place_for_every_key(name: str) -> None:
    backbone, shapes, count, options = TSM[name]
    assert len(shapes) == count
    model = net(backbone)
    report = load_published(model, {"state_dict": tensors(shapes)})
    assert report.layout == "tsm_resnet"
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert len(report.loaded) == len(shapes)
    assert not [*report.adapted, *report.missing, *report.unexpected, *report.ignored]
    assert {key: model.config["backbone_options"][key] for key in options} == options


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_two_streams_of_152_layers(modality: str) -> None:
    channels = 3 if modality == "rgb" else 20
    shapes = {**resnet(3, 8, 36, 3, channels=channels), "fc_action.weight": (101, 2048), "fc_action.bias": (101,)}
    assert len(shapes) == 932
    changes: dict[str, Any] = {"modality": modality, "flow_stack": 10 if modality == "flow" else 1, "num_classes": 101}
    model = net("resnet152", clip_length=1, **changes)
    report = load_published(model, tensors(shapes))
    assert report.layout == "twostream_resnet"
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert model.spec.mean == ((0.485, 0.456, 0.406) if modality == "rgb" else (0.5,) * 20)
    found, _, fits = identify(tensors(shapes))
    assert fits
    assert (found.config["backbone"], found.config["flow_stack"]) == ("resnet152", changes["flow_stack"])


def test_a_frame_of_vgg_and_a_stack_are_told_apart() -> None:
    shapes = golden.shapes("twostream_flow_vgg16")
    for channels in (3, 20):
        shapes["features.0.weight"] = (64, channels, 3, 3)
        found, report, fits = identify(tensors(shapes))
        assert fits
        assert not report.adapted
        assert len(found.spec.mean) == channels


def test_kernels_of_a_picture_are_averaged_for_ten_fields() -> None:
    """As the two-stream program begins; what the file says of its input is of colours, so the backbone's counts."""
    shapes = golden.shapes("twostream_flow_vgg16") | {"features.0.weight": (64, 3, 3, 3)}
    model = net("vgg16", modality="flow", flow_stack=10, clip_length=1, num_classes=101)
    report = load_published(model, tensors(shapes))
    assert report.adapted == ["backbone.stages.0.convs.0.conv.weight"]
    assert model.spec.mean == FLOW.mean * 10


def test_what_files_expect_is_listed_with_stacks_and_orders() -> None:
    known = {file.name: input_spec(layout, file) for layout in layouts() for file in layout.files}
    flow = known["TSM_kinetics_Flow_resnet50_shift8_blockres_avg_segment8_e50.pth"]
    assert (flow.flow_stack, len(flow.mean), flow.num_frames) == (5, 10, 8)
    pictures = known["BNInception-9baff57459f5a1744.pth"]
    assert (pictures.channel_order, pictures.mean, pictures.value_range) == ("bgr", CAFFE.mean, (0.0, 255.0))
    assert known["BNInceptionFlow-ef652051.pth.tar"].mean == CAFFE_FLOW.mean * 5


def test_weights_of_blue_first_say_so() -> None:
    model = net("bninception")
    shapes = {key.removeprefix("base_model."): shape for key, shape in golden.shapes("tsm_bninception_tsn_8f").items()}
    shapes |= {"fc.weight": shapes.pop("new_fc.weight"), "fc.bias": shapes.pop("new_fc.bias")}
    report = load_published(model, {key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    assert report.layout == "tsm_bninception"
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert model.spec.channel_order == "bgr"


def torchvision_mobilenet() -> Shapes:
    """MobileNetV2 under torchvision's names, from the golden file's."""
    found: Shapes = {}
    for key, shape in golden.shapes("tsm_mobilenetv2_8f").items():
        key = key.removeprefix("base_model.").replace(".net.", ".").replace("new_fc", "classifier.1")
        match = re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(.+)", key)
        if match:
            unit, part = divmod(int(match[2]), 3)
            units = 1 if match[1] == "1" else 2
            place = f"{unit}.{part}" if unit < units else f"{units + part}"
            key = f"features.{match[1]}.conv.{place}.{match[3]}"
        found[key] = shape
    return found


def torchvision_vgg() -> Shapes:
    """VGG under torchvision's names, on colours."""
    shapes = golden.shapes("twostream_flow_vgg16") | {"features.0.weight": (64, 3, 3, 3)}
    shapes |= {"fc_action.weight": (51, 4096), "fc_action.bias": (51,)}
    return {key.replace("fc_action", "classifier.6"): shape for key, shape in shapes.items()}


@pytest.mark.parametrize("temporal", ["none", "tsm", "tam", "conv3d", "conv1d", "nonlocal"])
@pytest.mark.parametrize("backbone", ["vgg16", "mobilenetv2", "bninception"])
def test_weights_of_pictures_go_under_every_temporal_module(backbone: str, temporal: str) -> None:
    published: dict[str, tuple[str, Shapes, str]] = {
        "vgg16": ("torchvision_vgg", torchvision_vgg(), "stages.1.convs.0.conv.weight"),
        "mobilenetv2": ("torchvision_mobilenetv2", torchvision_mobilenet(), "stages.1.0.filter.conv.weight"),
        "bninception": ("tsm_bninception", golden.shapes("tsm_bninception_tsn_8f"), "mixed.3a.first.conv.weight"),
    }
    layout, shapes, kernel = published[backbone]
    model = net(backbone, backbone_options={"temporal": temporal})
    report = load_published(model, {key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    assert report.layout == layout
    assert not [*report.missing, *report.unexpected, *report.ignored]
    connecting = {name for name in report.reinitialized if not name.startswith("classifier.")}
    assert bool(connecting) == (temporal in ("tam", "conv1d", "nonlocal"))
    assert all(re.search(r"\.(inside|behind|time)\.", name) for name in connecting)
    assert (f"backbone.{kernel}" in report.adapted) == (temporal == "conv3d"), "copied along time"
    assert model.config["backbone_options"]["temporal"] == temporal


def test_a_network_with_kernels_copied_along_time_sees_a_still_clip_as_the_picture_thrice() -> None:
    """Of the first convolution, far from the clip's ends: three frames of one picture add up."""
    shapes = torchvision_mobilenet()
    state = {key: golden.seeded(key, shape) for key, shape in shapes.items()}
    arguments: dict[str, Any] = {"backbone": "mobilenetv2", "head": "tgap", "num_classes": 51, "size": 32}
    flat, inflated = (
        build_recognizer(**arguments, clip_length=5, backbone_options={"temporal": temporal})
        for temporal in ("none", "conv3d")
    )
    for one in (flat, inflated):
        load_published(one, state)
    picture = torch.randn(1, 3, 1, 32, 32)
    x_NCTHW = picture.expand(-1, -1, 5, -1, -1)
    with torch.inference_mode():
        once = flat.backbone.get_submodule("stem.conv")(picture[:, :, 0])
        thrice = inflated.backbone.get_submodule("stem.conv")(x_NCTHW)[:, :, 2]
    torch.testing.assert_close(thrice, 3 * once, rtol=1e-4, atol=1e-5)
