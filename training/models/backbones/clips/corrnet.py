"""CorrNet: a residual network of factored convolutions that compares each frame with the one before.

Source: "Video modeling with correlation networks", CVPR 2020, arXiv:1906.03349: a learnable correlation of 7 x 7 places
two pixels apart, on a quarter of the channels, behind the second to fourth stage of an R(2+1)D network of bottlenecks
(two of them in the fourth stage of 101 layers). No weights are published. What was not at hand of its text is chosen so
that CorrNet-50 has the paper's 115 G multiply-adds for 32 frames of 224 pixels: 32 channels in the stem, and groups of
32 channels, whose products are averaged. CorrNet-101 then has 187 G, and the paper says 224.

Axes: N batch, C channels, T frames, H height, W width, F features, G groups of channels, K places along an axis.
"""

import itertools
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Bottleneck, ResidualTrunk, convolution, draw_convolutions, stem
from kinebert.training.models.inputs import FLOW, KINETICS
from kinebert.training.models.registry import register_backbone

PLACES, APART = 7, 2
"""Places along an axis that a pixel is compared with, and pixels from one to the next."""
GROUP = 32
"""Channels whose products are averaged."""
STEPS = (1, 1, 2, 2)
"""Steps in time of each stage's first bottleneck."""


class Correlation(nn.Module):
    """Each pixel times those around its place in the frame before, by weights of its own for every frame and place.

    The first frame is compared with itself.

    Args:
        channels: C, a multiple of ``group``.
        frames: T of every clip.
        group: Channels whose products are averaged. G is C over it.
    """

    def __init__(self, channels: int, frames: int, group: int) -> None:
        super().__init__()
        self.group, self.num_outputs = group, channels // group * PLACES**2
        self.weight = nn.Parameter(torch.empty(channels, frames, PLACES, PLACES))
        nn.init.normal_(self.weight, mean=1.0, std=0.1)  # near the correlation that is not learned

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, G x K x K, T, H, W)``, all places of the first group first."""
        edge = PLACES // 2 * APART
        height, width = x_NCTHW.shape[3:]
        before_NCTHW = torch.cat([x_NCTHW[:, :, :1], x_NCTHW[:, :, :-1]], dim=2)
        before_NCTHW = functional.pad(before_NCTHW, (edge,) * 4)
        compared = []
        for i, j in itertools.product(range(PLACES), repeat=2):
            y, x = i * APART, j * APART
            products_NCTHW = x_NCTHW * before_NCTHW[..., y : y + height, x : x + width]
            products_NCTHW = products_NCTHW * self.weight[:, :, i, j, None, None]
            grouped = products_NCTHW.reshape(len(x_NCTHW), -1, self.group, *products_NCTHW.shape[2:])
            compared.append(grouped.mean(dim=2))
        return torch.stack(compared, dim=2).flatten(1, 2)


class CorrelationBlock(nn.Module):
    """What a correlation finds, added to what it looked at: the paper's correlation-sum."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        inner, one = max(1, channels // 4), (1, 1, 1)
        self.reduce, self.norm1 = convolution(channels, inner, one, one), nn.BatchNorm3d(inner)
        self.correlation = Correlation(inner, frames, GROUP if inner % GROUP == 0 else inner)
        self.expand = convolution(self.correlation.num_outputs, channels, one, one)
        self.norm2 = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C, T, H, W)``."""
        found_NCTHW = self.correlation(self.relu(self.norm1(self.reduce(x_NCTHW))))
        out_NCTHW: Tensor = self.relu(x_NCTHW + self.norm2(self.expand(found_NCTHW)))
        return out_NCTHW


def _over_time(channels: int, time: int, step: int, _: int) -> nn.Module:
    conv = convolution(channels, channels, (time, 1, 1), (step, 1, 1))
    return nn.Sequential(nn.ReLU(inplace=True), conv, nn.BatchNorm3d(channels))


class CorrNet(ResidualTrunk):
    """CorrNet trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 4, H / 32, W / 32)``, rounded up.

    Args:
        blocks: Bottlenecks of each of the four stages.
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 2048 times it.
        frames: T of every clip: each has filters of its own.
        behind: Bottlenecks, by stage and place from 0, behind which a correlation stands.
    """

    temporal_stride = 4

    def __init__(
        self,
        blocks: Sequence[int],
        channels_in: int,
        width: float,
        frames: int,
        behind: Collection[tuple[int, int]],
    ) -> None:
        positive(width=width, frames=frames)
        widths = [scaled(channels, width) for channels in (32, 256, 512, 1024, 2048)]
        places = iter([i for count in blocks for i in range(count)])  # in the order in which bottlenecks are made

        def bottleneck(stage: int, before: int, after: int, _: int) -> nn.Module:
            stride = (STEPS[stage], 2, 2) if next(places) == 0 else (1, 1, 1)
            return Bottleneck(before, after // 4, after, (3, 3, 3), stride, over_time=_over_time)

        super().__init__(channels_in, stem(channels_in, widths[0], (1, 7, 7), None), blocks, widths, bottleneck)
        self.frames = steps = frames
        for stage, layer in enumerate(self.stages()):
            steps = -(-steps // STEPS[stage])
            for i, block in enumerate(layer.children()):
                if (stage, i) in behind:
                    assert isinstance(block, Bottleneck)
                    block.behind = CorrelationBlock(widths[stage + 1], steps)
                    draw_convolutions(block.behind)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels and frames."""
        super().check_input(channels, frames, height, width)
        if frames != self.frames:
            raise ConfigError(
                f"this CorrNet has filters for clips of {self.frames} frames, got {frames}: set its option frames to "
                "the clip_length that you want."
            )

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck like those of the trunk, half as wide inside."""
        return Bottleneck(
            channels_in, max(1, channels_out // 2), channels_out, (3, 3, 3), (1, 1, 1), over_time=_over_time
        )


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def corrnet_50(channels_in: int = 3, width: float = 1.0, *, frames: int = 32) -> CorrNet:
    """CorrNet with 50 layers.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        frames: Images in every clip.
    """
    return CorrNet((3, 4, 6, 3), channels_in, width, frames, ((0, 2), (1, 3), (2, 5)))


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def corrnet_101(channels_in: int = 3, width: float = 1.0, *, frames: int = 32) -> CorrNet:
    """CorrNet with 101 layers, with a fourth correlation in the middle of the longest stage. Arguments as of 50."""
    return CorrNet((3, 4, 23, 3), channels_in, width, frames, ((0, 2), (1, 3), (2, 11), (2, 22)))
