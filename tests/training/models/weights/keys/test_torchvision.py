"""torchvision's residual networks, read as torchvision reads them.

They are written down here a second time, from their documentation and in plain functions, under their own names.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kinebert.training.models import build_recognizer, load_published
from kinebert.training.models.inputs import IMAGENET, KINETICS

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(13)
        yield


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
