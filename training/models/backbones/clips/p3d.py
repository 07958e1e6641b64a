"""P3D: a residual network whose convolutions over space and over time stand in three ways to each other, in turn.

Source: "Learning spatio-temporal representation with pseudo-3D residual networks", ICCV 2017, figure 3, in the
widespread PyTorch form of the authors' weights: steps lie in a block's first convolution, pools halve time behind each
of the first three stages, and the last stage sees pictures. That program takes 16 frames, which leave one step; here
every 16 frames leave one.

Axes: N batch, C channels, T frames, H height, W width, F features; B is N x T'.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Bottleneck, ResidualTrunk, convolution, reducing
from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.registry import register_backbone

Layer = Callable[[Tensor], Tensor]
BLOCKS = {63: (3, 4, 6, 3), 131: (3, 4, 23, 3), 199: (3, 8, 36, 3)}
"""Blocks of each stage, by the layers of the whole network."""
LEAST = 16
"""Frames that leave one step."""


def _serial(space: Layer, time: Layer, x: Tensor) -> Tensor:
    return time(space(x))


def _parallel(space: Layer, time: Layer, x: Tensor) -> Tensor:
    return space(x) + time(x)


def _joined(space: Layer, time: Layer, x: Tensor) -> Tensor:
    seen = space(x)
    return seen + time(seen)


STRUCTURES: Mapping[str, Callable[[Layer, Layer, Tensor], Tensor]] = {"A": _serial, "B": _parallel, "C": _joined}
"""How a block's convolution over space and the one over time are connected, as the paper letters them."""


class PictureBottleneck(Bottleneck):
    """A bottleneck of pictures whose steps lie in its first convolution."""

    def __init__(self, channels_in: int, channels_out: int, step: int) -> None:
        middle = channels_out // 4
        super().__init__(channels_in, middle, channels_out, (3, 3), (step, step))
        self.conv1 = convolution(channels_in, middle, (1, 1), (step, step))
        self.conv2 = convolution(middle, middle, (3, 3), (1, 1))


class PseudoBottleneck(Bottleneck):
    """A bottleneck with one convolution over space and one over time, whose steps lie in its first convolution.

    Args:
        structure: Key of :data:`STRUCTURES`.
        channels_in: C.
        channels_out: C'.
        step: Between pixels.
    """

    def __init__(self, structure: str, channels_in: int, channels_out: int, step: int) -> None:
        middle, ones = channels_out // 4, (1, 1, 1)
        super().__init__(channels_in, middle, channels_out, (1, 3, 3), (1, step, step))
        self.conv1 = convolution(channels_in, middle, ones, (1, step, step))
        self.conv2 = convolution(middle, middle, (1, 3, 3), ones)
        self.conv_time = convolution(middle, middle, (3, 1, 1), ones)
        self.bn_time = nn.BatchNorm3d(middle)
        self.connect = STRUCTURES[structure]

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T, H / step, W / step)``, without the last ReLU."""
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.bn3(self.conv3(self.connect(self._space, self._time, x)))
        return out

    def _space(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn2(self.conv2(x)))
        return out

    def _time(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn_time(self.conv_time(x)))
        return out


class P3d(ResidualTrunk):
    """P3D trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 16, H / 32, W / 32)``, T rounded down.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 2048 times it.
        depth: Key of :data:`BLOCKS`.
        structures: Keys of :data:`STRUCTURES`, which the blocks take in turn.
    """

    temporal_stride = 16

    def __init__(self, channels_in: int, width: float, depth: int, structures: str) -> None:
        positive(width=width)
        if depth not in BLOCKS:
            raise ConfigError(f"depth of P3D must be one of {', '.join(map(str, BLOCKS))}, got {depth}.")
        if not structures:
            raise ConfigError(f"structures must be some of {', '.join(STRUCTURES)}, got none.")
        for letter in structures:
            find(STRUCTURES, letter, "structure of P3D")
        widths = [scaled(channels, width) for channels in (64, 256, 512, 1024, 2048)]
        stem = nn.Sequential(
            convolution(channels_in, widths[0], (1, 7, 7), (1, 2, 2)),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool3d((2, 3, 3), 2, (0, 1, 1)),
        )
        super().__init__(channels_in, stem, BLOCKS[depth], widths, partial(_block, itertools.cycle(structures)))
        self.pool = nn.MaxPool3d((2, 1, 1))

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return clip_length // self.temporal_stride

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels, and frames for one step."""
        super().check_input(channels, frames, height, width)
        if frames < LEAST:
            raise ConfigError(f"P3D takes clips of {LEAST} frames at least, which leave one step, got {frames}.")

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck of pictures half as wide inside: the 2D form of the papers' for SlowFast."""
        return reducing(channels_in, channels_out, axes=2)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        *stages, last = self.stages()
        x_NCTHW = self.run(self.stem, x_NCTHW)
        for stage in stages:
            x_NCTHW = self.pool(self.run(stage, x_NCTHW))
        n, _, t, _, _ = x_NCTHW.shape
        x_BFHW: Tensor = self.run(last, x_NCTHW.transpose(1, 2).flatten(0, 1))
        if self.mapper is not None:
            x_BFHW = self.run(self.mapper, x_BFHW)
        return x_BFHW.reshape(n, t, *x_BFHW.shape[1:]).transpose(1, 2)


def _block(structures: Iterator[str], stage: int, channels_in: int, channels_out: int, step: int) -> nn.Module:
    if stage == 3:
        return PictureBottleneck(channels_in, channels_out, step)
    return PseudoBottleneck(next(structures), channels_in, channels_out, step)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def p3d(channels_in: int = 3, width: float = 1.0, *, depth: int = 199, structures: str = "ABC") -> P3d:
    """P3D, published with 199 layers.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        depth: Layers: 63, 131 or 199.
        structures: How convolutions over space and time are connected, block after block: A one behind the other, B
            side by side, C both.
    """
    return P3d(channels_in, width, depth, structures)
