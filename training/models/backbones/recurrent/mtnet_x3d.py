"""MTNet as its paper describes it: X3D of blocks of multi-temporal convolutions.

Source: "Multi-temporal convolutions for human action recognition in videos", IJCNN 2021, arXiv:2011.03949, section III
and tables I and VI. No program and no weights of this network are published (:mod:`.mtnet` is what the authors
published). Where the text leaves a choice, that is taken with which the tables fit: ``docs/mtnet.md`` lists them.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

import math

from torch import Tensor, nn

from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.backbones.clips.x3d import BLOCKS, BOTTLENECK, CHANNELS, ExpandedTrunk, first_layers
from kinebert.training.models.blocks import draw_convolutions, shortcut
from kinebert.training.models.inputs import SLOWFAST, SLOWFAST_FLOW
from kinebert.training.models.operations.frame_selection import select_frames
from kinebert.training.models.operations.mtconv import MTBlock, MTConv
from kinebert.training.models.registry import register_backbone

WIDTH_FACTOR = 2.0
"""Of X3D-S, M and L."""


class FrameSelection(nn.Module):
    """Half of the frames, those least like their neighbours."""

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C, T // 2, H, W)``."""
        return select_frames(x_NCTHW)


class MTX3d(ExpandedTrunk):
    """MTNet without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 16, H / 32, W / 32)``.

    T / 2 is rounded down (a single frame stays), everything else up.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 432 times it.
        depth_factor: X3D's, by which the numbers of blocks follow from :data:`..x3d.BLOCKS`.
        ratio: Part of the channels in the local branches; 1 leaves the prolonged ones out.
        cell: Recurrent cells of the third branches: ``rnn``, ``lstm``, ``peephole_lstm`` or ``gru``; ``none`` leaves
            these branches out.
        layers: Recurrent layers upon each other.
    """

    temporal_stride = 16

    def __init__(
        self, channels_in: int, width: float, depth_factor: float, ratio: float, cell: str, layers: int
    ) -> None:
        positive(width=width, depth_factor=depth_factor)
        published = [int(channels * WIDTH_FACTOR + 0.5) for channels in CHANNELS]
        widths = [scaled(channels, width) for channels in published]
        blocks = [math.ceil(depth_factor * count) for count in BLOCKS]
        self.ratio, self.cell, self.layers = ratio, cell, layers
        places = iter([i for count in blocks for i in range(count)])  # in the order in which blocks are made

        def block(stage: int, before: int, after: int, _: int) -> nn.Module:
            first = next(places) == 0
            return self._block(before, after, (2 if first and stage > 0 else 1, *(2 if first else 1,) * 2))

        stem = nn.Sequential(*first_layers(channels_in, widths[0]), FrameSelection())
        super().__init__(channels_in, stem, blocks, widths, block)
        self.num_features = scaled(int(BOTTLENECK * published[-1]), width)
        self.last = MTConv(widths[-1], self.num_features, (3, 3, 3), (1, 1, 1), ratio)
        draw_convolutions(self.last)

    def _block(self, channels_in: int, channels_out: int, stride: tuple[int, ...]) -> MTBlock:
        middle = int(BOTTLENECK * channels_out)
        convs: list[nn.Module] = [
            MTConv(channels_in, middle, (1, 1, 1), (1, 1, 1), self.ratio),
            MTConv(middle, channels_out, (3, 3, 3), stride, self.ratio),
        ]
        beside = shortcut("B", channels_in, channels_out, stride)
        return MTBlock(convs, beside, channels_out, self.cell, self.layers)

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return -(-max(1, clip_length // 2) // 8)

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a convolution like the last one."""
        return MTConv(channels_in, channels_out, (3, 3, 3), (1, 1, 1), self.ratio)


_register = register_backbone({"projection": 2048}, rgb=SLOWFAST, flow=SLOWFAST_FLOW, pose=SLOWFAST)


@_register
def mtnet_x3d_s(
    channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.875, cell: str = "gru", layers: int = 1
) -> MTX3d:
    """MTNet-S of the paper, the same network as M, for 13 frames of 224 pixels."""
    return MTX3d(channels_in, width, 2.2, ratio, cell, layers)


@_register
def mtnet_x3d_m(
    channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.875, cell: str = "gru", layers: int = 1
) -> MTX3d:
    """MTNet-M of the paper, for 16 frames of 256 pixels."""
    return MTX3d(channels_in, width, 2.2, ratio, cell, layers)


@_register
def mtnet_x3d_l(
    channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.875, cell: str = "gru", layers: int = 1
) -> MTX3d:
    """MTNet-L of the paper, deeper, for 16 frames of 256 pixels."""
    return MTX3d(channels_in, width, 5.0, ratio, cell, layers)
