"""MFNet: a 3D residual network of sixteen fibers, which meet in a multiplexer before each block.

Source: "Multi-fiber networks for video recognition", ECCV 2018, arXiv:1807.11195, table 1 and figure 2. Every
convolution comes behind its batch norm and ReLU. The published program takes 16 frames of 224 pixels, since its last
pool is of that size; the convolutions take every length and size, and here a head pools.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from torch import Tensor, nn

from kinebert.training.models.arguments import positive
from kinebert.training.models.blocks import ResidualTrunk, Size, convolution
from kinebert.training.models.inputs import FLOW, MFNET
from kinebert.training.models.registry import register_backbone

FIBERS = 16
WIDTHS = (16, 96, 192, 384, 768)
"""Channels of the stem and of each stage."""
_ONE = (1, 1, 1)


class Activated(nn.Sequential):
    """A batch norm, a ReLU and a convolution."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: Size = _ONE, stride: Size = _ONE, groups: int = 1
    ) -> None:
        super().__init__(
            nn.BatchNorm3d(channels_in),
            nn.ReLU(inplace=True),
            convolution(channels_in, channels_out, kernel, stride, groups),
        )


class MultiFiberUnit(nn.Module):
    """Two convolutions in fibers behind a multiplexer, around a shortcut.

    Args:
        channels_in: C.
        channels_out: C'.
        stride: Of the first convolution, and of the shortcut.
        first: Whether the unit changes the shape: its second convolution is then of size 1 and over all channels, and
            its shortcut a convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: Size, first: bool) -> None:
        super().__init__()
        between = channels_out // 4
        self.multiplexer = nn.Sequential(Activated(channels_in, between), Activated(between, channels_in))
        self.conv1 = Activated(channels_in, channels_out, (3, 3, 3), stride, FIBERS)
        self.conv2: nn.Module = Activated(channels_out, channels_out, *(() if first else ((1, 3, 3), _ONE, FIBERS)))
        self.shortcut: nn.Module = Activated(channels_in, channels_out, _ONE, stride) if first else nn.Identity()

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', ... / stride)``."""
        mixed_NCTHW = x_NCTHW + self.multiplexer(x_NCTHW)
        out: Tensor = self.conv2(self.conv1(mixed_NCTHW)) + self.shortcut(x_NCTHW)
        return out


class MfNet(ResidualTrunk):
    """MFNet trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 2, H / 32, W / 32)``, rounded up.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside, which stay multiples of the fibers. F is 768 times it.
    """

    temporal_stride = 2

    def __init__(self, channels_in: int, width: float) -> None:
        positive(width=width)
        widths = [_in_fibers(round(channels * width)) for channels in WIDTHS]
        first = convolution(channels_in, widths[0], (3, 5, 5), (1, 2, 2))
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        stem = nn.Sequential(first, nn.BatchNorm3d(widths[0]), nn.ReLU(inplace=True), pool)
        super().__init__(channels_in, stem, (3, 4, 6, 3), widths, _unit)
        halving = MultiFiberUnit(widths[0], widths[1], (2, 1, 1), first=True)  # frames alone: no other stage does that
        self.layer1 = nn.Sequential(halving, *[*self.stages()[0].children()][1:])
        self.tail = _tail(widths[-1])
        _draw(self)

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a unit that changes the number of channels; the papers reduce no MFNet."""
        return MultiFiberUnit(channels_in, channels_out, _ONE, first=True)

    def reduce_append(self, width: int) -> None:
        """Append a unit (``mapper``) that leaves ``width`` features, with the norm and ReLU of a tail: FRAB."""
        super().reduce_append(width)
        assert self.mapper is not None
        self.mapper = nn.Sequential(self.mapper, _tail(width))

    def reduce_replace(self, width: int) -> None:
        """Replace the last unit by one that leaves ``width`` features, and the norm behind it: FRMB."""
        super().reduce_replace(width)
        self.tail = _tail(width)
        self.reduced += ("tail",)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        for part in (self.stem, *self.stages(), self.tail):
            x_NCTHW = self.run(part, x_NCTHW)
        return x_NCTHW if self.mapper is None else self.run(self.mapper, x_NCTHW)


def _in_fibers(channels: int) -> int:
    return max(FIBERS, FIBERS * round(channels / FIBERS))


def _unit(stage: int, channels_in: int, channels_out: int, step: int) -> nn.Module:
    del stage
    return MultiFiberUnit(channels_in, channels_out, (1, step, step), channels_in != channels_out or step > 1)


def _tail(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm3d(channels), nn.ReLU(inplace=True))


def _draw(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.xavier_uniform_(module.weight)  # as published


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def mfnet(channels_in: int = 3, width: float = 1.0) -> MfNet:
    """MFNet with sixteen fibers."""
    return MfNet(channels_in, width)
