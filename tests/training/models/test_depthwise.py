"""Depth-wise convolutions give what torch's own give, forwards and backwards, whatever lies behind them."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional

from kinebert.training.models.blocks import convolution
from kinebert.training.models.depthwise import DepthwiseConv3d, PointwiseConv3d

CASES = [((3, 3, 3), (1, 1, 1)), ((3, 3, 3), (1, 2, 2)), ((5, 1, 1), (1, 1, 1)), ((3, 1, 1), (2, 1, 1))]


def both(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> tuple[DepthwiseConv3d, nn.Conv3d]:
    torch.manual_seed(0)
    padding: tuple[int, int, int] = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    ours = DepthwiseConv3d(6, 6, kernel, stride, padding, groups=6, bias=False).double()
    plain = nn.Conv3d(6, 6, kernel, stride, padding, groups=6, bias=False).double()
    plain.load_state_dict(ours.state_dict(), strict=True)
    return ours, plain


def results(net: nn.Module, x_NCTHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of the input and of the weights."""
    x_NCTHW = x_NCTHW.clone().requires_grad_()
    out = net(x_NCTHW)
    (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape)).sum().backward()
    (weight,) = net.parameters()
    assert x_NCTHW.grad is not None
    assert weight.grad is not None
    return out.detach(), x_NCTHW.grad, weight.grad


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), CASES)
def test_results_are_those_of_torch(kernel: tuple[int, int, int], stride: tuple[int, int, int], train: bool) -> None:
    ours, plain = both(kernel, stride)
    x_NCTHW = torch.randn(2, 6, 5, 7, 4, dtype=torch.float64)
    for mine, other in zip(results(ours.train(train), x_NCTHW), results(plain, x_NCTHW), strict=True):
        assert mine.shape == other.shape
        assert torch.allclose(mine, other, atol=1e-12)


def test_gradients_are_right_in_float64() -> None:
    torch.manual_seed(0)
    ours = convolution(2, 2, (3, 3, 3), (1, 1, 1), groups=2).double().train()
    x_NCTHW = torch.randn(1, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(ours, x_NCTHW)


def test_pixels_by_themselves_are_torchs_in_every_layout() -> None:
    torch.manual_seed(0)
    ours = convolution(6, 5, (1, 1, 1), (1, 1, 1), bias=True)
    assert isinstance(ours, PointwiseConv3d)
    ours = ours.double()
    x_NCTHW = torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)
    innermost = x_NCTHW.contiguous(memory_format=torch.channels_last_3d)
    out = ours(innermost)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    for found in (out, ours(x_NCTHW)):
        assert torch.allclose(found, functional.conv3d(x_NCTHW, ours.weight, ours.bias), atol=1e-12)


def test_half_precision_trains() -> None:
    ours, plain = both((3, 3, 3), (1, 1, 1))
    x_NCTHW = torch.randn(2, 6, 4, 5, 5)
    grads = []
    for net in (ours.float().train(), plain.float()):
        with torch.autocast("cpu", torch.bfloat16):
            net(x_NCTHW).float().square().mean().backward()
        assert net.weight.grad is not None
        assert net.weight.grad.dtype == torch.float32
        grads.append(net.weight.grad)
    assert (grads[0] - grads[1]).abs().max() < 0.02 * grads[1].abs().max()


def test_networks_get_it_by_themselves() -> None:
    assert isinstance(convolution(8, 8, (3, 3, 3), (1, 1, 1), groups=8), DepthwiseConv3d)
    for layer in (convolution(8, 8, (3, 3, 3), (1, 1, 1)), convolution(8, 8, (3, 3), (1, 1), groups=8)):
        assert not isinstance(layer, DepthwiseConv3d)
