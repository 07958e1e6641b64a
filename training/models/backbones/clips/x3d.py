"""X3D: a small residual network of depth-wise convolutions, which keeps every frame.

Source: "X3D: Expanding architectures for efficient video recognition", CVPR 2020, arXiv:2004.04730, and the published
PySlowFast. Behind its last convolution the published network takes the mean over T, H and W, then a linear layer and a
ReLU. Both belong to the head here (``projection`` of ``tgap``, 2048 on these networks), so that the map in front of the
mean keeps its time steps for the other heads.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

import math

from torch import Tensor, nn

from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Residual, ResidualTrunk, convolution, draw_convolutions, shortcut
from kinebert.training.models.inputs import SLOWFAST, SLOWFAST_FLOW
from kinebert.training.models.registry import register_backbone

BLOCKS = (1, 2, 5, 3)
"""Blocks of each stage, to be multiplied by the depth factor."""
CHANNELS = (12, 12, 24, 48, 96)
"""Of the stem and of each stage, to be multiplied by the width factor."""
BOTTLENECK = 2.25
"""Channels inside a block per channel that leaves it."""


def squeezed(channels: int) -> int:
    """Return a sixteenth of ``channels`` as the nearest multiple of 8, the next one if that is a tenth too few."""
    nearest = max(8, int(channels / 16 + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels / 16 else nearest


class SqueezeExcitation(nn.Module):
    """Each channel times a number from 0 to 1 that follows from the means of all. "Squeeze-and-excitation networks"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv3d(channels, squeezed(channels), 1)
        self.relu = nn.ReLU(inplace=True)
        self.excite = nn.Conv3d(squeezed(channels), channels, 1)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C, T, H, W)``."""
        mean_NC111 = x_NCTHW.mean(dim=(2, 3, 4), keepdim=True)
        out_NCTHW: Tensor = x_NCTHW * self.excite(self.relu(self.squeeze(mean_NC111))).sigmoid()
        return out_NCTHW


class Block(Residual):
    """A depth-wise convolution between two of size 1, behind it perhaps squeeze and excitation, and swish."""

    def __init__(self, channels_in: int, channels_out: int, step: int, squeeze: bool) -> None:
        super().__init__(shortcut("B", channels_in, channels_out, (1, step, step)))
        middle, one = int(BOTTLENECK * channels_out), (1, 1, 1)
        self.conv1 = convolution(channels_in, middle, one, one)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = convolution(middle, middle, (3, 3, 3), (1, step, step), groups=middle)
        self.bn2 = nn.BatchNorm3d(middle)
        self.excitation = SqueezeExcitation(middle) if squeeze else nn.Identity()
        self.swish = nn.SiLU(inplace=True)
        self.conv3 = convolution(middle, channels_out, one, one)
        self.bn3 = nn.BatchNorm3d(channels_out)

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T, H / step, W / step)``, without the last ReLU."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.swish(self.excitation(self.bn2(self.conv2(x))))
        out: Tensor = self.bn3(self.conv3(x))
        return out


def first_layers(channels_in: int, channels_out: int) -> nn.Sequential:
    """Return the stem: a convolution of pictures, which halves H and W, and a depth-wise one over five frames."""
    first = convolution(channels_in, channels_out, (1, 3, 3), (1, 2, 2))
    over_time = convolution(channels_out, channels_out, (5, 1, 1), (1, 1, 1), groups=channels_out)
    return nn.Sequential(first, over_time, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True))


class ExpandedTrunk(ResidualTrunk):
    """A trunk with one more convolution behind its four stages, ``last``, which leaves more features."""

    last: nn.Module

    def stages(self) -> list[nn.Module]:
        """Return the four stages and the last convolution."""
        return [*super().stages(), self.last]

    def reduce_replace(self, width: int) -> None:
        """Replace the last convolution by a block that leaves ``width`` features: FRMB. Its weights are lost."""
        self.last = self._reduction(self.last_features, width)
        self.num_features, self.reduced = width, ("last",)


class X3d(ExpandedTrunk):
    """X3D trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T, H / 32, W / 32)``, rounded up.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 432 times it, 625 times it for the widest.
        width_factor: Gamma_w of the paper, by which the published numbers of channels follow from :data:`CHANNELS`.
        depth_factor: Gamma_d of the paper, by which the numbers of blocks follow from :data:`BLOCKS`.
    """

    temporal_stride = 1

    def __init__(self, channels_in: int, width: float, width_factor: float, depth_factor: float) -> None:
        positive(width=width, width_factor=width_factor, depth_factor=depth_factor)
        published = [int(channels * width_factor + 0.5) for channels in CHANNELS]
        widths = [scaled(channels, width) for channels in published]
        blocks = [math.ceil(depth_factor * count) for count in BLOCKS]
        places = iter([i for count in blocks for i in range(count)])  # in the order in which blocks are made

        def block(_: int, before: int, after: int, __: int) -> nn.Module:
            place = next(places)
            return Block(before, after, 2 if place == 0 else 1, squeeze=place % 2 == 0)

        super().__init__(channels_in, first_layers(channels_in, widths[0]), blocks, widths, block)
        self.num_features = scaled(int(BOTTLENECK * published[-1]), width)
        conv = convolution(widths[-1], self.num_features, (1, 1, 1), (1, 1, 1))
        self.last = nn.Sequential(conv, nn.BatchNorm3d(self.num_features), nn.ReLU(inplace=True))
        draw_convolutions(self.last)

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a block like those of the trunk."""
        return Block(channels_in, channels_out, 1, squeeze=True)


