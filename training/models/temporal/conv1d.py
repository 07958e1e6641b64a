"""Convolutions of pictures, each followed by one over time.

Sources: "Rethinking spatiotemporal feature learning", ECCV 2018, arXiv:1712.04851 (S3D); "A closer look at
spatiotemporal convolutions for action recognition", CVPR 2018, arXiv:1711.11248 (R(2+1)D). As the authors of "Deep
analysis of CNN-based spatio-temporal representations", arXiv:2010.11757, have them: no channels are added in between.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from kinebert.training.models.blocks import OverTime, convolution
from kinebert.training.models.temporal.registry import TemporalModule, register_temporal


def over_time(norm: Callable[[int], nn.Module], bias: bool) -> OverTime:
    """Return what makes a ReLU, a convolution over time and its norm.

    Args:
        norm: Makes the norm of so many channels.
        bias: Whether the convolution has one.
    """
    return partial(_over_time, norm, bias)


def _over_time(
    norm: Callable[[int], nn.Module], bias: bool, channels: int, length: int, step: int, groups: int
) -> nn.Module:
    conv = convolution(channels, channels, (length, 1, 1), (step, 1, 1), groups, bias=bias)
    return nn.Sequential(nn.ReLU(inplace=True), conv, norm(channels))


@register_temporal("conv1d")
def conv1d() -> TemporalModule:
    """Factor the convolutions: S3D, R(2+1)D."""
    return TemporalModule(clips=True, over_time=over_time)
