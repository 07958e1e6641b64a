"""Published names of residual networks: recognised, and read as their authors' networks read them.

The networks of torchvision are written down here a second time, from their documentation and plain functions, under
their own names; names of 3D-ResNets-PyTorch, MARS and IG-65M are in the golden files as well.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from preprocessing.errors import UserError
from training.models import Recognizer, build_recognizer, load_published
from training.models.keys import Layout, layouts
from training.models.registry import ACTIVITYNET, BYTE_FLOW, HARA, IMAGENET, KINETICS, backbone_options

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(13)
        yield


def layout(name: str) -> Layout:
    return next(known for known in layouts() if known.name == name)


def small(backbone: str, **changes: Any) -> Recognizer:
    config = {"head": "tgap", "num_classes": 5, "clip_length": 16, "size": 32, "width": 0.125}
    return build_recognizer(**{**config, "backbone": backbone, **changes})


def norm_shapes(name: str, channels: int) -> Shapes:
    return {
        **{f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")},
        f"{name}.num_batches_tracked": (),
    }


def random_state(shapes: Shapes) -> dict[str, Tensor]:
    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        if not shape:
            return torch.tensor(7)
        if len(shape) > 1:
            return torch.randn(shape) * (2 / torch.empty(shape)[0].numel()) ** 0.5
        return torch.rand(shape) + 0.5 if name.endswith(("running_var", "weight")) else 0.1 * torch.randn(shape)

    return {name: tensor(name, shape) for name, shape in shapes.items()}


def convolve(x: Tensor, weight: Tensor, *stride: int) -> Tensor:
    padding = [length // 2 for length in weight.shape[2:]]
    if weight.ndim == 4:
        return functional.conv2d(x, weight, stride=stride, padding=padding)
    return functional.conv3d(x, weight, stride=stride, padding=padding)


def normed(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, weight, bias, eps=1e-5)


# --- torchvision.models.video ---


def video_shapes(kind: str) -> Shapes:
    """Return names and shapes of ``r3d_18``, ``mc3_18`` or ``r2plus1d_18``."""
    split = kind == "r2plus1d_18"
    middle = {"stem.0.weight": (45, 3, 1, 7, 7), **norm_shapes("stem.1", 45), "stem.3.weight": (64, 45, 3, 1, 1)}
    stem = {"stem.0.weight": (64, 3, 3, 7, 7), **norm_shapes("stem.1", 64)}
    shapes: Shapes = {**middle, **norm_shapes("stem.4", 64)} if split else stem
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        frames = 1 if kind == "mc3_18" and stage > 1 else 3
        for block in (0, 1):
            name, width = f"layer{stage}.{block}", {64: 144, 128: 230, 256: 460, 512: 921}[channels]
            if block == 1:
                width = channels * 9 // 4  # 144, 288, 576, 1152
            for i, channels_in in ((1, before), (2, channels)):
                conv = f"{name}.conv{i}"
                if split:
                    shapes[f"{conv}.0.0.weight"] = (width, channels_in, 1, 3, 3)
                    shapes.update(norm_shapes(f"{conv}.0.1", width))
                    shapes[f"{conv}.0.3.weight"] = (channels, width, 3, 1, 1)
                else:
                    shapes[f"{conv}.0.weight"] = (channels, channels_in, frames, 3, 3)
                shapes.update(norm_shapes(f"{conv}.1", channels))
            if block == 0 and stage > 1:
                shapes[f"{name}.downsample.0.weight"] = (channels, before, 1, 1, 1)
                shapes.update(norm_shapes(f"{name}.downsample.1", channels))
            before = channels
    return {**shapes, "fc.weight": (400, 512), "fc.bias": (400,)}


def video_answer(kind: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return what ``kind`` answers in evaluation."""

    def conv(x: Tensor, name: str, step: int) -> Tensor:
        if kind == "r2plus1d_18":
            x = convolve(x, state[f"{name}.0.0.weight"], 1, step, step)
            return convolve(normed(x, state, f"{name}.0.1").relu(), state[f"{name}.0.3.weight"], step, 1, 1)
        weight = state[f"{name}.0.weight"]
        return convolve(x, weight, step if weight.shape[2] == 3 else 1, step, step)

    x = normed(convolve(x, state["stem.0.weight"], 1, 2, 2), state, "stem.1").relu()
    if kind == "r2plus1d_18":
        x = normed(convolve(x, state["stem.3.weight"], 1, 1, 1), state, "stem.4").relu()
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, step = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = normed(conv(x, f"{name}.conv1", step), state, f"{name}.conv1.1").relu()
            inner = normed(conv(inner, f"{name}.conv2", 1), state, f"{name}.conv2.1")
            if step == 2:
                frames = 1 if kind == "mc3_18" else 2
                x = normed(
                    convolve(x, state[f"{name}.downsample.0.weight"], frames, 2, 2), state, f"{name}.downsample.1"
                )
            x = (inner + x).relu()
    return functional.linear(x.mean(dim=(2, 3, 4)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize(
    ("kind", "backbone", "family", "fresh", "name"),
    [
        ("r3d_18", "resnet3d_18", "torchvision", "hara", "torchvision_video"),
        ("mc3_18", "resnet3d_18", "torchvision_mc3", "torchvision", "torchvision_video"),
        ("r2plus1d_18", "r2plus1d_18", "torchvision", "ig65m", "torchvision_r2plus1d"),
    ],
)
def test_torchvision_video_networks(kind: str, backbone: str, family: str, fresh: str, name: str) -> None:
    shapes = video_shapes(kind)
    documented = {"r3d_18": 33_371_472, "mc3_18": 11_695_440, "r2plus1d_18": 31_505_325}
    sizes = {key: torch.Size(shape).numel() for key, shape in shapes.items() if "running" not in key and shape}
    assert sum(sizes.values()) == documented[kind]

    state = random_state(shapes)
    net = build_recognizer(
        backbone=backbone, head="tgap", num_classes=400, clip_length=9, backbone_options={"family": fresh}
    )
    report = load_published(net, state)
    assert report.layout == name
    assert len(report.loaded) == len(net.state_dict()) == len(state)
    assert net.config["backbone_options"]["family"] == family
    assert (net.spec.mean, net.spec.std) == (KINETICS.mean, KINETICS.std)

    x_NCTHW = torch.randn(2, 3, 9, 40, 36)
    with torch.inference_mode():
        ours, theirs = net.eval()(x_NCTHW), video_answer(kind, state, x_NCTHW)
    assert (ours - theirs).abs().max() < 1e-4 * theirs.std()  # measured 0: the same calls


# --- torchvision's ImageNet networks ---


def image_shapes(blocks: tuple[int, ...], bottleneck: bool) -> Shapes:
    """Return names and shapes of a 2D ResNet."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), **norm_shapes("bn1", 64)}
    before = 64
    for stage, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        for block in range(count):
            name, out = f"layer{stage}.{block}", planes * (4 if bottleneck else 1)
            plain = ((planes, before, 3), (planes, planes, 3))
            narrow = ((planes, before, 1), (planes, planes, 3), (out, planes, 1))
            for i, (filters, channels, size) in enumerate(narrow if bottleneck else plain, start=1):
                shapes[f"{name}.conv{i}.weight"] = (filters, channels, size, size)
                shapes.update(norm_shapes(f"{name}.bn{i}", filters))
            if block == 0 and (stage > 1 or bottleneck):
                shapes[f"{name}.downsample.0.weight"] = (out, before, 1, 1)
                shapes.update(norm_shapes(f"{name}.downsample.1", out))
            before = out
    return {**shapes, "fc.weight": (1000, before), "fc.bias": (1000,)}


def image_answer(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the scores of images ``(B, C, H, W)`` in evaluation."""
    x = normed(convolve(x, state["conv1.weight"], 2, 2), state, "bn1").relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    for name in dict.fromkeys(".".join(key.split(".")[:2]) for key in state if key.startswith("layer")):
        step = 2 if name.endswith(".0") and not name.startswith("layer1") else 1
        inner, kernels = x, [state[key] for key in (f"{name}.conv{i}.weight" for i in (1, 2, 3)) if key in state]
        strided = 0 if len(kernels) == 2 else 1  # the first of two 3x3 convolutions, or the 3x3 one of a bottleneck
        for i, kernel in enumerate(kernels):
            inner = normed(convolve(inner, kernel, *(step if i == strided else 1,) * 2), state, f"{name}.bn{i + 1}")
            inner = inner.relu() if i + 1 < len(kernels) else inner
        if f"{name}.downsample.0.weight" in state:
            x = normed(convolve(x, state[f"{name}.downsample.0.weight"], step, step), state, f"{name}.downsample.1")
        x = (inner + x).relu()
    return functional.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize(
    ("backbone", "blocks", "num_parameters"),
    [("resnet18", (2, 2, 2, 2), 11_689_512), ("resnet50", (3, 4, 6, 3), 25_557_032)],
)
def test_torchvision_image_networks(backbone: str, blocks: tuple[int, ...], num_parameters: int) -> None:
    shapes = image_shapes(blocks, bottleneck=backbone == "resnet50")
    sizes = {key: torch.Size(shape).numel() for key, shape in shapes.items() if "running" not in key and shape}
    assert sum(sizes.values()) == num_parameters
    state = random_state(shapes)
    net = build_recognizer(backbone=backbone, head="tgap", num_classes=1000, clip_length=3, size=64)
    report = load_published(net, state)
    assert report.layout == "torchvision_2d"
    assert len(report.loaded) == len(state)
    x_NCTHW = torch.randn(1, 3, 3, 70, 64)
    with torch.inference_mode():
        ours, theirs = net.eval()(x_NCTHW), image_answer(state, x_NCTHW[0].transpose(0, 1)).mean(dim=0, keepdim=True)
    assert (ours - theirs).abs().max() < 1e-4 * theirs.std()  # measured 2e-6


@pytest.mark.parametrize("options", [{}, {"family": "torchvision"}, {"family": "torchvision_mc3"}], ids=str)
def test_inflated_images_answer_as_images(options: dict[str, str]) -> None:
    """A clip of one picture, looked at in its middle, is that picture: kernels are divided by their length."""
    shapes = image_shapes((2, 2, 2, 2), bottleneck=False)
    state = random_state({**shapes, "fc.weight": (4, 512), "fc.bias": (4,)})
    net = build_recognizer(
        backbone="resnet3d_18", head="tgap", num_classes=4, clip_length=256, size=32, backbone_options=options
    )
    report = load_published(net, state)
    assert report.layout == "torchvision_inflated"
    assert "backbone.stem.0.weight" in report.adapted
    assert not [*report.missing, *report.unexpected]
    assert (net.spec.mean, net.spec.value_range) == (IMAGENET.mean, (0.0, 1.0))
    if options:
        return  # without a pool in the stem the maps are larger than the picture's
    picture_1CHW = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        features = net.eval().backbone(picture_1CHW[:, :, None].expand(-1, -1, 256, -1, -1))
        middle = features[:, :, features.shape[2] // 2].mean(dim=(2, 3))
        ours, theirs = net.classifier(middle), image_answer(state, picture_1CHW)
    assert (ours - theirs).abs().max() < 1e-4 * theirs.std()  # measured 3e-7


# --- the other sources, on small networks ---


def named_as(net: Recognizer, *names: tuple[str, str]) -> dict[str, Tensor]:
    """Return the weights of a network with its names replaced."""

    def renamed(key: str) -> str:
        for ours, theirs in (*names, ("backbone.", ""), ("classifier.", "fc.")):
            key = key.replace(ours, theirs)
        return key

    return {renamed(key): tensor.clone() for key, tensor in net.state_dict().items()}


HARA_NAMES = (("stem.0.", "conv1."), ("stem.1.", "bn1."))


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if "num_batches" not in key}


@pytest.mark.parametrize(
    ("backbone", "shortcut"),
    [
        *((f"resnet3d_{depth}", shortcut) for depth, shortcut in ((18, "A"), (34, "B"), (50, "A"))),
        *(pytest.param(f"resnet3d_{depth}", "B", marks=pytest.mark.slow) for depth in (101, 152, 200)),
    ],
)
def test_3d_resnets_of_both_years(backbone: str, shortcut: str) -> None:
    source = small(backbone, backbone_options={"shortcut": shortcut})
    state = named_as(source, *HARA_NAMES)
    for given, name, normalization in (
        (state, "kenshohara_2020", HARA),
        ({f"module.{key}": tensor for key, tensor in without_counters(state).items()}, "kenshohara_2018", ACTIVITYNET),
    ):
        net = small(backbone)
        report = load_published(net, {"arch": "resnet", "state_dict": given})
        assert report.layout == name
        assert len(report.loaded) == len(given)
        assert not [*report.missing, *report.unexpected, *report.reinitialized]
        assert net.config["backbone_options"]["shortcut"] == shortcut
        assert (net.spec.mean, net.spec.value_range) == (normalization.mean, normalization.value_range)
        x_NCTHW = torch.randn(2, 3, 16, 32, 32)
        assert torch.equal(net.eval()(x_NCTHW), source.eval()(x_NCTHW))


@pytest.mark.parametrize("modality", ["rgb", "flow"])
@pytest.mark.parametrize("backbone", ["resnext50", "resnext101"])
def test_resnexts_of_mars_and_before(backbone: str, modality: str) -> None:
    state = named_as(small(backbone, modality=modality), *HARA_NAMES)
    net = small(backbone, modality=modality)
    assert load_published(net, state).layout == "mars"
    assert net.spec.mean == {"rgb": ACTIVITYNET, "flow": BYTE_FLOW}[modality].mean
    assert load_published(net, without_counters(state)).layout == "kenshohara_2018"
    other = small(backbone, modality=modality, backbone_options={"cardinality": 16})
    load_published(other, state)
    assert other.config["backbone_options"]["cardinality"] == 32


R2PLUS1D_NAMES = (
    ("stem.0.", "conv1_s."),
    ("stem.1.", "bn1_s."),
    ("stem.3.", "conv1_t."),
    ("stem.4.", "bn1_t."),
    *((f"conv{i}.0.0.", f"conv{i}_s.") for i in (1, 2)),
    *((f"conv{i}.0.1.", f"bn{i}_s.") for i in (1, 2)),
    *((f"conv{i}.0.3.", f"conv{i}_t.") for i in (1, 2)),
)


@pytest.mark.parametrize("backbone", ["r2plus1d_18", "r2plus1d_34", "r2plus1d_50"])
def test_r2plus1d_of_hara(backbone: str) -> None:
    deep = backbone == "r2plus1d_50"
    last = (
        (
            ("conv2.1.", "bn2_t."),
            *((f"conv{i}.0.", f"conv{i}.") for i in (1, 3)),
            *((f"conv{i}.1.", f"bn{i}.") for i in (1, 3)),
        )
        if deep
        else tuple((f"conv{i}.1.", f"bn{i}_t.") for i in (1, 2))
    )
    source = small(backbone, backbone_options={"family": "hara"})
    names = ((".conv1.1.", ".bn1."), (".conv1.0.", ".conv1.")) if deep else ()
    state = named_as(source, *names, *R2PLUS1D_NAMES, *last)
    wanted = {"layer1.0.conv2_s.weight", "layer1.0.bn2_t.weight", "conv1_t.weight", "bn1_s.running_var"}
    wanted |= {"layer2.0.conv3.weight", "layer2.0.bn1.weight"} if deep else {"layer4.1.conv1_t.weight"}
    assert wanted <= state.keys()
    net = small(backbone, clip_length=32)
    report = load_published(net, state)
    assert report.layout == "kenshohara_r2plus1d"
    assert len(report.loaded) == len(state) == len(net.state_dict())
    assert net.config["backbone_options"]["family"] == "hara"
    x_NCTHW = torch.randn(2, 3, 16, 32, 32)
    assert torch.equal(net.eval()(x_NCTHW), source.eval()(x_NCTHW))


@pytest.mark.parametrize("backbone", ["r2plus1d_18", "r2plus1d_34"])
def test_r2plus1d_of_vmz_in_its_caffe2_form(backbone: str) -> None:
    source = small(backbone)
    blocks = {"r2plus1d_18": (2, 2, 2, 2), "r2plus1d_34": (3, 4, 6, 3)}[backbone]
    numbers = {
        f"layer{stage}.{i}": sum(blocks[: stage - 1]) + i for stage in (1, 2, 3, 4) for i in range(blocks[stage - 1])
    }
    endings = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    modules = {
        "stem.0": "conv1_middle",
        "stem.1": "conv1_middle_spatbn_relu",
        "stem.3": "conv1",
        "stem.4": "conv1_spatbn_relu",
        "conv1.0.0": "conv_1_middle",
        "conv1.0.1": "spatbn_1_middle",
        "conv1.0.3": "conv_1",
        "conv1.1": "spatbn_1",
        "conv2.0.0": "conv_2_middle",
        "conv2.0.1": "spatbn_2_middle",
        "conv2.0.3": "conv_2",
        "conv2.1": "spatbn_2",
    }

    def blob(key: str) -> str:
        module, part = key.removeprefix("backbone.").rsplit(".", 1)
        if module == "classifier":
            return f"last_out_L5_{part[0]}"
        ending = "w" if source.get_submodule(f"backbone.{module}").__class__.__name__ == "Conv3d" else endings[part]
        if module.startswith("stem"):
            return f"{modules[module]}_{ending}"
        number, inner = numbers[module[:8]], module[9:]
        if inner.startswith("downsample"):
            return f"shortcut_projection_{number}{'_spatbn' if inner.endswith('1') else ''}_{ending}"
        return f"comp_{number}_{modules[inner]}_{ending}"

    state = {blob(key): tensor.clone() for key, tensor in without_counters(source.state_dict()).items()}
    first = blocks[0]
    assert {
        "conv1_middle_w",
        f"comp_{first}_conv_1_middle_w",
        f"shortcut_projection_{first}_spatbn_riv",
    } <= state.keys()
    net = small(backbone, backbone_options={"family": "torchvision"})
    report = load_published(net, {**state, "lr": torch.zeros(1), "conv1_w_momentum": torch.zeros(1)})
    assert report.layout == f"vmz_{backbone}"
    assert sorted(report.ignored) == ["conv1_w_momentum", "lr"]
    assert len(report.loaded) == len(state)
    assert net.config["backbone_options"]["family"] == "ig65m"
    x_NCTHW = torch.randn(2, 3, 16, 32, 32)
    assert torch.equal(net.eval()(x_NCTHW), source.eval()(x_NCTHW))


def test_r2plus1d_of_ig65m_is_not_torchvisions() -> None:
    for family, name in (("ig65m", "ig65m"), ("torchvision", "torchvision_r2plus1d")):
        state = named_as(small("r2plus1d_18", backbone_options={"family": family}))
        for fresh in ("ig65m", "hara"):
            net = small("r2plus1d_18", clip_length=8, backbone_options={"family": fresh})
            assert load_published(net, state).layout == name
            assert net.config["backbone_options"]["family"] == family


@pytest.mark.parametrize("reduction", [None, "frab", "frmb"])
@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_pretrained_trunks_start_every_network_of_the_papers(reduction: str | None, modality: str) -> None:
    """RGB weights of 400 classes, into networks of another modality, reduction, head and number of classes."""
    state = named_as(small("resnext101", num_classes=400), *HARA_NAMES)
    net = small("resnext101", modality=modality, reduction=reduction, head="bert")
    report = load_published(net, state, allow=["layer4.2.*"] if reduction == "frmb" else [])
    assert not report.missing
    assert report.adapted == (["backbone.stem.0.weight"] if modality == "flow" else [])
    fresh = {
        name.split(".")[0] if "backbone" not in name else ".".join(name.split(".")[:3]) for name in report.reinitialized
    }
    part = {None: set(), "frab": {"backbone.mapper.conv1"}, "frmb": {"backbone.layer4.2"}}[reduction]
    assert {"head", "classifier", *part} <= fresh
    assert not [name for name in fresh if name.startswith(("backbone.stem", "backbone.layer1", "backbone.layer4.1"))]


def test_weights_of_another_depth_are_refused_with_numbers() -> None:
    state = named_as(small("resnet3d_34"), *HARA_NAMES)
    with pytest.raises(UserError, match=r"do not fit resnet3d_18 \+ tgap: .* have no place \(such as layer1\.2"):
        load_published(small("resnet3d_18"), state)
    with pytest.raises(UserError):
        load_published(small("resnext50"), state)
    with pytest.raises(UserError):
        load_published(small("r2plus1d_34"), state)
    with pytest.raises(UserError):
        load_published(small("resnet34"), state)


@pytest.mark.parametrize("modality", ["rgb", "flow", "pose"])
def test_inputs_are_on_the_scale_of_the_weights(modality: str) -> None:
    """Weights for values around 1 never see bytes, whatever the backbone's own default is, nor the other way round."""
    for backbone, state, top in (
        ("resnet3d_18", named_as(small("resnet3d_18"), *HARA_NAMES), 1.0),
        ("resnet3d_18", without_counters(named_as(small("resnet3d_18"), *HARA_NAMES)), 255.0),
        ("resnext50", named_as(small("resnext50"), *HARA_NAMES), 255.0),
        ("resnext50", {key: flat(tensor) for key, tensor in named_as(small("resnext50"), *HARA_NAMES).items()}, 1.0),
    ):
        net = small(backbone, modality=modality)
        load_published(net, state)
        assert net.spec.value_range == (0.0, top)
        assert (max(net.spec.std) < 1) == (top == 1)


def flat(tensor: Tensor) -> Tensor:
    """Return a kernel's middle time step, as a network for images has it."""
    return tensor[:, :, tensor.shape[2] // 2] if tensor.ndim == 5 else tensor


def test_known_files_are_of_networks_that_there_are() -> None:
    mine = ("kenshohara_2018", "kenshohara_2020", "kenshohara_r2plus1d", "mars", "ig65m", "vmz_r2plus1d_34")
    for name in (*mine, "torchvision_2d", "torchvision_inflated", "torchvision_video", "torchvision_r2plus1d"):
        files = layout(name).files
        assert files, name
        assert len({file.name for file in files}) == len(files)
        for file in files:
            options = backbone_options(file.backbone, file.backbone_options)
            assert {**options, **file.backbone_options} == options
