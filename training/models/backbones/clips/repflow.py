"""Rep-Flow: a (2+1)D residual network with a layer in its middle that finds flow between features.

Source: "Representation flow for action recognition", CVPR 2019, arXiv:1810.01455, and its authors' program: a stem of
7x7x7 without padding, bottlenecks whose convolutions over time and over space lie behind each other, "same" padding,
and two batch norms in a row in every projected shortcut.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.backbones.clips.i3d import SameConv3d, SamePool3d
from kinebert.training.models.blocks import Bottleneck, ResidualTrunk, convolution, reducing
from kinebert.training.models.inputs import CENTERED, CENTERED_FLOW
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.rep_flow import RepresentationFlow

BLOCKS = (3, 4, 6, 3)
LEAST_FRAMES, LEAST_SIZE = 11, 15
"""What leaves two frames and two pixels where flow is found."""
REDUCED = 32
"""Channels in which flow is found."""


class SplitBottleneck(Bottleneck):
    """A bottleneck whose first convolution looks ``time`` frames far, and whose second one at pictures."""

    def __init__(self, channels_in: int, channels_out: int, step: int, time: int) -> None:
        middle = channels_out // 4
        super().__init__(channels_in, middle, channels_out, (1, 3, 3), (1, step, step))
        self.conv1 = convolution(channels_in, middle, (time, 1, 1), (1, 1, 1))
        self.conv2 = SameConv3d(middle, middle, (1, 3, 3), (1, step, step))
        if isinstance(self.downsample, nn.Sequential):
            self.downsample.append(nn.BatchNorm3d(channels_out))  # older published networks had it


class RepFlow(ResidualTrunk):
    """Rep-Flow trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T', H / 32, W / 32)``.

    T' is one less than T / 4, rounded as :meth:`num_steps` says: flow lies between frames.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 2048 times it.
        flow_iterations, flow_normalize: Options, as :func:`repflow_50` explains them.
    """

    temporal_stride = 4
    lr_scales: ClassVar[Mapping[str, float]] = {"flow": 0.01}

    def __init__(self, channels_in: int, width: float, *, flow_iterations: int, flow_normalize: str) -> None:
        positive(width=width)
        widths = [scaled(channels, width) for channels in (64, 256, 512, 1024, 2048)]
        first = nn.Conv3d(channels_in, widths[0], 7, 2, bias=False)
        norm = nn.BatchNorm3d(widths[0], eps=1e-3, momentum=0.01)
        stem = nn.Sequential(first, norm, nn.ReLU(inplace=True), SamePool3d((3, 3, 3), (2, 2, 2)))
        super().__init__(channels_in, stem, BLOCKS, widths, _alternating(BLOCKS))
        self.flow = RepresentationFlow(widths[2], scaled(REDUCED, width), flow_iterations, flow_normalize)

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return -(-((clip_length - 7) // 2 + 1) // 2) - 1

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels, and enough frames and pixels for flow."""
        if channels != self.channels_in or frames < LEAST_FRAMES or min(height, width) < LEAST_SIZE:
            raise ConfigError(
                f"Rep-Flow takes clips of {self.channels_in} channels, of {LEAST_FRAMES} frames and {LEAST_SIZE} "
                f"pixels at least, got {channels} channels, {frames} frames of {width}x{height}."
            )

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck half as wide inside: the papers' for SlowFast."""
        return reducing(channels_in, channels_out)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        stages = self.stages()
        for part in (self.stem, *stages[:2], self.flow, *stages[2:]):
            x_NCTHW = self.run(part, x_NCTHW)
        return x_NCTHW if self.mapper is None else self.run(self.mapper, x_NCTHW)


def _alternating(blocks: Sequence[int]) -> Callable[[int, int, int, int], nn.Module]:
    """Return what makes one block after the other: in a stage they look at 3, 3, 1, 3, 1 frames and so on."""
    times = iter([1 if i and i % 2 == 0 else 3 for count in blocks for i in range(count)])
    return lambda _, channels_in, channels_out, step: SplitBottleneck(channels_in, channels_out, step, next(times))


@register_backbone(rgb=CENTERED, flow=CENTERED_FLOW, pose=CENTERED)
def repflow_50(
    channels_in: int = 3, width: float = 1.0, *, flow_iterations: int = 10, flow_normalize: str = "clip"
) -> RepFlow:
    """Rep-Flow with 50 layers. Its flow layer learns at a hundredth of the rate of the others, unless a recipe says so.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        flow_iterations: Steps of the flow layer's solver, 1 to 100.
        flow_normalize: What the flow layer scales by its least and largest value: each ``clip``, so that clips of a
            batch do not meet, or the whole ``batch``, as published. Single clips give the same.
    """
    return RepFlow(channels_in, width, flow_iterations=flow_iterations, flow_normalize=flow_normalize)
