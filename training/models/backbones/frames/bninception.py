"""BN-Inception: blocks of four branches side by side, each convolution with a batch norm, run on each frame.

Source: "Batch normalization: accelerating deep network training by reducing internal covariate shift", ICML 2015,
arXiv:1502.03167, figure 5, as Caffe's weights of it are: convolutions have biases, pools round up. For videos:
"Temporal segment networks", ECCV 2016, arXiv:1608.00859; with a shift over time in front of each block: "TSM: temporal
shift module for efficient video understanding", ICCV 2019, arXiv:1811.08383.

Axes: N batch, C channels, T frames, H height, W width, F features; B = N x T.
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import NORMS, Connected, Size, draw_convolutions, factored
from kinebert.training.models.inputs import CAFFE, CAFFE_FLOW
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.temporal.registry import Place, Temporal, takes_temporal


class Branches(NamedTuple):
    """Channels of a block's convolutions; a block without ``point`` and ``pooled`` halves the picture."""

    point: int
    first_reduce: int
    first: int
    second_reduce: int
    second: int
    pooled: int

    @property
    def halves(self) -> bool:
        """Whether the block makes steps of two pixels."""
        return self.point == 0

    def total(self, channels_in: int) -> int:
        """Return the channels that leave the block; one that halves the picture hands on the maximum of its input."""
        return self.point + self.first + self.second + (channels_in if self.halves else self.pooled)

    def scaled(self, width: float) -> "Branches":
        """Return every number of channels times ``width``."""
        return Branches(*(channels and scaled(channels, width) for channels in self))


BLOCKS = {
    "3a": Branches(64, 64, 64, 64, 96, 32),
    "3b": Branches(64, 64, 96, 64, 96, 64),
    "3c": Branches(0, 128, 160, 64, 96, 0),
    "4a": Branches(224, 64, 96, 96, 128, 128),
    "4b": Branches(192, 96, 128, 96, 128, 128),
    "4c": Branches(160, 128, 160, 128, 160, 128),
    "4d": Branches(96, 128, 192, 160, 192, 128),
    "4e": Branches(0, 128, 192, 192, 256, 0),
    "5a": Branches(352, 192, 320, 160, 224, 128),
    "5b": Branches(352, 192, 320, 192, 224, 128),
}
LAST = "5b"
"""Its pool takes the maximum; those of the others average."""


