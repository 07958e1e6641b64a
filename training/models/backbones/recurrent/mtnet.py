"""MTNet as its program has it: two branches, brief and prolonged, that run beside each other through all blocks.

Source: alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates, ``network/MTnet.py``, to which "Multi-temporal
convolutions for human action recognition in videos", IJCNN 2021, arXiv:2011.03949, refers. Its weights are of this
network. The network of the paper's text and tables is another one: :mod:`.mtnet_x3d`, and ``docs/mtnet.md``.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import ResidualTrunk, Size, convolution, stem
from kinebert.training.models.inputs import FLOW, MFNET
from kinebert.training.models.operations.frame_selection import select_frames
from kinebert.training.models.operations.recursion import SqueezeAndRecursion
from kinebert.training.models.operations.sampling import resized, spread
from kinebert.training.models.registry import register_backbone

Pair = tuple[Tensor, Tensor]
"""The short branch, ``(N, C, T, H, W)``, and the long one: fewer channels, half of T, H and W."""


def half_picture(x: Tensor) -> Tensor:
    """Average each two by two pixels; a side of one pixel stays."""
    window = (1, min(2, x.shape[3]), min(2, x.shape[4]))
    return functional.avg_pool3d(x, window)


def half_clip(x: Tensor) -> Tensor:
    """Keep the half of the frames that is most like its neighbours; two frames or one stay."""
    return select_frames(x, alike=True, squared=True) if x.shape[2] > 2 else x


def _norm(channels: int, groups: int, grouped: bool) -> nn.Module:
    return nn.GroupNorm(groups, channels) if grouped else nn.BatchNorm3d(channels)


class BranchConv(nn.Module):
    """A convolution of each branch, and perhaps one of size 1 from the short to the long branch; all normalised.

    Args:
        channels_in: Of both branches together.
        channels_out: Of both branches together.
        kernel: Length over frames, height and width.
        step: From one place to the next, along all three.
        ratio: Part of the channels in the short branch, rounded down.
        groups: Of both convolutions together. More than one, and groups are normalised instead of batches.
        lateral: Whether the short branch adds to the long one. One norm serves what is added and what it is added to.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Size,
        step: int,
        ratio: float,
        groups: int = 1,
        lateral: bool = True,
    ) -> None:
        super().__init__()
        of_short = max(1, int(groups * ratio))
        of_long = max(1, groups - of_short)
        short_in, short_out = int(channels_in * ratio), int(channels_out * ratio)
        long_in, long_out = channels_in - short_in, channels_out - short_out
        rest = (short_in % of_short, short_out % of_short, long_in % of_long, long_out % of_long)
        if min(short_in, short_out, long_in, long_out) < 1 or any(rest):
            raise ConfigError(
                f"{channels_in} and {channels_out} channels cannot be shared at the ratio {ratio:g} by a short and a "
                f"long branch in {groups} groups: take a wider network, fewer groups, or a ratio such as 0.5 or 0.875."
            )
        self.conv_short = convolution(short_in, short_out, kernel, (step,) * 3, of_short)
        self.conv_long = convolution(long_in, long_out, kernel, (step,) * 3, of_long)
        self.lateral = convolution(short_out, long_out, (1, 1, 1), (1, 1, 1)) if lateral else None
        self.norm_short = _norm(short_out, of_short, groups > 1)
        self.norm_long = _norm(long_out, of_long, groups > 1)

    def forward(self, pair: Pair) -> Pair:
        """Map a pair of branches to another one."""
        short, long = self.conv_short(pair[0]), self.conv_long(pair[1])
        if self.lateral is None:
            return self.norm_short(short), self.norm_long(long)
        carried = self.lateral(resized(half_clip(half_picture(short)), long.shape[2:]))
        long = self.norm_long(long)
        return self.norm_short(short), long + self.norm_long(carried)


class BranchBlock(nn.Module):
    """Four convolutions of branches around a shortcut, their features weighted by squeeze and recursion.

    Args:
        channels_in: Of both branches together.
        channels_out: Of both branches together.
        step: From one place of T, H and W to the next.
        ratio: Part of the channels in the short branch.
        groups: Of the last two convolutions; the block is so many times as narrow inside.
    """

    def __init__(self, channels_in: int, channels_out: int, step: int, ratio: float, groups: int) -> None:
        super().__init__()
        inside, one = channels_out // groups, (1, 1, 1)
        changed = step > 1 or channels_in != channels_out
        self.downsample = BranchConv(channels_in, channels_out, one, step, ratio, lateral=False) if changed else None
        self.conv1_1 = BranchConv(channels_in, inside, one, 1, ratio)
        self.conv1_2 = BranchConv(inside, channels_in, one, 1, ratio)
        self.conv2 = BranchConv(channels_in, inside, (3, 3, 3), step, ratio, groups)
        self.conv3 = BranchConv(inside, channels_out, one if changed else (1, 3, 3), 1, ratio, groups)
        short = int(channels_out * ratio)
        self.recursion_short = SqueezeAndRecursion(short, "gru", 2)
        self.recursion_long = SqueezeAndRecursion(channels_out - short, "gru", 2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, pair: Pair) -> Pair:
        """Map a pair of branches to another one."""
        short, long = pair
        for conv in (self.conv1_1, self.conv1_2, self.conv2):
            short, long = conv((short, long))
            short, long = self.relu(short), self.relu(long)
        short, long = self.conv3((short, long))
        short, long = self.recursion_short(short), self.recursion_long(long)
        beside_short, beside_long = self._shortcut(pair)
        short = self.relu(short + resized(beside_short, short.shape[2:]))
        return short, self.relu(long + resized(beside_long, long.shape[2:]))

    def _shortcut(self, pair: Pair) -> Pair:
        if self.downsample is None:
            return pair
        short, long = pair
        if long.shape[3] < 3:
            long = resized(long, (long.shape[2], 3, 3))  # as published, so that a step meets both sides of it
        found: Pair = self.downsample((short, long))
        return found


