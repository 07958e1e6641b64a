"""SlowFast: two pathways, one that sees few frames in many channels, one that sees many frames in few.

Source: "SlowFast networks for video recognition", ICCV 2019, arXiv:1812.03982, table 1, and the published PySlowFast.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import (
    Bottleneck,
    PathBottleneck,
    convolution,
    draw_convolutions,
    reducing,
    stem,
)
from kinebert.training.models.inputs import SLOWFAST, SLOWFAST_FLOW
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.non_local import NonLocal, add_non_local
from kinebert.training.models.pathways import fuse
from kinebert.training.models.registry import register_backbone

STAGES = ("stem", "res2", "res3", "res4", "res5")
SLOW_TIMES = (1, 1, 1, 3, 3)
"""Extent in time of the stem's convolution and of each stage's bottlenecks."""
FAST_TIMES = (5, 3, 3, 3, 3)


def _stride(fast_NCTHW: Tensor, alpha: int) -> Tensor:
    """Every ``alpha``-th frame: the paper, and the BERT papers' ``clip[::8]`` of 64."""
    return fast_NCTHW[:, :, ::alpha]


def _linspace(fast_NCTHW: Tensor, alpha: int) -> Tensor:
    """``T / alpha`` frames evenly from the first to the last, rounded down: what PySlowFast's weights saw."""
    frames = fast_NCTHW.shape[2]
    picked = torch.linspace(0, frames - 1, frames // alpha, device="cpu").long()  # its float32, so its rounding
    return fast_NCTHW.index_select(2, picked.to(fast_NCTHW.device))


REDUCED_PATHS = {"both": 2, "slow": 1}
PICKINGS: Mapping[str, Callable[[Tensor, int], Tensor]] = {"auto": _stride, "stride": _stride, "linspace": _linspace}
"""How the slow pathway takes its frames from those of the fast one. Published weights decide where it is ``auto``."""


def _reducing(channels_in: int, channels_out: int) -> Bottleneck:
    block = reducing(channels_in, channels_out)
    draw_convolutions(block, "fan_in")  # as published
    return block


def fusion(channels_in: int, channels_out: int, kernel: int, alpha: int, norm: bool = True) -> nn.Sequential:
    """Return a lateral connection, with a batch norm and a ReLU or bare: it brings the fast steps to the slow ones."""
    conv = convolution(channels_in, channels_out, (kernel, 1, 1), (alpha, 1, 1))
    return nn.Sequential(conv, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True)) if norm else nn.Sequential(conv)


