"""The representation flow layer: its solver against the published algorithm written down again, and its promises."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import build_recognizer
from kinebert.training.models.rep_flow import RepresentationFlow
from kinebert.training.optim.groups import parameter_groups
from kinebert.training.recipe.optim import LayerRecipe, OptimRecipe


def layer(channels: int = 16, iterations: int = 10, normalize: str = "clip") -> RepresentationFlow:
    torch.manual_seed(0)
    made = RepresentationFlow(channels, 8, iterations, normalize)
    for kernel in (made.image_x, made.flow_x, made.flow_y, made.divergence_x, made.divergence_y):
        nn.init.normal_(kernel, std=0.05)
    return made.double().eval()


def plain_flow(net: RepresentationFlow, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """TV-L1 pixel by pixel conditions, as section 3.2 of the paper has them, one component after the other."""
    slope_x = functional.conv2d(functional.pad(y, (1, 1)), net.image_x)
    slope_y = functional.conv2d(functional.pad(y, (0, 0, 1, 1)), net.image_y)
    for slope, towards in ((slope_x, x), (slope_y.transpose(2, 3), x.transpose(2, 3))):
        slope[..., 0] = (towards[..., 1] - towards[..., 0]) / 2
        slope[..., -1] = (towards[..., -1] - towards[..., -2]) / 2
    steep = slope_x**2 + slope_y**2 + 1e-12
    limit, step = net.attachment * net.theta, net.tau / net.theta
    parts, duals = [torch.zeros_like(x) for _ in range(2)], [torch.zeros_like(x) for _ in range(4)]

    def forward_difference(u: Tensor, kernel: Tensor) -> Tensor:
        found = functional.conv2d(functional.pad(u, (0, 0, 0, 1)), kernel)
        found[:, :, -1] = 0
        return found

    def backward_difference(p: Tensor, kernel: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(functional.pad(p[:, :, :-1], (0, 0, 1, 0)), (0, 0, 0, 1)), kernel)

    for _ in range(net.iterations):
        rho = y - x + slope_x * parts[0] + slope_y * parts[1] + 1e-12
        low, high = rho < -limit * steep, rho > limit * steep
        for i, slope in enumerate((slope_x, slope_y)):
            moved = torch.where(high, -limit * slope, torch.where(low, limit * slope, -rho / steep * slope))
            divergence = backward_difference(duals[2 * i], net.divergence_x)
            divergence = divergence + backward_difference(duals[2 * i + 1], net.divergence_y)
            parts[i] = parts[i] + moved + net.theta * divergence
        for i in range(2):
            along = [forward_difference(parts[i], kernel) for kernel in (net.flow_x, net.flow_y)]
            length = 1 + step * (along[0] ** 2 + along[1] ** 2 + 1e-12).sqrt()
            duals[2 * i : 2 * i + 2] = [(duals[2 * i + j] + step * along[j]) / length for j in range(2)]
    return parts[0], parts[1]


@torch.no_grad()
def test_its_flow_is_that_of_the_algorithm_step_by_step() -> None:
    net = layer()
    x, y = torch.randn(2, 3, 8, 6, 7, dtype=torch.float64).mul(50)
    torch.testing.assert_close(net._solve(x, y), torch.stack(plain_flow(net, x, y)), rtol=1e-9, atol=1e-9)


def test_its_gradients_are_those_of_differences() -> None:
    net = layer(channels=8, iterations=2)
    x_NCTHW = torch.randn(2, 8, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    parameters = [net.image_x, net.flow_y, net.divergence_x, net.theta, net.attachment, net.tau]

    def called(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,))

    names = ["image_x", "flow_y", "divergence_x", "theta", "attachment", "tau"]
    assert torch.autograd.gradcheck(called, (x_NCTHW, *parameters), atol=1e-4, fast_mode=True)


@torch.no_grad()
def test_it_scales_each_clip_by_itself_unless_told_otherwise() -> None:
    clips_NCTHW = torch.randn(2, 16, 4, 5, 5, dtype=torch.float64) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1, 1)
    alone = [layer(normalize=kind)(clips_NCTHW[:1]) for kind in ("clip", "batch")]
    torch.testing.assert_close(alone[0], alone[1])
    together = [layer(normalize=kind)(clips_NCTHW)[:1] for kind in ("clip", "batch")]
    torch.testing.assert_close(together[0], alone[0])
    assert (together[1] - alone[1]).abs().max() > 1e-3, "as published, the other clip counts as well"


@torch.no_grad()
def test_a_map_without_any_change_leaves_numbers() -> None:
    assert layer()(torch.ones(1, 16, 3, 4, 4, dtype=torch.float64)).isfinite().all()


def test_what_leaves_no_flow_is_refused() -> None:
    wanted: dict[str, Any] = {"backbone": "repflow_50", "head": "tgap", "num_classes": 2, "width": 0.125, "size": 32}
    with pytest.raises(ConfigError, match="11 frames and 15 pixels at least, got 3 channels, 10 frames of 32x32"):
        build_recognizer(**wanted, clip_length=10)
    with pytest.raises(ConfigError, match="flow_iterations must be at least 1, got 0"):
        build_recognizer(**wanted, clip_length=16, backbone_options={"flow_iterations": 0})
    with pytest.raises(ConfigError, match="choice of flow_normalize"):
        build_recognizer(**wanted, clip_length=16, backbone_options={"flow_normalize": "frame"})


def test_it_learns_at_a_hundredth_of_the_rate_unless_a_recipe_says_so() -> None:
    net = build_recognizer(backbone="repflow_50", head="tgap", num_classes=2, clip_length=16, size=32, width=0.125)
    inside = {id(parameter) for parameter in net.backbone.get_submodule("flow").parameters()}
    for layers, scale in (((), 0.01), ((LayerRecipe(match="backbone.flow.*", lr_scale=0.5),), 0.5)):
        groups = parameter_groups(net, OptimRecipe(lr=0.2, layers=layers))
        assert {group["lr_scale"] for group in groups} == {1.0, scale}
        slow = next(group for group in groups if group["lr_scale"] == scale)
        assert {id(parameter) for parameter in slow["params"]} == inside
        assert slow["lr"] == pytest.approx(0.2 * scale)