class Branches(nn.Module):
    """The stem's features become a pair: pooled over the picture, half of the frames, and half of that for the long.

    Args:
        short: Channels of the short branch, the first of the stem's.
    """

    def __init__(self, short: int) -> None:
        super().__init__()
        self.short = short
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))

    def forward(self, x: Tensor) -> Pair:
        """Map ``(N, C, T, H, W)``, T at least 3, to a pair."""
        if x.shape[3] % 2 or x.shape[4] % 2:
            x = functional.pad(x, (1, 0, 1, 0, 0, 0), "replicate")
        x = half_clip(self.pool(x))
        return x[:, : self.short], half_clip(half_picture(x[:, self.short :]))


class MTNet(ResidualTrunk):
    """MTNet without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 16, H / 32, W / 32)``.

    T / 2 is rounded down, everything else up. The long branch is brought to the short one's times and places by areas,
    so that averages are those of the branches by themselves, as published.

    Args:
        blocks: Blocks of each of the four stages.
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 512 times it.
        ratio: Part of the channels in the short branch.
        groups: Of each block's last two convolutions.
    """

    temporal_stride = 16

    def __init__(self, blocks: Sequence[int], channels_in: int, width: float, ratio: float, groups: int) -> None:
        positive(width=width, groups=groups)
        if not 0 < ratio < 1:
            raise ConfigError(
                f"ratio must lie between 0 and 1, got {ratio}: this program needs both branches. "
                "mtnet_x3d_m takes a ratio of 1, which leaves the prolonged branch out."
            )
        widths = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        super().__init__(
            channels_in,
            nn.Sequential(*stem(channels_in, widths[0], (3, 7, 7), None), Branches(int(widths[0] * ratio))),
            blocks,
            widths,
            lambda _, before, after, step: BranchBlock(before, after, step, ratio, groups),
        )
        self.ratio = ratio

    @property
    def path_features(self) -> tuple[int, int]:
        """F of the long branch and of the short one."""
        short = int(self.num_features * self.ratio)
        return self.num_features - short, short

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames: that of the short branch."""
        return self.path_steps(clip_length)[1]

    def path_steps(self, clip_length: int) -> tuple[int, int]:
        """Return the T' of the long branch and of the short one."""
        short = clip_length // 2
        long = short // 2 if short > 2 else short
        return -(-long // 8), -(-short // 8)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels and at least three frames."""
        super().check_input(channels, frames, height, width)
        if frames < 3:
            raise ConfigError(f"MTNet chooses frames by their neighbours: it takes at least 3, got {frames}.")

    def paths(self, x_NCTHW: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, C, T, H, W)`` to the long branch and the short one, each with its own T', H' and W'."""
        pair: Any = super().forward(x_NCTHW)
        short, long = pair
        return long, short

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``: the short branch's features, then the long one's."""
        long, short = self.paths(x_NCTHW)
        return torch.cat([short, spread(long, short.shape[2:])], dim=1)

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a block like those of the trunk, without groups."""
        return BranchBlock(channels_in, channels_out, 1, self.ratio, 1)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def mtnet_xs(channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.875, groups: int = 1) -> MTNet:
    """MTNet with 8 blocks."""
    return MTNet((2, 2, 2, 2), channels_in, width, ratio, groups)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def mtnet_s(channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.875, groups: int = 1) -> MTNet:
    """MTNet with 12 blocks."""
    return MTNet((2, 2, 5, 3), channels_in, width, ratio, groups)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def mtnet_m(channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.875, groups: int = 1) -> MTNet:
    """MTNet with 16 blocks."""
    return MTNet((3, 4, 6, 3), channels_in, width, ratio, groups)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def mtnet_l(channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.875, groups: int = 1) -> MTNet:
    """MTNet with 33 blocks."""
    return MTNet((3, 4, 23, 3), channels_in, width, ratio, groups)
