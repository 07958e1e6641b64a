"""Frames that lie in a batch, seen as clips: what shifts, pools and filters them is cheap along their first axes.

Axes: N clips, T frames, B = N x T, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def as_clips(x_BCHW: Tensor, clips: int) -> Tensor:
    """Return the view ``(N, T, C, H, W)`` of frames in a batch."""
    return x_BCHW.view(clips, -1, *x_BCHW.shape[1:])


def later(x_NTCHW: Tensor) -> Tensor:
    """Return each frame one step later: the first is nothing, the last is gone."""
    return functional.pad(x_NTCHW, (0, 0, 0, 0, 0, 0, 1, -1))


def earlier(x_NTCHW: Tensor) -> Tensor:
    """Return each frame one step earlier: the last is nothing, the first is gone."""
    return functional.pad(x_NTCHW, (0, 0, 0, 0, 0, 0, -1, 1))


class TemporalPool(nn.Module):
    """The maximum over three frames, every second one: T becomes T / 2, rounded up.

    Source: "Deep analysis of CNN-based spatio-temporal representations for action recognition", CVPR 2021,
    arXiv:2010.11757, supplement B.
    """

    def forward(self, x_BCHW: Tensor, clips: int) -> Tensor:
        """Map ``(N x T, C, H, W)`` to ``(N x T / 2, C, H, W)``."""
        x_NTCHW = as_clips(x_BCHW, clips)
        even_NTCHW, odd_NTCHW = x_NTCHW[:, ::2], x_NTCHW[:, 1::2]
        steps = even_NTCHW.shape[1]
        # By whole frames, which is quicker than a pool of windows; at the ends a frame stands for the one that is not.
        before_NTCHW = torch.cat((even_NTCHW[:, :1], odd_NTCHW), dim=1)[:, :steps]
        behind_NTCHW = torch.cat((odd_NTCHW, even_NTCHW[:, -1:]), dim=1)[:, :steps]
        return torch.maximum(even_NTCHW, torch.maximum(before_NTCHW, behind_NTCHW)).flatten(0, 1)
