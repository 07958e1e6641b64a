"""ResNet: the 2D residual network, run on each frame of a clip.

Sources: "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385. Fusion of stages: "Exploring deep
spatio-temporal fusion architectures towards late temporal modeling of human action recognition", METU 2020, table 3.5.

Axes: N batch, C channels, T frames, H height, W width, F features; B = N x T.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import BasicBlock, Bottleneck, ResidualTrunk, reducing, stem
from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.registry import register_backbone

FUSIONS = {"none": 1, "dual": 2, "triple": 3, "quadruple": 4}
"""How many of the last stages are joined to features."""


class FrameResNet(ResidualTrunk):
    """ResNet trunk without classifier, frame by frame: ``(N, C, T, H, W)`` to ``(N, F, T, H / 32, W / 32)``.

    Frames do not see each other here; in training they share the statistics of the batch norms.

    Args:
        blocks: Residual blocks of each of the four stages.
        expansion: 1 for basic blocks, 4 for bottlenecks.
        channels_in: C.
        width: Multiplier of every number of channels inside.
        fusion: Key of :data:`FUSIONS`. Earlier stages are averaged to the size of the last one, in front of which they
            lie in the channels. F is the sum of the stages' channels, 512 times ``expansion`` for the last one.
    """

    temporal_stride = 1

    def __init__(self, blocks: Sequence[int], expansion: int, channels_in: int, width: float, fusion: str) -> None:
        positive(width=width)
        num_fused = find(FUSIONS, fusion, "fusion of stages")
        planes = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        widths = [planes[0], *(expansion * channels for channels in planes[1:])]
        super().__init__(
            channels_in,
            stem(channels_in, planes[0], (7, 7), nn.MaxPool2d(3, 2, 1)),
            blocks,
            widths,
            partial(_block, expansion),
        )
        self.num_fused, self.num_features = num_fused, sum(widths[-num_fused:])

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck half as wide inside: the 2D form of the papers' for SlowFast."""
        return reducing(channels_in, channels_out, axes=2)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T, H', W')``."""
        n, _, t, _, _ = x_NCTHW.shape
        x_BCHW: Tensor = self.run(self.stem, x_NCTHW.transpose(1, 2).flatten(0, 1))
        maps = []
        for stage in self.stages():
            x_BCHW = self.run(stage, x_BCHW)
            maps.append(x_BCHW)
        x_BFHW = _fuse(maps[-self.num_fused :])
        if self.mapper is not None:
            x_BFHW = self.run(self.mapper, x_BFHW)
        return x_BFHW.reshape(n, t, *x_BFHW.shape[1:]).transpose(1, 2)


def _fuse(maps: list[Tensor]) -> Tensor:
    """Average maps, each half the size of the one before, to the size of the last, and join their channels."""
    pooled = [
        # A last pixel that an odd size leaves over is averaged by itself, as the stages' strides keep it.
        functional.avg_pool2d(map_BCHW, 2**halvings, ceil_mode=True)
        for halvings, map_BCHW in zip(range(len(maps) - 1, 0, -1), maps[:-1], strict=True)
    ]
    return torch.cat([*pooled, maps[-1]], dim=1) if pooled else maps[-1]


def _block(expansion: int, stage: int, channels_in: int, channels_out: int, step: int) -> nn.Module:
    del stage
    if expansion == 1:
        return BasicBlock(channels_in, channels_out, (3, 3), (step, step))
    return Bottleneck(channels_in, channels_out // expansion, channels_out, (3, 3), (step, step))


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def resnet18(channels_in: int = 3, width: float = 1.0, *, fusion: str = "none") -> FrameResNet:
    """ResNet with 18 layers, run per frame."""
    return FrameResNet((2, 2, 2, 2), 1, channels_in, width, fusion)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def resnet34(channels_in: int = 3, width: float = 1.0, *, fusion: str = "none") -> FrameResNet:
    """ResNet with 34 layers, run per frame."""
    return FrameResNet((3, 4, 6, 3), 1, channels_in, width, fusion)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def resnet50(channels_in: int = 3, width: float = 1.0, *, fusion: str = "none") -> FrameResNet:
    """ResNet with 50 layers, run per frame; the step is in the 3x3 convolutions."""
    return FrameResNet((3, 4, 6, 3), 4, channels_in, width, fusion)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def resnet101(channels_in: int = 3, width: float = 1.0, *, fusion: str = "none") -> FrameResNet:
    """ResNet with 101 layers, run per frame."""
    return FrameResNet((3, 4, 23, 3), 4, channels_in, width, fusion)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
def resnet152(channels_in: int = 3, width: float = 1.0, *, fusion: str = "none") -> FrameResNet:
    """ResNet with 152 layers, run per frame."""
    return FrameResNet((3, 8, 36, 3), 4, channels_in, width, fusion)
