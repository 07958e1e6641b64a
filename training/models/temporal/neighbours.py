"""The mean or the maximum of each frame and its two neighbours.

Source: "Deep analysis of CNN-based spatio-temporal representations for action recognition", CVPR 2021,
arXiv:2010.11757, table 5, whose program has neither: they stand where TAM does, and see as many frames.

Axes: N clips, T frames, B = N x T, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn

from kinebert.training.models.temporal.registry import Place, TemporalModule, register_temporal
from kinebert.training.models.temporal.steps import as_clips, earlier, later


class NeighbourMean(nn.Module):
    """The mean over the frames that there are of the one before, the frame itself and the one after."""

    def forward(self, x_BCHW: Tensor, clips: int) -> Tensor:
        """Map ``(N x T, C, H, W)`` to ``(N x T, C, H, W)``."""
        x_NTCHW = as_clips(x_BCHW, clips)
        steps = x_NTCHW.shape[1]
        counts_T = x_NTCHW.new_tensor([1 + (i > 0) + (i < steps - 1) for i in range(steps)])
        sum_NTCHW = later(x_NTCHW).add_(x_NTCHW).add_(earlier(x_NTCHW))
        return (sum_NTCHW / counts_T[:, None, None, None]).flatten(0, 1)


class NeighbourMaximum(nn.Module):
    """The maximum over the frame before, the frame itself and the one after."""

    def forward(self, x_BCHW: Tensor, clips: int) -> Tensor:
        """Map ``(N x T, C, H, W)`` to ``(N x T, C, H, W)``."""
        x_NTCHW = as_clips(x_BCHW, clips)
        before_NTCHW = torch.cat((x_NTCHW[:, :1], x_NTCHW[:, :-1]), dim=1)
        behind_NTCHW = torch.cat((x_NTCHW[:, 1:], x_NTCHW[:, -1:]), dim=1)
        return torch.maximum(x_NTCHW, torch.maximum(before_NTCHW, behind_NTCHW)).flatten(0, 1)


def _mean(channels: int, place: Place) -> nn.Module:
    del channels, place
    return NeighbourMean()


def _maximum(channels: int, place: Place) -> nn.Module:
    del channels, place
    return NeighbourMaximum()


@register_temporal("avg")
def avg() -> TemporalModule:
    """Average three frames before each block's first convolution, the shortcut apart."""
    return TemporalModule(inside=_mean)


@register_temporal("max")
def maximum() -> TemporalModule:
    """Take the maximum of three frames before each block's first convolution, the shortcut apart."""
    return TemporalModule(inside=_maximum)
