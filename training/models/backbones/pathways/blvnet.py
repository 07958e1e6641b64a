"""bLVNet-TAM: of each pair of frames one is seen small by a wide network and one at full size by a narrow one.

Source: "More is less: learning efficient video representations by big-little network and depthwise temporal
aggregation", NeurIPS 2019, arXiv:1912.00869, section 3, and its authors' program. Before each of the first stages, and
in each block of the last one, TAM connects frames.

Axes: N clips, T frames, C channels, H height, W width, F features; B = N x T frames, P = B / 2 pairs of them.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled, within
from kinebert.training.models.blocks import Bottleneck, ResidualTrunk, convolution, draw_convolutions, reducing
from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.temporal.steps import as_clips
from kinebert.training.models.temporal.tam import Tam

STEPS = (2, 2, 1, 2)
"""Steps between pixels of the four stages."""


class PooledBottleneck(Bottleneck):
    """A bottleneck whose shortcut averages where it makes steps.

    Args:
        channels_in: C.
        channels_out: C'.
        step: Between pixels.
        opened: Whether the last ReLU is left out, for a sum that comes behind.
    """

    def __init__(self, channels_in: int, channels_out: int, step: int, opened: bool = False) -> None:
        super().__init__(channels_in, max(1, channels_out // 4), channels_out, (3, 3), (step, step))
        shortcut: list[nn.Module] = [nn.AvgPool2d(3, 2, 1)] if step > 1 else []
        if channels_in != channels_out:
            shortcut += [convolution(channels_in, channels_out, (1, 1), (1, 1)), nn.BatchNorm2d(channels_out)]
        self.downsample = nn.Sequential(*shortcut) if shortcut else None
        self.opened = opened
        nn.init.zeros_(self.bn3.weight)  # as published

    def forward(self, x: Tensor, *context: object) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H / step, W / step)``."""
        if not self.opened:
            return super().forward(x, *context)
        return self.residual(x) + (x if self.downsample is None else self.downsample(x))


def _row(channels_in: int, channels_out: int, count: int, step: int, opened: bool = False) -> nn.Sequential:
    first = PooledBottleneck(channels_in, channels_out, step)
    return nn.Sequential(
        first, *(PooledBottleneck(channels_out, channels_out, 1, opened and i == count - 1) for i in range(1, count))
    )


def _normed(channels_in: int, channels_out: int, kernel: int, step: int) -> tuple[nn.Module, nn.Module]:
    conv = convolution(channels_in, channels_out, (kernel, kernel), (step, step))
    return conv, nn.BatchNorm2d(channels_out)


class BigLittle(nn.Module):
    """TAM over all frames; then of each pair the first frame through the little part and the second through the big.

    Args:
        tam: What connects the frames.
        big: Called with ``(P, C, H, W)``.
        little: Called with ``(P, C, H, W)``; what it leaves has the channels of ``big``.
        merged: Called with the sum of both.
    """

    def __init__(self, tam: Tam, big: nn.Module, little: nn.Module, merged: nn.Module) -> None:
        super().__init__()
        self.tam, self.big, self.little, self.merged = tam, big, little, merged

    def forward(self, x_BCHW: Tensor, clips: int) -> Tensor:
        """Map frames ``(B, C, H, W)`` to pairs of them ``(P, C', H', W')``."""
        x_NTCHW = as_clips(self.tam(x_BCHW, clips), clips)
        little_PCHW = self.little(x_NTCHW[:, ::2].flatten(0, 1))
        big_PCHW = functional.interpolate(self.big(x_NTCHW[:, 1::2].flatten(0, 1)), little_PCHW.shape[2:])
        out: Tensor = self.merged(functional.relu(big_PCHW + little_PCHW))
        return out


class Pairs(BigLittle):
    """The same of pairs ``(P, C, H, W)``, both of whose frames are what is known of the pair."""

    def forward(self, x_PCHW: Tensor, clips: int) -> Tensor:
        """Map ``(P, C, H, W)`` to ``(P, C', H', W')``."""
        return super().forward(x_PCHW[:, None].expand(-1, 2, -1, -1, -1).flatten(0, 1), clips)


