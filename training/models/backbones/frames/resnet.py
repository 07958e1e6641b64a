"""ResNet: the 2D residual network, run on each frame of a clip, with or without a temporal module in its blocks.

Sources: "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385. Fusion of stages: "Exploring deep
spatio-temporal fusion architectures towards late temporal modeling of human action recognition", METU 2020, table 3.5.
Temporal modules and pooling: "Deep analysis of CNN-based spatio-temporal representations for action recognition", CVPR
2021, arXiv:2010.11757.

Axes: N batch, C channels, T frames, H height, W width, F features; B = N x T.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import BasicBlock, Bottleneck, Residual, ResidualTrunk, reducing, stem
from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.temporal.registry import Place, Temporal, takes_temporal

FUSIONS = {"none": 1, "dual": 2, "triple": 3, "quadruple": 4}
"""How many of the last stages are joined to features."""


class FrameResNet(ResidualTrunk):
    """ResNet trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T, H / 32, W / 32)``, rounded up.

    With temporal pooling T' is T / 8, rounded up. Frames see each other only through the temporal module and pooling;
    in training they share the statistics of the batch norms.

    Args:
        blocks: Residual blocks of each of the four stages.
        expansion: 1 for basic blocks, 4 for bottlenecks.
        channels_in: C.
        width: Multiplier of every number of channels inside.
        fusion: Key of :data:`FUSIONS`. Earlier stages are averaged to the size of the last one, in front of which they
            lie in the channels. F is the sum of the stages' channels, 512 times ``expansion`` for the last one.
        temporal: How it sees time.

    Raises:
        ConfigError: If stages are to be joined that have not as many time steps, or that are maps of clips.
    """

    def __init__(
        self, blocks: Sequence[int], expansion: int, channels_in: int, width: float, fusion: str, temporal: Temporal
    ) -> None:
        positive(width=width)
        num_fused = find(FUSIONS, fusion, "fusion of stages")
        if num_fused > 1 and (temporal.pooling or temporal.clips):
            raise ConfigError(
                f"fusion {fusion!r} joins stages of pictures with as many time steps each: take it without "
                "temporal_pooling, conv3d and conv1d."
            )
        planes = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        widths = [planes[0], *(expansion * channels for channels in planes[1:])]
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if temporal.clips else nn.MaxPool2d(3, 2, 1)
        super().__init__(
            channels_in,
            stem(channels_in, planes[0], temporal.kernel(7), pool),
            blocks,
            widths,
            partial(_block, expansion, temporal),
        )
        for i, (stage, before) in enumerate(zip(self.stages(), widths, strict=False), start=1):
            for j, block in enumerate(stage.children()):
                assert isinstance(block, Residual)
                place = Place(name=f"layer{i}.{j}", stage=i, index=j, longest=max(blocks))
                temporal.connect(block, before if j == 0 else widths[i], widths[i], place)
        self.temporal = temporal
        self.temporal_stride = 8 if temporal.pooling else 1
        self.pool = temporal.pool()
        self.num_fused, self.num_features = num_fused, sum(widths[-num_fused:])

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck half as wide inside: the papers' for SlowFast, with what connects frames in it."""
        block = reducing(channels_in, channels_out, axes=3 if self.temporal.clips else 2)
        self.temporal.connect(block, channels_in, channels_out, Place(name="mapper", stage=5, index=0))
        return block

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        n = x_NCTHW.shape[0]
        x: Tensor = self.run(self.stem, self.temporal.enter(x_NCTHW))
        maps = []
        for i, stage in enumerate(self.stages()):
            if i and self.pool is not None:
                x = self.pool(x, n)
            x = self.run(stage, x, n)
            maps.append(x)
        x = _fuse(maps[-self.num_fused :])
        if self.mapper is not None:
            x = self.run(self.mapper, x, n)
        return self.temporal.leave(x, n)


def _fuse(maps: list[Tensor]) -> Tensor:
    """Average maps, each half the size of the one before, to the size of the last, and join their channels."""
    pooled = [
        # A last pixel that an odd size leaves over is averaged by itself, as the stages' strides keep it.
        functional.avg_pool2d(map_BCHW, 2**halvings, ceil_mode=True)
        for halvings, map_BCHW in zip(range(len(maps) - 1, 0, -1), maps[:-1], strict=True)
    ]
    return torch.cat([*pooled, maps[-1]], dim=1) if pooled else maps[-1]


def _block(expansion: int, temporal: Temporal, stage: int, channels_in: int, channels_out: int, step: int) -> nn.Module:
    del stage
    kernel, stride, over_time = temporal.kernel(3), temporal.stride(step, pools=step > 1), temporal.over_time()
    if expansion == 1:
        return BasicBlock(channels_in, channels_out, kernel, stride, over_time=over_time)
    return Bottleneck(channels_in, channels_out // expansion, channels_out, kernel, stride, over_time=over_time)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
@takes_temporal
def resnet18(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal, fusion: str = "none") -> FrameResNet:
    """ResNet with 18 layers, run per frame."""
    return FrameResNet((2, 2, 2, 2), 1, channels_in, width, fusion, temporal)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
@takes_temporal
def resnet34(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal, fusion: str = "none") -> FrameResNet:
    """ResNet with 34 layers, run per frame."""
    return FrameResNet((3, 4, 6, 3), 1, channels_in, width, fusion, temporal)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
@takes_temporal
def resnet50(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal, fusion: str = "none") -> FrameResNet:
    """ResNet with 50 layers, run per frame; the step is in the 3x3 convolutions."""
    return FrameResNet((3, 4, 6, 3), 4, channels_in, width, fusion, temporal)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
@takes_temporal
def resnet101(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal, fusion: str = "none") -> FrameResNet:
    """ResNet with 101 layers, run per frame."""
    return FrameResNet((3, 4, 23, 3), 4, channels_in, width, fusion, temporal)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
@takes_temporal
def resnet152(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal, fusion: str = "none") -> FrameResNet:
    """ResNet with 152 layers, run per frame."""
    return FrameResNet((3, 8, 36, 3), 4, channels_in, width, fusion, temporal)
