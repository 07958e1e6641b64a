"""3D ResNeXt: the 3D residual network whose convolutions over frames work in groups.

Source: "Can spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?", CVPR 2018, arXiv:1711.09577.
MARS (CVPR 2019) and the BERT papers (arXiv:2008.01232) train the same network with 101 layers.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Sequence
from functools import partial

from torch import nn

from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Bottleneck, ResidualTrunk, stem
from kinebert.training.models.inputs import ACTIVITYNET, BYTE_FLOW
from kinebert.training.models.registry import register_backbone


class ResNeXt3d(ResidualTrunk):
    """3D ResNeXt trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 16, H / 32, W / 32)``, rounded up.

    Args:
        blocks: Residual blocks of each of the four stages.
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 2048 times it.
        cardinality: Groups of every convolution over frames.
        shortcut: ``B`` projects where the shape changes, ``A`` pads with zeros.
    """

    temporal_stride = 16

    def __init__(self, blocks: Sequence[int], channels_in: int, width: float, cardinality: int, shortcut: str) -> None:
        positive(width=width, cardinality=cardinality)
        widths = [scaled(channels, width) for channels in (64, 256, 512, 1024, 2048)]
        super().__init__(
            channels_in,
            stem(channels_in, widths[0], (7, 7, 7), nn.MaxPool3d(3, 2, 1)),
            blocks,
            widths,
            partial(_block, cardinality, shortcut),
        )
        self.cardinality = cardinality

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a block like those of the trunk."""
        return _block(self.cardinality, "B", 3, channels_in, channels_out, 1)


def _block(cardinality: int, shortcut: str, stage: int, channels_in: int, channels_out: int, step: int) -> Bottleneck:
    del stage
    middle = cardinality * max(1, channels_out // 2 // 32)  # with 32 groups half as wide as the block is outside
    return Bottleneck(channels_in, middle, channels_out, (3, 3, 3), (step,) * 3, cardinality, shortcut)


@register_backbone(rgb=ACTIVITYNET, flow=BYTE_FLOW, pose=ACTIVITYNET)
def resnext50(channels_in: int = 3, width: float = 1.0, *, cardinality: int = 32, shortcut: str = "B") -> ResNeXt3d:
    """3D ResNeXt with 50 layers."""
    return ResNeXt3d((3, 4, 6, 3), channels_in, width, cardinality, shortcut)


@register_backbone(rgb=ACTIVITYNET, flow=BYTE_FLOW, pose=ACTIVITYNET)
def resnext101(channels_in: int = 3, width: float = 1.0, *, cardinality: int = 32, shortcut: str = "B") -> ResNeXt3d:
    """3D ResNeXt with 101 layers."""
    return ResNeXt3d((3, 4, 23, 3), channels_in, width, cardinality, shortcut)
