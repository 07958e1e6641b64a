"""Layers that residual networks are made of."""

import pytest
import torch
from torch.nn import functional

from kinebert.training.models.blocks import convolution
from kinebert.training.models.depthwise import DepthwiseConv3d


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
def test_a_depthwise_convolution_and_its_gradients_are_torchs(stride: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    layer = convolution(16, 16, (3, 3, 3), stride, groups=16)
    assert isinstance(layer, DepthwiseConv3d)
    x_NCTHW = torch.randn(2, 16, 5, 9, 8, requires_grad=True)
    found = layer(x_NCTHW)
    wanted = functional.conv3d(x_NCTHW, layer.weight, None, stride, 1, 1, 16)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)  # sums of 27 products near 1
    inputs = (x_NCTHW, layer.weight)
    ours_and_theirs = (torch.autograd.grad(output.sin().sum(), inputs) for output in (found, wanted))
    for ours, theirs in zip(*ours_and_theirs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)  # of the weights: sums over 720 places


def test_channels_that_meet_are_no_depthwise_convolution() -> None:
    assert not isinstance(convolution(16, 16, (3, 3, 3), (1, 1, 1), groups=8), DepthwiseConv3d)
    assert not isinstance(convolution(16, 32, (3, 3, 3), (1, 1, 1), groups=16), DepthwiseConv3d)
