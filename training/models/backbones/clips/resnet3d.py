"""3D ResNet: the residual network with convolutions over frames as well.

Sources: "Can spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?", CVPR 2018, arXiv:1711.09577
(family ``hara``: a stem over 7 frames and a pool, T / 16; published with 18 and 34 layers and shortcut A, with 18 to
200 layers and shortcut B). "A closer look at spatiotemporal convolutions for action recognition", CVPR 2018,
arXiv:1711.11248 (``torchvision``: a stem over 3 frames and no pool, T / 8; ``torchvision_mc3``: convolutions over
frames in the first stage only, T as it is; both published with 18 layers). "Learn to cycle: time-consistent feature
discovery for action recognition", Pattern Recognition Letters 2021, arXiv:2006.08247 (``srtg``: a stem over 3 frames
and a pool, T / 16, bottlenecks as wide outside as inside; published with recurrent cells, see
``backbones/recurrent/srtg.py``).

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import BasicBlock, Bottleneck, ResidualTrunk, reducing, stem
from kinebert.training.models.inputs import FLOW, HARA
from kinebert.training.models.registry import register_backbone


@dataclass(frozen=True)
class Family:
    """What tells one published family of 3D ResNets from another."""

    stem_frames: int
    """Frames that the first convolution looks at."""
    pool: bool
    """Whether a pool behind the first convolution halves T, H and W."""
    frames: tuple[int, int, int, int]
    """Frames that the convolutions of each stage look at; a stage of 1 leaves T as it is."""
    expansion: int = 4
    """How many times as wide as inside a bottleneck is outside."""

    @property
    def temporal_stride(self) -> int:
        """Frames per time step that is left."""
        return (2 if self.pool else 1) << sum(frames > 1 for frames in self.frames[1:])


FAMILIES = {
    "hara": Family(stem_frames=7, pool=True, frames=(3, 3, 3, 3)),
    "torchvision": Family(stem_frames=3, pool=False, frames=(3, 3, 3, 3)),
    "torchvision_mc3": Family(stem_frames=3, pool=False, frames=(3, 1, 1, 1)),
    "srtg": Family(stem_frames=3, pool=True, frames=(3, 3, 3, 3), expansion=1),
}


class ResNet3d(ResidualTrunk):
    """3D ResNet trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``.

    H' and W' are H / 32 and W / 32 with a pool (families ``hara`` and ``srtg``), H / 16 and W / 16 without, rounded up.

    Args:
        blocks: Residual blocks of each of the four stages.
        bottleneck: Whether they are bottlenecks, instead of basic blocks. F is 512, for bottlenecks times the family's
            expansion.
        channels_in: C.
        width: Multiplier of every number of channels inside.
        family: Key of :data:`FAMILIES`.
        shortcut: ``B`` projects where the shape changes, ``A`` pads with zeros.
    """

    def __init__(
        self, blocks: Sequence[int], bottleneck: bool, channels_in: int, width: float, family: str, shortcut: str
    ) -> None:
        positive(width=width)
        kind = find(FAMILIES, family, "family of 3D ResNets")
        expansion = kind.expansion if bottleneck else 1
        planes = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        pool = nn.MaxPool3d(3, 2, 1) if kind.pool else None
        super().__init__(
            channels_in,
            stem(channels_in, planes[0], (kind.stem_frames, 7, 7), pool),
            blocks,
            [planes[0], *(expansion * channels for channels in planes[1:])],
            partial(_block, bottleneck, kind, shortcut),
        )
        self.temporal_stride = kind.temporal_stride

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck half as wide inside: the papers' for SlowFast, whose bottlenecks are plain as well."""
        return reducing(channels_in, channels_out)


def _block(
    bottleneck: bool, family: Family, shortcut: str, stage: int, channels_in: int, channels_out: int, step: int
) -> nn.Module:
    frames = family.frames[stage]
    kernel, stride = (frames, 3, 3), (step if frames > 1 else 1, step, step)
    if not bottleneck:
        return BasicBlock(channels_in, channels_out, kernel, stride, shortcut)
    return Bottleneck(channels_in, channels_out // family.expansion, channels_out, kernel, stride, kind=shortcut)


@register_backbone(rgb=HARA, flow=FLOW, pose=HARA)
def resnet3d_18(channels_in: int = 3, width: float = 1.0, *, family: str = "hara", shortcut: str = "B") -> ResNet3d:
    """3D ResNet with 18 layers."""
    return ResNet3d((2, 2, 2, 2), False, channels_in, width, family, shortcut)


@register_backbone(rgb=HARA, flow=FLOW, pose=HARA)
def resnet3d_34(channels_in: int = 3, width: float = 1.0, *, family: str = "hara", shortcut: str = "B") -> ResNet3d:
    """3D ResNet with 34 layers."""
    return ResNet3d((3, 4, 6, 3), False, channels_in, width, family, shortcut)


@register_backbone(rgb=HARA, flow=FLOW, pose=HARA)
def resnet3d_50(channels_in: int = 3, width: float = 1.0, *, family: str = "hara", shortcut: str = "B") -> ResNet3d:
    """3D ResNet with 50 layers."""
    return ResNet3d((3, 4, 6, 3), True, channels_in, width, family, shortcut)


@register_backbone(rgb=HARA, flow=FLOW, pose=HARA)
def resnet3d_101(channels_in: int = 3, width: float = 1.0, *, family: str = "hara", shortcut: str = "B") -> ResNet3d:
    """3D ResNet with 101 layers."""
    return ResNet3d((3, 4, 23, 3), True, channels_in, width, family, shortcut)


@register_backbone(rgb=HARA, flow=FLOW, pose=HARA)
def resnet3d_152(channels_in: int = 3, width: float = 1.0, *, family: str = "hara", shortcut: str = "B") -> ResNet3d:
    """3D ResNet with 152 layers."""
    return ResNet3d((3, 8, 36, 3), True, channels_in, width, family, shortcut)


@register_backbone(rgb=HARA, flow=FLOW, pose=HARA)
def resnet3d_200(channels_in: int = 3, width: float = 1.0, *, family: str = "hara", shortcut: str = "B") -> ResNet3d:
    """3D ResNet with 200 layers."""
    return ResNet3d((3, 24, 36, 3), True, channels_in, width, family, shortcut)
