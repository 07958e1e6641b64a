"""MobileNetV2: inverted residual blocks, which filter each of many channels by itself between two narrow ends.

Source: "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, arXiv:1801.04381, table 2. With a shift
over time in the blocks that have a shortcut: "TSM: temporal shift module for efficient video understanding", ICCV 2019,
arXiv:1811.08383.

Axes: N batch, C channels, T frames, H height, W width, F features; B = N x T.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import (
    NORMS,
    OverTime,
    Residual,
    Size,
    Stage,
    convolution,
    draw_convolutions,
    factored,
)
from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.temporal.registry import Place, Temporal, takes_temporal


class Row(NamedTuple):
    """A row of the paper's table: blocks of one width, the first of which makes the step between pixels."""

    expansion: int
    channels: int
    blocks: int
    step: int


TABLE = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)
STEM, LAST = 32, 1280
"""Channels in front of the table's blocks and behind them."""


def unit(
    channels_in: int,
    channels_out: int,
    kernel: Size,
    stride: Size,
    groups: int = 1,
    over_time: OverTime | None = None,
) -> nn.Sequential:
    """Return a convolution, factored if ``over_time`` is given, with a batch norm and a ReLU that ends at 6."""
    conv, time = factored(channels_in, channels_out, kernel, stride, groups, over_time)
    layers = {"conv": conv, "norm": NORMS[len(kernel)](channels_out), "time": time, "relu": nn.ReLU6(inplace=True)}
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


class InvertedResidual(Residual):
    """More channels, a filter for each of them, and few channels again, without a ReLU at the end.

    Args:
        channels_in: C.
        channels_out: C'. The input is added where it has the same shape.
        expansion: Channels inside over C; 1 for none more.
        kernel: Of the filters.
        stride: Of the filters.
        over_time: What factored filters do over time.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        expansion: int,
        kernel: Size,
        stride: Size,
        over_time: OverTime | None,
    ) -> None:
        super().__init__(None)
        self.relu = nn.Identity()
        self.channels_in, self.channels_out = channels_in, channels_out
        self.has_shortcut = channels_in == channels_out and max(stride) == 1
        inside, one = channels_in * expansion, (1,) * len(kernel)
        self.expand = unit(channels_in, inside, one, one) if expansion > 1 else nn.Identity()
        self.filter = unit(inside, inside, kernel, stride, inside, over_time)
        project = convolution(inside, channels_out, one, one)
        self.project = nn.Sequential(OrderedDict(conv=project, norm=NORMS[len(kernel)](channels_out)))

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ... / stride)``."""
        out: Tensor = self.project(self.filter(self.expand(x)))
        return out

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ... / stride)``; ``context`` is for what connects frames."""
        if self.has_shortcut:
            return super().forward(x, *context)
        out = self.residual(x)
        return out if self.behind is None else self.behind(out, *context)


class MobileNet(Backbone):
    """MobileNetV2 without classifier, frame by frame: ``(N, C, T, H, W)`` to ``(N, F, T', H / 32, W / 32)``.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 1280 times it.
        temporal: What connects frames: in blocks that have a shortcut, or in the filters of all.
    """

    def __init__(self, channels_in: int, width: float, temporal: Temporal) -> None:
        super().__init__()
        positive(width=width)
        self.channels_in, self.temporal = channels_in, temporal
        self.temporal_stride = 8 if temporal.pooling else 1
        self.time_pool = temporal.pool()
        channels = scaled(STEM, width)
        kernel, over_time = temporal.kernel(3), temporal.over_time()
        self.stem = unit(channels_in, channels, kernel, temporal.stride(2), over_time=over_time)
        blocks: list[list[InvertedResidual]] = [[]]  # of each stage, which begins where the picture is halved
        for row in TABLE:
            for step in (row.step, *(1,) * (row.blocks - 1)):
                blocks += [[]] * (step > 1)
                out, stride = scaled(row.channels, width), temporal.stride(step, pools=len(blocks) > 2 and step > 1)
                block = InvertedResidual(channels, out, row.expansion, kernel, stride, over_time)
                blocks[-1] = [*blocks[-1], block]
                channels = out
        self.stages = nn.ModuleList(Stage(*stage) for stage in blocks)
        self._connect(max(map(len, blocks)))
        self.num_features = scaled(LAST, width)
        self.last = unit(channels, self.num_features, temporal.kernel(1), temporal.stride(1))
        self.last_channels = channels
        self.mapper: nn.Module | None = None
        draw_convolutions(self)

    def _connect(self, longest: int) -> None:
        for i, stage in enumerate(self.stages):
            for j, block in enumerate(stage.children()):
                assert isinstance(block, InvertedResidual)
                place = Place(name=f"stages.{i}.{j}", stage=i, index=j, longest=longest)
                if block.has_shortcut:
                    self.temporal.connect(block, block.channels_in, block.channels_out, place)
                else:
                    block.behind = self.temporal.at("behind", block.channels_out, place)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels; every length and size will do."""
        if channels != self.channels_in or min(frames, height, width) < 1:
            raise ConfigError(
                f"MobileNet takes clips of {self.channels_in} channels and of any length and size above 0, got "
                f"{channels} channels, {frames} frames of {width}x{height}."
            )

    def reduce_append(self, width: int) -> None:
        """Append a convolution of size 1 that leaves ``width`` features: FRAB."""
        self.mapper = self._narrow(self.num_features, width)
        self.num_features, self.reduced = width, ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Replace the last convolution by one that leaves ``width`` features: FRMB. Its trained weights are lost."""
        self.last = self._narrow(self.last_channels, width)
        self.num_features, self.reduced = width, ("last",)

    def _narrow(self, channels: int, width: int) -> nn.Sequential:
        positive(width=width)
        made = unit(channels, width, self.temporal.kernel(1), self.temporal.stride(1))
        draw_convolutions(made, "fan_in")
        return made

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        clips = x_NCTHW.shape[0]
        x: Tensor = self.run(self.stem, self.temporal.enter(x_NCTHW))
        for i, stage in enumerate(self.stages):
            if i >= 2 and self.time_pool is not None:
                x = self.time_pool(x, clips)
            x = self.run(stage, x, clips)
        for part in (self.last, self.mapper):
            x = x if part is None else self.run(part, x)
        return self.temporal.leave(x, clips)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
@takes_temporal
def mobilenetv2(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal) -> MobileNet:
    """MobileNetV2, run per frame."""
    return MobileNet(channels_in, width, temporal)
