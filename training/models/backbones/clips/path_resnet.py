"""ResNets of one pathway with 50 layers: bottlenecks of (1, 3, 3), some of which look at three frames first.

Sources: "Non-local neural networks", CVPR 2018, arXiv:1711.07971, table 1 and section 4 (``c2d_50``, and
``i3d_resnet50``, the BERT thesis' *Modified ResNet-50*, with five non-local blocks or none); "SlowFast networks for
video recognition", ICCV 2019, arXiv:1812.03982, section 4.1 (``slow_50``: SlowFast's slow pathway alone).
video-nonlocal-net (and Tushar-N's port), PySlowFast and mmaction2 publish weights. Their networks begin in other ways.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import PathBottleneck, ResidualTrunk, convolution, reducing
from kinebert.training.models.inputs import SLOWFAST, SLOWFAST_FLOW
from kinebert.training.models.non_local import NonLocal, add_non_local
from kinebert.training.models.registry import register_backbone

COUNTS = (3, 4, 6, 3)
"""Bottlenecks of each stage."""
Times = tuple[tuple[int, ...], ...]
I3D_TIMES: Times = ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1))
"""Frames that the bottlenecks of each stage look at."""
SLOW_TIMES: Times = ((1,) * 3, (1,) * 4, (3,) * 6, (3,) * 3)
C2D_TIMES: Times = tuple((1,) * count for count in COUNTS)


@dataclass(frozen=True, kw_only=True)
class Family:
    """How one program's networks begin, and what its non-local blocks are."""

    stem_step: int = 1
    """Frames from one that the first convolution looks around to the next."""
    pool_frames: int = 1
    """Frames that the pool behind it looks at."""
    pool_step: int = 1
    """Frames from one of its places to the next."""
    pool_padding: int = 1
    """Pixels by which it looks over the edges."""
    scale: str = "features"
    """What its non-local blocks divide scores by, see :data:`kinebert.training.models.non_local.SCALES`."""
    pool: str = "before"
    """Where they halve what is looked at, see :data:`kinebert.training.models.non_local.POOLS`."""
    output_bias: bool = True
    """Whether their last convolution has a bias."""
    idle_pool: bool = False
    """Whether a pool of size 1 stands where others halve the time steps."""

    def begins(self, frames: int, size: int) -> tuple[int, int]:
        """Return the time steps and the pixels behind the pool of so many frames and pixels of height or width."""
        frames, size = -(-frames // self.stem_step), -(-size // 2)
        return (frames - self.pool_frames) // self.pool_step + 1, (size + 2 * self.pool_padding - 3) // 2 + 1


PYSLOWFAST = Family(idle_pool=True)
MMACTION2 = Family(pool="after", output_bias=False)
I3D_FAMILIES: Mapping[str, Family] = {
    "nonlocal_net": Family(stem_step=2, pool_frames=2, pool_step=2, pool_padding=0),
    "pyslowfast": PYSLOWFAST,
    "mmaction2": Family(stem_step=2, pool_step=2, scale="none", pool="after", output_bias=False),
}
SLOW_FAMILIES: Mapping[str, Family] = {"pyslowfast": PYSLOWFAST, "mmaction2": MMACTION2}


class PathResNet(ResidualTrunk):
    """Trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T', H / 32, W / 32)``.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 2048 times it.
        times: Frames that the first convolution of every bottleneck looks at, by stage.
        stem_time: Frames that the network's first convolution looks at.
        family: How it begins.
        halved: Whether a pool behind the first stage halves the time steps.
        nonlocal_blocks, weighing: Options, as :func:`i3d_resnet50` explains them.
    """

    def __init__(
        self,
        channels_in: int,
        width: float,
        *,
        times: Times,
        stem_time: int,
        family: Family,
        halved: bool,
        nonlocal_blocks: str,
        weighing: str,
    ) -> None:
        positive(width=width)
        widths = [scaled(channels, width) for channels in (64, 256, 512, 1024, 2048)]
        extents = iter([time for stage in times for time in stage])  # in the order in which bottlenecks are made

        def bottleneck(_: int, before: int, after: int, step: int) -> nn.Module:
            return PathBottleneck(before, after // 4, after, step, next(extents))

        super().__init__(channels_in, _stem(channels_in, widths[0], stem_time, family), COUNTS, widths, bottleneck)
        self.family, self.halved = family, halved
        self.pool = nn.MaxPool3d((2, 1, 1)) if halved else nn.Identity()
        self.idle_pools = ("layer2",) if family.idle_pool and not halved else ()
        make = partial(
            NonLocal, weighing=weighing, scale=family.scale, pool=family.pool, output_bias=family.output_bias
        )
        stages = {f"layer{i}": stage for i, stage in enumerate(super().stages(), start=1)}
        self.looking = add_non_local(stages, nonlocal_blocks, make)

    def stages(self) -> list[nn.Module]:
        """Return the four stages, and the pool behind the first one."""
        first, *others = super().stages()
        return [first, self.pool, *others]

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        steps, _ = self.family.begins(clip_length, 1)
        return steps // 2 if self.halved else steps

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError for another number of channels, or a clip of which nothing would be left on the way."""
        super().check_input(channels, frames, height, width)
        if self.num_steps(frames) < 1:
            least = next(count for count in range(frames, 2**16) if self.num_steps(count) > 0)
            raise ConfigError(f"this network takes clips of {least} frames at least, got {frames}.")
        _, pixels = self.family.begins(frames, min(height, width))
        looking = max((int(name[-1]) for name in self.looking), default=0)
        if pixels < 1 or (looking and -(-pixels // 2 ** (looking - 1)) < 2):
            where = f", since non-local blocks halve what is left in {self.looking[-1]}" if looking else ""
            raise ConfigError(f"a clip of {width}x{height} pixels is too small for this network{where}.")

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a bottleneck half as wide inside: the papers' for SlowFast, which these are a pathway of."""
        return reducing(channels_in, channels_out)


def _stem(channels_in: int, channels_out: int, time: int, family: Family) -> nn.Sequential:
    pad = family.pool_padding
    return nn.Sequential(
        convolution(channels_in, channels_out, (time, 7, 7), (family.stem_step, 2, 2)),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((family.pool_frames, 3, 3), (family.pool_step, 2, 2), (0, pad, pad)),
    )


@register_backbone(rgb=SLOWFAST, flow=SLOWFAST_FLOW, pose=SLOWFAST)
def i3d_resnet50(
    channels_in: int = 3,
    width: float = 1.0,
    *,
    family: str = "nonlocal_net",
    nonlocal_blocks: str = "",
    weighing: str = "softmax",
) -> PathResNet:
    """I3D as a ResNet with 50 layers: the BERT thesis' Modified ResNet-50.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        family: Whose network it is: ``nonlocal_net`` (T / 8, trained on 32 frames, every second), ``mmaction2`` (the
            same, but for the pool behind the first convolution), ``pyslowfast`` (T / 2, trained on 8, every eighth).
        nonlocal_blocks: Blocks behind which a non-local one stands, from 0: ``layer2.1 layer3.5``; ``five`` for the
            published five, empty for none.
        weighing: What a non-local block makes of its scores: ``softmax``, ``gaussian`` or ``dot_product``.
    """
    return PathResNet(
        channels_in,
        width,
        times=I3D_TIMES,
        stem_time=5,
        family=find(I3D_FAMILIES, family, "family of I3D ResNets"),
        halved=True,
        nonlocal_blocks=nonlocal_blocks,
        weighing=weighing,
    )


@register_backbone(rgb=SLOWFAST, flow=SLOWFAST_FLOW, pose=SLOWFAST)
def c2d_50(
    channels_in: int = 3,
    width: float = 1.0,
    *,
    temporal_pool: bool = True,
    nonlocal_blocks: str = "",
    weighing: str = "softmax",
) -> PathResNet:
    """C2D: a ResNet with 50 layers that sees one frame at a time, but for a pool.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        temporal_pool: Whether that pool, behind the first stage, halves the time steps.
        nonlocal_blocks, weighing: As of :func:`i3d_resnet50`.
    """
    return PathResNet(
        channels_in,
        width,
        times=C2D_TIMES,
        stem_time=1,
        family=PYSLOWFAST,
        halved=temporal_pool,
        nonlocal_blocks=nonlocal_blocks,
        weighing=weighing,
    )


@register_backbone(rgb=SLOWFAST, flow=SLOWFAST_FLOW, pose=SLOWFAST)
def slow_50(
    channels_in: int = 3,
    width: float = 1.0,
    *,
    family: str = "pyslowfast",
    nonlocal_blocks: str = "",
    weighing: str = "dot_product",
) -> PathResNet:
    """SlowFast's slow pathway alone, with 50 layers. It keeps all time steps; 4x16 and 8x8 are clips of it.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        family: ``pyslowfast`` or ``mmaction2``, which differ in their non-local blocks.
        nonlocal_blocks, weighing: As of :func:`i3d_resnet50`.
    """
    return PathResNet(
        channels_in,
        width,
        times=SLOW_TIMES,
        stem_time=1,
        family=find(SLOW_FAMILIES, family, "family of slow networks"),
        halved=False,
        nonlocal_blocks=nonlocal_blocks,
        weighing=weighing,
    )
