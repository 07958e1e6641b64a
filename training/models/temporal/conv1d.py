"""Convolutions of pictures, each followed by one over time.

Sources: "Rethinking spatiotemporal feature learning", ECCV 2018, arXiv:1712.04851 (S3D); "A closer look at
spatiotemporal convolutions for action recognition", CVPR 2018, arXiv:1711.11248 (R(2+1)D). As the authors of "Deep
analysis of CNN-based spatio-temporal representations", arXiv:2010.11757, have them: no channels are added in between.

Axes: N clips, C channels, T frames, H height, W width.
"""

from collections.abc import Callable

from torch import nn

from kinebert.training.models.blocks import Convolve, Size, convolution
from kinebert.training.models.temporal.registry import TemporalModule, register_temporal


def factored(norm: Callable[[int], nn.Module], bias: bool) -> Convolve:
    """Return what makes a convolution of ``(T, H, W)`` as one of pictures, a norm, a ReLU, and one over time.

    Args:
        norm: Makes the norm in the middle, of so many channels.
        bias: Whether the convolution over time has one.
    """

    def convolve(channels_in: int, channels_out: int, kernel: Size, stride: Size, groups: int = 1) -> nn.Module:
        over_time = nn.Conv3d(
            channels_out, channels_out, (kernel[0], 1, 1), (stride[0], 1, 1), (kernel[0] // 2, 0, 0), bias=bias
        )
        return nn.Sequential(
            convolution(channels_in, channels_out, (1, *kernel[1:]), (1, *stride[1:]), groups),
            norm(channels_out),
            nn.ReLU(inplace=True),
            over_time,
        )

    return convolve


@register_temporal("conv1d")
def conv1d() -> TemporalModule:
    """Factor the convolutions: S3D, R(2+1)D."""
    return TemporalModule(clips=True, factored=factored)
