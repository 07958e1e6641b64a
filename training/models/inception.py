"""What the inception networks of the first version are made of: units of a convolution, and blocks of four branches.

Source: "Going deeper with convolutions", CVPR 2015, arXiv:1409.4842, with batch norms, and a kernel of 3 where the
paper has one of 5, as all published networks for videos have it.

Axes: N batch, C channels, T frames, H height, W width; ... is H and W, or T, H and W.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import scaled
from kinebert.training.models.blocks import Connected


class Branches(NamedTuple):
    """Channels of a mixed block's convolutions, in the order of the paper's table."""

    point: int
    first_reduce: int
    first: int
    second_reduce: int
    second: int
    pooled: int

    @property
    def total(self) -> int:
        """Channels that leave the block."""
        return self.point + self.first + self.second + self.pooled

    def scaled(self, width: float) -> "Branches":
        """Return every number of channels times ``width``."""
        return Branches(*(scaled(channels, width) for channels in self))


# "Going deeper with convolutions", CVPR 2015, table 1, but for the 208 of 4b and the 5c that follow it as well.
MIXED = {
    "mixed3b": Branches(64, 96, 128, 16, 32, 32),
    "mixed3c": Branches(128, 128, 192, 32, 96, 64),
    "mixed4b": Branches(192, 96, 208, 16, 48, 64),
    "mixed4c": Branches(160, 112, 224, 24, 64, 64),
    "mixed4d": Branches(128, 128, 256, 24, 64, 64),
    "mixed4e": Branches(112, 144, 288, 32, 64, 64),
    "mixed4f": Branches(256, 160, 320, 32, 128, 128),
    "mixed5b": Branches(256, 160, 320, 32, 128, 128),
    "mixed5c": Branches(384, 192, 384, 48, 128, 128),
}


def reduced(width: int) -> Branches:
    """Return the branches of a block that leaves ``width`` features: the published 192, 96, 192, 24, 64, 64 for 512.

    Raises:
        ConfigError: If ``width`` is not a positive multiple of 8.
    """
    if width < 8 or width % 8:
        raise ConfigError(f"the features of an inception network are reduced to a positive multiple of 8, got {width}.")
    return Branches(
        point=width * 3 // 8,
        first_reduce=max(1, width * 3 // 16),
        first=width * 3 // 8,
        second_reduce=max(1, width * 3 // 64),
        second=width // 8,
        pooled=width // 8,
    )


class Unit(Connected):
    """A convolution, a batch norm, perhaps what a factored convolution does over ``time``, a ReLU."""

    def __init__(self, conv: nn.Module, norm: nn.Module, time: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm, self.time = conv, norm, time

    def block(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ... / stride)``."""
        x = self.norm(self.conv(x))
        return functional.relu(x if self.time is None else self.time(x), inplace=True)


class Mixed(Connected):
    """An inception block: four branches, side by side in channels.

    Args:
        channels_in: C.
        branches: Channels inside.
        unit: Called with the channels in and out, and the kernel's size, 1 or 3.
        pool: A maximum of 3 in each axis that leaves the shape as it is.
    """

    def __init__(
        self, channels_in: int, branches: Branches, unit: Callable[[int, int, int], nn.Module], pool: nn.Module
    ) -> None:
        super().__init__()
        self.channels_in = channels_in
        self.point = unit(channels_in, branches.point, 1)
        self.first_reduce = unit(channels_in, branches.first_reduce, 1)
        self.first = unit(branches.first_reduce, branches.first, 3)
        self.second_reduce = unit(channels_in, branches.second_reduce, 1)
        self.second = unit(branches.second_reduce, branches.second, 3)
        self.pool = pool
        self.pooled = unit(channels_in, branches.pooled, 1)

    def block(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ...)``."""
        branches = (
            self.point(x),
            self.first(self.first_reduce(x)),
            self.second(self.second_reduce(x)),
            self.pooled(self.pool(x)),
        )
        return torch.cat(branches, dim=1)
