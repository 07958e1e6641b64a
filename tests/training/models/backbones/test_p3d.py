"""P3D against its published program, written down again layer by layer under its published names."""

import zlib
from math import prod

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import build_recognizer, load_published

BLOCKS = (3, 4, 6, 3)
WIDTHS = (8, 32, 64, 128, 256)
"""An eighth of the published 64, 256, 512, 1024 and 2048."""


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of P3D-63, an eighth as wide, with three classes."""
    shapes: dict[str, tuple[int, ...]] = {
        "conv1_custom.weight": (8, 3, 1, 7, 7),
        "fc.weight": (3, 256),
        "fc.bias": (3,),
    }
    norms = {"bn1": 8}
    for i, count in enumerate(BLOCKS):
        middle, wide, axes = WIDTHS[i + 1] // 4, WIDTHS[i + 1], 2 if i == 3 else 3
        for j in range(count):
            block, seen, ones = f"layer{i + 1}.{j}.", WIDTHS[i] if j == 0 else wide, (1,) * axes
            layers = {"1": (middle, seen, *ones), "4": (wide, middle, *ones)}
            layers |= (
                {"_normal": (middle, middle, 3, 3)}
                if i == 3
                else {"2": (middle, middle, 1, 3, 3), "3": (middle, middle, 3, 1, 1)}
            )
            for name, shape in layers.items():
                shapes[f"{block}conv{name}.weight"] = shape
                norms[f"{block}bn{name}"] = shape[0]
            if j == 0:
                shapes[f"{block}downsample.0.weight"] = (wide, seen, *ones)
                norms[f"{block}downsample.1"] = wide
    for name, channels in norms.items():
        shapes |= {f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return shapes


def drawn(key: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) * (2 / prod(shape[1:])) ** 0.5
    if key.endswith(("running_var", "weight")):
        return torch.rand(shape, generator=generator) * 0.5 + 0.75
    return torch.randn(shape, generator=generator) * 0.1


def plain(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the scores of clips of 16 frames."""

    def normed(x: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            state[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, scale, shift)

    def layer(x: Tensor, block: str, name: str, stride: tuple[int, ...] = (1, 1, 1)) -> Tensor:
        weight = state[f"{block}conv{name}.weight"]
        convolve = functional.conv3d if weight.ndim == 5 else functional.conv2d
        pad = [length // 2 for length in weight.shape[2:]]
        return normed(convolve(x, weight, None, stride[-len(pad) :], pad), f"{block}bn{name}")

    x = functional.conv3d(x, state["conv1_custom.weight"], None, (1, 2, 2), (0, 3, 3))
    x = functional.max_pool3d(normed(x, "bn1").relu(), (2, 3, 3), 2, (0, 1, 1))
    number = 0
    for i, count in enumerate(BLOCKS):
        for j in range(count):
            block, step = f"layer{i + 1}.{j}.", 2 if j == 0 and i > 0 else 1
            stride = (1, step, step)
            out = layer(x, block, "1", stride).relu()
            if i == 3:
                out = layer(out, block, "_normal").relu()
            elif number % 3 == 0:
                out = layer(layer(out, block, "2").relu(), block, "3").relu()
            elif number % 3 == 1:
                out = layer(out, block, "2").relu() + layer(out, block, "3").relu()
            else:
                space = layer(out, block, "2").relu()
                out = space + layer(space, block, "3").relu()
            out = layer(out, block, "4")
            if j == 0:
                convolve = functional.conv2d if i == 3 else functional.conv3d
                x = convolve(x, state[f"{block}downsample.0.weight"], None, stride[-2:] if i == 3 else stride)
                x = normed(x, f"{block}downsample.1")
            x, number = (out + x).relu(), number + 1
        if i < 3:
            x = functional.max_pool3d(x, (2, 1, 1))
        if i == 2:
            x = x.squeeze(2)
    return functional.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])


@torch.inference_mode()
def test_it_answers_as_the_published_program() -> None:
    state = {key: drawn(key, shape) for key, shape in published_shapes().items()}
    net = build_recognizer(
        backbone="p3d",
        backbone_options={"depth": 199},
        head="tgap",
        num_classes=3,
        clip_length=16,
        size=64,
        width=0.125,
    ).eval()
    report = load_published(net, {"state_dict": {f"module.{key}": value for key, value in state.items()}})
    assert report.layout == "p3d"
    assert len(report.loaded) == len(state)
    assert not report.missing + report.unexpected + report.reinitialized
    assert net.config["backbone_options"]["depth"] == 63, "the file says it"
    clips_NCTHW = torch.randn(2, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    expected_NK = plain(state, clips_NCTHW)
    assert (net(clips_NCTHW) - expected_NK).abs().max() < 1e-4 * expected_NK.std()
    assert net.backbone(torch.randn(1, 3, 40, 64, 64)).shape == (1, 256, 2, 2, 2)


def test_what_it_does_not_have_is_refused() -> None:
    def build(frames: int = 16, **options: object) -> None:
        build_recognizer(
            backbone="p3d", backbone_options=options, head="tgap", num_classes=2, clip_length=frames, width=0.125
        )

    with pytest.raises(ConfigError, match="16 frames at least, which leave one step, got 15"):
        build(15)
    with pytest.raises(ConfigError, match="depth of P3D must be one of 63, 131, 199, got 50"):
        build(depth=50)
    with pytest.raises(ConfigError, match="structure of P3D"):
        build(structures="AD")
    with pytest.raises(ConfigError, match="structures must be some of A, B, C, got none"):
        build(structures="")