def reduced(width: int) -> Branches:
    """Return the branches of a block that leaves ``width`` features, in about the proportions of the last one.

    Raises:
        ConfigError: If ``width`` is not a positive multiple of 8.
    """
    if width < 8 or width % 8:
        raise ConfigError(f"BN-Inception's features are reduced to a positive multiple of 8, got {width}.")
    return Branches(*(width * eighths // 8 for eighths in (3, 2, 2, 2, 2, 1)))


class Unit(nn.Sequential):
    """A convolution with a bias, a batch norm, perhaps what a factored one does over time, a ReLU."""

    def __init__(self, channels_in: int, channels_out: int, size: int, temporal: Temporal, stride: Size) -> None:
        kernel, over_time = temporal.kernel(size), temporal.over_time() if size > 1 else None
        conv, time = factored(channels_in, channels_out, kernel, stride, 1, over_time, bias=True)
        layers = {"conv": conv, "norm": NORMS[len(kernel)](channels_out), "time": time, "relu": nn.ReLU(inplace=True)}
        super().__init__(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


class Mixed(Connected):
    """An inception block: a point, a 3x3 filter, two of them, and a pool, side by side in channels.

    Args:
        channels_in: C.
        branches: Channels of its convolutions.
        temporal: Whether they are of pictures or of clips.
        maximum: Whether the pool takes the maximum.
    """

    inside_in_front = True

    def __init__(self, channels_in: int, branches: Branches, temporal: Temporal, maximum: bool = False) -> None:
        super().__init__()
        self.channels_in, self.halves = channels_in, branches.halves
        one, step = temporal.stride(1), temporal.stride(2, pools=True) if branches.halves else temporal.stride(1)
        self.point = Unit(channels_in, branches.point, 1, temporal, one) if branches.point else None
        self.first_reduce = Unit(channels_in, branches.first_reduce, 1, temporal, one)
        self.first = Unit(branches.first_reduce, branches.first, 3, temporal, step)
        self.second_reduce = Unit(channels_in, branches.second_reduce, 1, temporal, one)
        self.second_middle = Unit(branches.second_reduce, branches.second, 3, temporal, one)
        self.second = Unit(branches.second, branches.second, 3, temporal, step)
        self.pool = pool(step) if branches.halves else smooth(maximum)
        self.pooled = Unit(channels_in, branches.pooled, 1, temporal, one) if branches.pooled else None

    def block(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` or ``(N, C, T, H, W)`` to the same with C' channels, perhaps half as high and wide."""
        pooled = self.pool(x)
        branches = [] if self.point is None else [self.point(x)]
        branches.append(self.first(self.first_reduce(x)))
        branches.append(self.second(self.second_middle(self.second_reduce(x))))
        branches.append(pooled if self.pooled is None else self.pooled(pooled))
        return torch.cat(branches, dim=1)


class Second(Connected):
    """The second stage: a point and a 3x3 filter, and a maximum that halves the picture."""

    inside_in_front = True

    def __init__(self, channels_in: int, channels_out: int, temporal: Temporal) -> None:
        super().__init__()
        one = temporal.stride(1)
        self.reduce = Unit(channels_in, channels_in, 1, temporal, one)
        self.filter = Unit(channels_in, channels_out, 3, temporal, one)
        self.pool = pool(temporal.stride(2, pools=True))

    def block(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` or ``(N, C, T, H, W)`` to the same with C' channels, half as high and wide."""
        out: Tensor = self.pool(self.filter(self.reduce(x)))
        return out


class FramePool(nn.Module):
    """A pool of pictures, for frames in a batch and for clips.

    With ``even``, height and width are made even by a row and a column that are never the maximum, so that a pool which
    halves them rounds up as the strided convolutions beside it do. The published network lacks that, and takes
    pictures whose sides are multiples of 32.
    """

    def __init__(self, pool: nn.Module, even: bool = False) -> None:
        super().__init__()
        self.pool, self.even = pool, even

    def forward(self, x: Tensor) -> Tensor:
        """Pool each frame of ``(B, C, H, W)`` or ``(N, C, T, H, W)``."""
        odd_height, odd_width = (size % 2 for size in x.shape[-2:])
        if self.even and (odd_height or odd_width):
            x = functional.pad(x, (0, odd_width, 0, odd_height), value=-torch.inf)
        out: Tensor = self.pool(x.flatten(1, -3)).unflatten(1, x.shape[1:-2])
        return out


def pool(stride: Size) -> nn.Module:
    """Return the maximum of 3x3 pixels, every second of them, and over three frames where time is halved as well."""
    frames = FramePool(nn.MaxPool2d(3, stride[-2:], ceil_mode=True), even=True)
    if max(stride[:-2], default=1) == 1:
        return frames
    return nn.Sequential(frames, nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0)))


def smooth(maximum: bool) -> nn.Module:
    """Return the mean or maximum of 3x3 pixels around each, of one frame; the border counts as zeros in the mean."""
    return FramePool(nn.MaxPool2d(3, 1, 1) if maximum else nn.AvgPool2d(3, 1, 1))


class BnInception(Backbone):
    """BN-Inception without classifier, frame by frame: ``(N, C, T, H, W)`` to ``(N, F, T', H / 32, W / 32)``.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 1024 times it.
        temporal: What connects frames: in front of each block but the first convolution, or in its convolutions.
    """

    def __init__(self, channels_in: int, width: float, temporal: Temporal) -> None:
        super().__init__()
        positive(width=width)
        self.channels_in, self.temporal = channels_in, temporal
        self.temporal_stride = 8 if temporal.pooling else 1
        self.time_pool = temporal.pool()
        narrow, channels = scaled(64, width), scaled(192, width)
        two = temporal.stride(2)
        first = Unit(channels_in, narrow, 7, temporal, two)
        self.stem = nn.Sequential(OrderedDict(unit=first, pool=pool(two)))
        self.second = Second(narrow, channels, temporal)
        temporal.connect(self.second, narrow, channels, Place(name="second", stage=1, index=0))
        self.mixed = nn.ModuleDict()
        stage, index = 2, 0
        self._places: dict[str, Place] = {}
        for name, branches in BLOCKS.items():
            stage, index = (stage + 1, 0) if branches.halves else (stage, index)
            self._places[name] = Place(name=f"mixed.{name}", stage=stage, index=index, longest=5)
            channels, index = self._put(name, channels, branches.scaled(width)), index + 1
        self.num_features = channels
        self.mapper: Mixed | None = None
        draw_convolutions(self)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels; every length and size will do."""
        if channels != self.channels_in or min(frames, height, width) < 1:
            raise ConfigError(
                f"BN-Inception takes clips of {self.channels_in} channels and of any length and size above 0, got "
                f"{channels} channels, {frames} frames of {width}x{height}."
            )

    def _put(self, name: str, channels_in: int, branches: Branches) -> int:
        """Make the block of that name, and return the channels that it leaves."""
        block = Mixed(channels_in, branches, self.temporal, maximum=name == LAST)
        self.temporal.connect(block, channels_in, branches.total(channels_in), self._places[name])
        self.mixed[name] = block
        return branches.total(channels_in)

    def reduce_append(self, width: int) -> None:
        """Append a block that leaves ``width`` features: FRAB."""
        self.mapper = Mixed(self.num_features, reduced(width), self.temporal, maximum=True)
        self.temporal.connect(self.mapper, self.num_features, width, Place(name="mapper", stage=5, index=0))
        draw_convolutions(self.mapper, "fan_in")
        self.num_features, self.reduced = width, ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Put a block that leaves ``width`` features in place of the last one: FRMB. Its trained weights are lost."""
        last = self.mixed[LAST]
        assert isinstance(last, Mixed)
        self.num_features, self.reduced = self._put(LAST, last.channels_in, reduced(width)), (f"mixed.{LAST}",)
        draw_convolutions(self.mixed[LAST], "fan_in")

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        clips = x_NCTHW.shape[0]
        x: Tensor = self.run(self.stem, self.temporal.enter(x_NCTHW))
        x = self.run(self.second, x, clips)
        if self.time_pool is not None:
            x = self.time_pool(x, clips)
        for block in self.mixed.values():
            assert isinstance(block, Mixed)
            if self.time_pool is not None and block.halves:
                x = self.time_pool(x, clips)
            x = self.run(block, x, clips)
        if self.mapper is not None:
            x = self.run(self.mapper, x, clips)
        return self.temporal.leave(x, clips)


@register_backbone(rgb=CAFFE, flow=CAFFE_FLOW, pose=CAFFE)
@takes_temporal
def bninception(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal) -> BnInception:
    """BN-Inception, run per frame; it takes blue first, as Caffe's weights do."""
    return BnInception(channels_in, width, temporal)