_register = register_backbone(
    {"projection": 2048},
    rgb=SLOWFAST,
    flow=SLOWFAST_FLOW,
    pose=SLOWFAST,
)
_register_widest = register_backbone(
    {"projection": 2048, "num_heads": 1},  # 625 features are no multiple of 8
    rgb=SLOWFAST,
    flow=SLOWFAST_FLOW,
    pose=SLOWFAST,
)


@_register
def x3d_xs(channels_in: int = 3, width: float = 1.0, *, width_factor: float = 2.0, depth_factor: float = 2.2) -> X3d:
    """X3D-XS, published for 4 frames, every 12th, of 160 pixels."""
    return X3d(channels_in, width, width_factor, depth_factor)


@_register
def x3d_s(channels_in: int = 3, width: float = 1.0, *, width_factor: float = 2.0, depth_factor: float = 2.2) -> X3d:
    """X3D-S, the same network as XS, published for 13 frames, every 6th, of 160 pixels."""
    return X3d(channels_in, width, width_factor, depth_factor)


@_register
def x3d_m(channels_in: int = 3, width: float = 1.0, *, width_factor: float = 2.0, depth_factor: float = 2.2) -> X3d:
    """X3D-M, the same network as XS, published for 16 frames, every 5th, of 224 pixels."""
    return X3d(channels_in, width, width_factor, depth_factor)


@_register
def x3d_l(channels_in: int = 3, width: float = 1.0, *, width_factor: float = 2.0, depth_factor: float = 5.0) -> X3d:
    """X3D-L, deeper, published for 16 frames, every 5th, of 312 pixels."""
    return X3d(channels_in, width, width_factor, depth_factor)


@_register_widest
def x3d_xl(channels_in: int = 3, width: float = 1.0, *, width_factor: float = 2.9, depth_factor: float = 5.0) -> X3d:
    """X3D-XL, deeper and wider, of no published weights. BERT on its 625 features has one attention head, not eight.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        width_factor: With 2.9 it has the paper's parameters (11.1 M), with 2.865 its operations (48.4 G).
        depth_factor: By it the numbers of blocks follow from those of the smallest network.
    """
    return X3d(channels_in, width, width_factor, depth_factor)
