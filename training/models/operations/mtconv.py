"""MTConv as its paper describes it: a convolution of two branches that look at brief and at prolonged motion.

Source: "Multi-temporal convolutions for human action recognition in videos", IJCNN 2021, arXiv:2011.03949, section
III-A. Both branches have their part of the channels that come in and of those that go out, which is what table VI(a)
fits; ``docs/mtnet.md`` says how near.

Axes: N batch, C channels, T frames, H height, W width.
"""

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.blocks import Size, convolution
from kinebert.training.models.operations.frame_selection import select_frames
from kinebert.training.models.operations.recursion import SqueezeAndRecursion
from kinebert.training.models.operations.sampling import resized
from kinebert.training.models.operations.soft_pool import soft_pool


def halved(x: Tensor) -> Tensor:
    """Pool the picture by two (SoftPool), and keep the half of the frames that is least like its neighbours."""
    window = (1, min(2, x.shape[3]), min(2, x.shape[4]))
    return select_frames(soft_pool(x, window))


class MTConv(nn.Module):
    """Two branches in place of a convolution, its norm and its ReLU.

    The local branch convolves its channels. The prolonged one convolves its own and the local branch's features, both
    halved in time and in the picture, adds them up, and is interpolated to the local one's size.

    Args:
        channels_in: C of both branches.
        channels_out: C' of both branches.
        kernel: Length over frames, height and width, in every branch.
        stride: Step over frames, height and width.
        ratio: Part of the channels in the local branch, rounded down; 1 leaves the prolonged one out.

    Raises:
        ConfigError: If a branch would have no channel.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: Size, stride: Size, ratio: float) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise ConfigError(f"ratio must be above 0 and at most 1, got {ratio}.")
        local_in, local_out = int(channels_in * ratio), int(channels_out * ratio)
        self.local = local_in
        long_in, long_out = channels_in - local_in, channels_out - local_out
        if min(local_in, local_out) < 1 or (ratio < 1 and min(long_in, long_out) < 1):
            raise ConfigError(
                f"at the ratio {ratio:g} one of two branches has none of {channels_in} channels in or {channels_out} "
                "out: take a wider network, or a ratio nearer to 0.5."
            )
        self.conv_local = convolution(local_in, local_out, kernel, stride)
        self.norm_local = nn.BatchNorm3d(local_out)
        self.prolonged = ratio < 1
        if self.prolonged:
            self.conv_prolonged = convolution(long_in, long_out, kernel, stride)
            self.norm_prolonged = nn.BatchNorm3d(long_out)
            self.conv_lateral = convolution(local_out, long_out, kernel, (1, 1, 1))
            self.norm_lateral = nn.BatchNorm3d(long_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', ... / stride)``, rounded up."""
        if not self.prolonged:
            return self._local(x)
        local = self._local(x[:, : self.local])
        prolonged = self.norm_prolonged(self.conv_prolonged(halved(x[:, self.local :])))
        lateral = self.norm_lateral(self.conv_lateral(halved(local)))
        prolonged = self.relu(prolonged + resized(lateral, prolonged.shape[2:]))
        return torch.cat([local, resized(prolonged, local.shape[2:])], dim=1)

    def _local(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.norm_local(self.conv_local(x)))
        return out


class MTBlock(nn.Module):
    """Convolutions around a shortcut, whose features the recurrent network of the third branch weights.

    That branch sees what the block is given (section III-B), as the shortcut brings it to the block's shape.

    Args:
        convs: Convolutions, one behind the other.
        downsample: The shortcut; None where the input can be added as it is.
        channels_out: Of ``convs`` and of the shortcut.
        cell: Kind of recurrent cells; ``none`` leaves the branch out.
        layers: Recurrent layers upon each other.
    """

    def __init__(
        self, convs: list[nn.Module], downsample: nn.Module | None, channels_out: int, cell: str, layers: int
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(*convs)
        self.downsample = downsample
        self.recursion = None if cell == "none" else SqueezeAndRecursion(channels_out, cell, layers)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', ... / stride)``."""
        beside = x if self.downsample is None else self.downsample(x)
        out = self.convs(x)
        if self.recursion is not None:
            out = self.recursion.weight(out, beside)
        found: Tensor = self.relu(out + beside)
        return found