class BlVnet(ResidualTrunk):
    """bLVNet-TAM trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 2, H / 32, W / 32)``, for even T.

    Args:
        blocks: Residual blocks of each of the four stages.
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 2048 times it.
        alpha, beta: Options, as :func:`blvnet_tam_50` explains them.
    """

    temporal_stride = 2

    def __init__(self, blocks: Sequence[int], channels_in: int, width: float, *, alpha: int, beta: int) -> None:
        positive(width=width)
        within(1, 16, alpha=alpha, beta=beta)
        widths = [scaled(channels, width) for channels in (64, 256, 512, 1024, 2048)]
        first = nn.Sequential(*_normed(channels_in, widths[0], 7, 2), nn.ReLU(inplace=True))
        super().__init__(channels_in, first, (1, 1, 1, blocks[3]), widths, partial(_block, blocks, alpha, beta))
        self.entry = _entry(widths[0], alpha)
        draw_convolutions(self.entry)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels, and frames in pairs."""
        super().check_input(channels, frames, height, width)
        if frames % 2:
            raise ConfigError(f"bLVNet-TAM takes its frames in pairs, so an even number of them, got {frames}.")

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck half as wide inside: the 2D form of the papers' for SlowFast."""
        block = reducing(channels_in, channels_out, axes=2)
        block.before = Tam(channels_in)
        return block

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T / 2, H', W')``."""
        n = x_NCTHW.shape[0]
        x: Tensor = self.run(self.stem, x_NCTHW.transpose(1, 2).flatten(0, 1))
        for part in (self.entry, *self.stages()):
            x = self.run(part, x, n)
        if self.mapper is not None:
            x = self.run(self.mapper, x, n)
        return as_clips(x, n).transpose(1, 2)


def _entry(channels: int, alpha: int) -> BigLittle:
    narrow = max(1, channels // alpha)
    little = nn.Sequential(
        *_normed(channels, narrow, 3, 1),
        nn.ReLU(inplace=True),
        *_normed(narrow, narrow, 3, 2),
        nn.ReLU(inplace=True),
        *_normed(narrow, channels, 1, 1),
    )
    merged = nn.Sequential(*_normed(channels, channels, 1, 1), nn.ReLU(inplace=True))
    return BigLittle(Tam(channels), nn.Sequential(*_normed(channels, channels, 3, 2)), little, merged)


def _block(
    blocks: Sequence[int], alpha: int, beta: int, stage: int, channels_in: int, channels_out: int, step: int
) -> nn.Module:
    if stage == 3:
        block = PooledBottleneck(channels_in, channels_out, step)
        if block.downsample is None:
            block.inside = Tam(channels_in)
        else:  # its shortcut sees what TAM leaves, as published
            block.before = Tam(channels_in)
        return block
    narrow = max(4, channels_out // alpha)
    little = _row(channels_in, narrow, max(1, blocks[stage] // beta - 1), 1)
    return Pairs(
        Tam(channels_in),
        _row(channels_in, channels_out, blocks[stage] - 1, 2, opened=True),
        nn.Sequential(little, *_normed(narrow, channels_out, 1, 1)),
        PooledBottleneck(channels_out, channels_out, STEPS[stage]),
    )


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def blvnet_tam_50(channels_in: int = 3, width: float = 1.0, *, alpha: int = 2, beta: int = 4) -> BlVnet:
    """bLVNet-TAM with 50 layers. 16 frames are the published 8x2.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        alpha: How many times narrower the little parts are, 1 to 16.
        beta: How many times fewer blocks the little parts have, 1 to 16.
    """
    return BlVnet((3, 4, 6, 3), channels_in, width, alpha=alpha, beta=beta)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def blvnet_tam_101(channels_in: int = 3, width: float = 1.0, *, alpha: int = 2, beta: int = 4) -> BlVnet:
    """bLVNet-TAM with 101 layers; its options are those of :func:`blvnet_tam_50`."""
    return BlVnet((4, 8, 18, 3), channels_in, width, alpha=alpha, beta=beta)