class Pathway(nn.ModuleDict):
    """Stem and four residual stages, by their names in :data:`STAGES`.

    Args:
        channels_in: C of a clip.
        channels: Of the stem; the stages leave 4, 8, 16 and 32 times as many.
        lateral: Channels that a lateral connection adds per channel of this pathway.
        blocks: Bottlenecks of each residual stage.
        times: Extent in time of the stem's convolution and of each residual stage's bottlenecks.
        longest: Bottlenecks of a stage that have this extent at most; those behind them have 1.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        lateral: Fraction,
        blocks: Sequence[int],
        times: Sequence[int],
        longest: int,
    ) -> None:
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        stages = [stem(channels_in, channels, (times[0], 7, 7), pool)]
        width, middle = channels, channels
        for count, time in zip(blocks, times[1:], strict=True):
            seen, wide = int(width * (1 + lateral)), 4 * middle
            first = PathBottleneck(seen, middle, wide, 1 if middle == channels else 2, time)
            rest = (PathBottleneck(wide, middle, wide, 1, time if i < longest else 1) for i in range(1, count))
            stages.append(nn.Sequential(first, *rest))
            width, middle = wide, 2 * middle
        super().__init__(dict(zip(STAGES, stages, strict=True)))
        self.num_features = width


class SlowFast(Backbone):
    """SlowFast trunk without classifier: a clip to the maps of both pathways, H and W divided by 32, rounded up.

    Args:
        blocks: Bottlenecks of each of the four stages.
        channels_in: C.
        width: Multiplier of every number of channels inside. The slow pathway leaves 2048 times it.
        alpha, beta, fusion_ratio, fusion_kernel, picking, fast_frames, reduced_paths, lateral_norm: Options, as
            :func:`slowfast_50` explains them; so are nonlocal_blocks and weighing.
        slow_temporal_blocks, fast_temporal_blocks: Options of :func:`slowfast_101`.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        channels_in: int,
        width: float,
        *,
        alpha: int,
        beta: int,
        fusion_ratio: int,
        fusion_kernel: int,
        picking: str,
        fast_frames: int,
        reduced_paths: str,
        lateral_norm: bool,
        nonlocal_blocks: str,
        weighing: str,
        slow_temporal_blocks: int = 6,
        fast_temporal_blocks: int = 6,
    ) -> None:
        super().__init__()
        positive(channels_in=channels_in, width=width, alpha=alpha, beta=beta, fast_frames=fast_frames)
        positive(fusion_ratio=fusion_ratio, fusion_kernel=fusion_kernel)
        positive(slow_temporal_blocks=slow_temporal_blocks, fast_temporal_blocks=fast_temporal_blocks)
        if fusion_kernel % 2 == 0:
            raise ConfigError(f"fusion_kernel must be odd, got {fusion_kernel}.")
        find(PICKINGS, picking, "picking")
        self.num_reduced = find(REDUCED_PATHS, reduced_paths, "choice of reduced_paths")
        self.alpha, self.picking, self.fast_frames = alpha, picking, fast_frames
        slow = scaled(64, width)
        if slow % beta:
            raise ConfigError(f"beta must divide the {slow} channels of the slow stem, got {beta}.")
        fast = slow // beta
        self.slow = Pathway(channels_in, slow, Fraction(fusion_ratio, beta), blocks, SLOW_TIMES, slow_temporal_blocks)
        self.fast = Pathway(channels_in, fast, Fraction(0), blocks, FAST_TIMES, fast_temporal_blocks)
        self.lateral = nn.ModuleList(
            fusion(channels, fusion_ratio * channels, fusion_kernel, alpha, lateral_norm)
            for channels in (fast, 4 * fast, 8 * fast, 16 * fast)
        )
        self.idle_pools = ("slow.res3", "fast.res3") if lateral_norm else ()  # mmaction2, which has no norm, has none
        self.mapper = nn.ModuleDict()
        self.num_features = sum(self.path_features)
        draw_convolutions(self)
        stages = {name: self.slow[name] for name in STAGES[1:]}
        make = partial(NonLocal, weighing=weighing, pool="before")
        self.looking = add_non_local(stages, nonlocal_blocks, make)

    @property
    def path_features(self) -> tuple[int, ...]:
        """F of the slow and of the fast pathway."""
        return self.slow.num_features, self.fast.num_features

    def path_steps(self, clip_length: int) -> tuple[int, ...]:
        """Return the frames that the slow and the fast pathway see of a clip."""
        fast = -(-clip_length // self._interval(clip_length))
        return -(-fast // self.alpha), fast

    def num_steps(self, clip_length: int) -> int:
        """Return the time steps of the slow pathway."""
        return self.path_steps(clip_length)[0]

    def _interval(self, clip_length: int) -> int:
        return max(1, clip_length // self.fast_frames)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError for an empty clip, or one whose frames cannot be shared out between the pathways."""
        if min(frames, height, width) < 1:
            raise ConfigError(
                f"SlowFast takes clips of any length and size above 0, got {frames} frames of {width}x{height}."
            )
        if self.looking and -(-min(height, width) // 2 ** int(self.looking[-1][-1])) < 2:
            raise ConfigError(
                f"a clip of {width}x{height} pixels is too small: non-local blocks halve what is left in "
                f"{self.looking[-1]}."
            )
        fast = self.path_steps(frames)[1]
        if self.picking == "linspace" and fast % self.alpha:
            raise ConfigError(
                f"a clip of {frames} frames gives the fast pathway {fast}; picked by linspace they must be a multiple "
                f"of alpha, {self.alpha}. Take another clip_length, or picking = 'stride'."
            )

    def reduce_append(self, width: int) -> None:
        """Append a block to each pathway that is to be reduced: FRAB.

        The slow pathway is left ``width`` features, the fast one a quarter of them, as published.
        """
        for name, pathway, channels in self._to_reduce(width):
            self.mapper[name] = _reducing(pathway.num_features, channels)
            self._reduced_to(f"mapper.{name}", pathway, channels)

    def reduce_replace(self, width: int) -> None:
        """Replace the last block of each pathway that is to be reduced: FRMB. Its trained weights are lost."""
        for name, pathway, channels in self._to_reduce(width):
            last = pathway[STAGES[-1]]
            assert isinstance(last, nn.Sequential)
            last[-1] = _reducing(pathway.num_features, channels)
            self._reduced_to(f"{name}.{STAGES[-1]}.{len(last) - 1}", pathway, channels)

    def _to_reduce(self, width: int) -> list[tuple[str, Pathway, int]]:
        positive(width=width)
        targets = [("slow", self.slow, width), ("fast", self.fast, scaled(width, 0.25))]
        return targets[: self.num_reduced]

    def _reduced_to(self, block: str, pathway: Pathway, channels: int) -> None:
        pathway.num_features = channels
        self.num_features = sum(self.path_features)
        self.reduced += (block,)

    def paths(self, x_NCTHW: Tensor) -> tuple[Tensor, ...]:
        """Map ``(N, C, T, H, W)`` to the slow ``(N, F, T', H', W')`` and the fast ``(N, F'', T'', H', W')``."""
        fast = x_NCTHW[:, :, :: self._interval(x_NCTHW.shape[2])]
        slow = PICKINGS[self.picking](fast, self.alpha)
        for i, name in enumerate(STAGES):
            slow, fast = self.run(self.slow[name], slow), self.run(self.fast[name], fast)
            if i < len(self.lateral):
                slow = torch.cat([slow, self.lateral[i](fast)], dim=1)
        return tuple(
            self.run(self.mapper[name], path) if name in self.mapper else path
            for name, path in (("slow", slow), ("fast", fast))
        )

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``, both pathways at the steps of the slow one."""
        return fuse(self.paths(x_NCTHW))


@register_backbone(rgb=SLOWFAST, flow=SLOWFAST_FLOW, pose=SLOWFAST)
def slowfast_50(
    channels_in: int = 3,
    width: float = 1.0,
    *,
    alpha: int = 4,
    beta: int = 8,
    fusion_ratio: int = 2,
    fusion_kernel: int = 7,
    picking: str = "auto",
    fast_frames: int = 32,
    reduced_paths: str = "both",
    lateral_norm: bool = True,
    nonlocal_blocks: str = "",
    weighing: str = "dot_product",
) -> SlowFast:
    """SlowFast with 50 layers, 8x8 by default; ``alpha=8, fusion_kernel=5`` makes it 4x16, ``fast_frames=64`` 16x8.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        alpha: Frames of the fast pathway per frame of the slow one.
        beta: Channels of the slow pathway per channel of the fast one (the paper's beta is 1 over it).
        fusion_ratio: Channels that a lateral connection makes of one channel of the fast pathway.
        fusion_kernel: Steps of the fast pathway that a lateral connection sees.
        picking: Which frames of the fast pathway the slow one takes: every alpha-th (``stride``), as in the BERT
            papers, or evenly from the first to the last (``linspace``), as in PySlowFast. ``auto``: as stride, until
            published weights are loaded that were trained otherwise.
        fast_frames: Frames of a clip that the fast pathway takes, at a whole step: all of 32, every second of 64.
        reduced_paths: What a feature reduction changes: ``both`` pathways, or the ``slow`` one alone, as published for
            late fusion.
        lateral_norm: Whether a batch norm and a ReLU end a lateral connection; mmaction2's has neither.
        nonlocal_blocks: Blocks of the slow pathway behind which a non-local one stands, from 0: ``res3.1 res4.5``;
            ``five`` for the published five of 50 layers (``res4.6 res4.13 res4.20`` of 101), empty for none.
        weighing: What a non-local block makes of its scores: ``softmax``, ``gaussian`` or ``dot_product``.
    """
    return SlowFast(
        (3, 4, 6, 3),
        channels_in,
        width,
        alpha=alpha,
        beta=beta,
        fusion_ratio=fusion_ratio,
        fusion_kernel=fusion_kernel,
        picking=picking,
        fast_frames=fast_frames,
        reduced_paths=reduced_paths,
        lateral_norm=lateral_norm,
        nonlocal_blocks=nonlocal_blocks,
        weighing=weighing,
    )


@register_backbone(rgb=SLOWFAST, flow=SLOWFAST_FLOW, pose=SLOWFAST)
def slowfast_101(
    channels_in: int = 3,
    width: float = 1.0,
    *,
    alpha: int = 4,
    beta: int = 8,
    fusion_ratio: int = 2,
    fusion_kernel: int = 5,
    picking: str = "auto",
    fast_frames: int = 32,
    reduced_paths: str = "both",
    lateral_norm: bool = True,
    nonlocal_blocks: str = "",
    weighing: str = "dot_product",
    slow_temporal_blocks: int = 23,
    fast_temporal_blocks: int = 23,
) -> SlowFast:
    """SlowFast with 101 layers, 8x8 by default; ``fast_frames=64`` makes it 16x8.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside.
        alpha, beta, fusion_ratio, fusion_kernel, picking, fast_frames: As of :func:`slowfast_50`.
        reduced_paths, lateral_norm, nonlocal_blocks, weighing: As of :func:`slowfast_50`.
        slow_temporal_blocks, fast_temporal_blocks: How many of the longest stage's 23 bottlenecks look over time in
            each pathway: all in PySlowFast's R101_101_101, the first 6 in R101_50_50.
    """
    return SlowFast(
        (3, 4, 23, 3),
        channels_in,
        width,
        alpha=alpha,
        beta=beta,
        fusion_ratio=fusion_ratio,
        fusion_kernel=fusion_kernel,
        picking=picking,
        fast_frames=fast_frames,
        reduced_paths=reduced_paths,
        lateral_norm=lateral_norm,
        nonlocal_blocks=nonlocal_blocks,
        weighing=weighing,
        slow_temporal_blocks=slow_temporal_blocks,
        fast_temporal_blocks=fast_temporal_blocks,
    )
