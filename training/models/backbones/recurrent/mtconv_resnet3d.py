"""A 3D ResNet whose bottlenecks are made of MTConvs: the last row of the paper's table II.

Source: "Multi-temporal convolutions for human action recognition in videos", IJCNN 2021, arXiv:2011.03949, table II.
The first row of that table is family ``srtg`` of :mod:`..clips.resnet3d`, whose layers these are. Its program has no
such network: ``docs/mtnet.md`` says which choices were left, and how near they come.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from functools import partial

from torch import nn

from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import ResidualTrunk, shortcut, stem
from kinebert.training.models.inputs import FLOW, MFNET
from kinebert.training.models.operations.mtconv import MTBlock, MTConv
from kinebert.training.models.registry import register_backbone


def _block(ratio: float, cell: str, layers: int, stage: int, channels_in: int, channels_out: int, step: int) -> MTBlock:
    del stage
    one, stride = (1, 1, 1), (step,) * 3
    convs: list[nn.Module] = [
        MTConv(channels_in, channels_out, one, one, ratio),
        MTConv(channels_out, channels_out, (3, 3, 3), stride, ratio),
        MTConv(channels_out, channels_out, one, one, ratio),
    ]
    return MTBlock(convs, shortcut("B", channels_in, channels_out, stride), channels_out, cell, layers)


class MTConvResNet3d(ResidualTrunk):
    """3D ResNet of 50 layers without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 16, H / 32, W / 32)``, rounded up.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 512 times it.
        ratio: Part of the channels in the local branch.
        cell: Recurrent cells of the third branch; ``none`` leaves it out.
        layers: Recurrent layers upon each other.
    """

    temporal_stride = 16

    def __init__(self, channels_in: int, width: float, ratio: float, cell: str, layers: int) -> None:
        positive(width=width)
        widths = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        self.make_block = partial(_block, ratio, cell, layers)
        first = stem(channels_in, widths[0], (3, 7, 7), nn.MaxPool3d(3, 2, 1))
        super().__init__(channels_in, first, (3, 4, 6, 3), widths, self.make_block)

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a block like those of the trunk."""
        return self.make_block(3, channels_in, channels_out, 1)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def mtconv_resnet3d_50(
    channels_in: int = 3, width: float = 1.0, *, ratio: float = 0.5, cell: str = "gru", layers: int = 1
) -> MTConvResNet3d:
    """3D ResNet with 50 layers, of MTConvs."""
    return MTConvResNet3d(channels_in, width, ratio, cell, layers)
