"""R(2+1)D: a 3D residual network whose convolutions are split into a spatial and a temporal one.

Source: "A closer look at spatiotemporal convolutions for action recognition", CVPR 2018, arXiv:1711.11248.
Four families are published: ``ig65m`` (VMZ, and "Large-scale weakly-supervised pre-training for video action
recognition", CVPR 2019, arXiv:1905.00561; 34 layers, eps 1e-3), ``torchvision`` (18 layers; its blocks take the middle
width of their first convolution for both), ``hara`` ("Would mega-scale datasets further enhance spatiotemporal 3D
CNNs?", arXiv:2004.04968; 18, 34 and 50 layers, a stem over 7 frames with a pool, T / 16), and ``srtg`` ("Learn to
cycle: time-consistent feature discovery for action recognition", arXiv:2006.08247; a stem over 3 frames with a pool,
T / 16, bottlenecks as wide outside as inside; published with recurrent cells, see ``backbones/recurrent/srtg.py``).
Two more have a pool of pictures behind the stem: ``vmz`` (152 layers, else as ``ig65m``), and ``mmaction2`` (34 layers;
a wider stem, shortcuts that are factorised as well, and eps 1e-5 inside a factorised convolution).

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Residual, ResidualTrunk, convolution, projection
from kinebert.training.models.inputs import FLOW, HARA, KINETICS
from kinebert.training.models.registry import register_backbone

Norm = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Family:
    """What tells one published family of R(2+1)D from another."""

    eps: float
    """What batch norms add to a variance."""
    stem_middle: int
    """Channels between the stem's two convolutions."""
    stem_frames: int
    """Frames that the stem looks at."""
    pool: tuple[int, int, int] | None
    """Steps in T, H and W of a pool behind the stem, if there is one."""
    one_middle: bool
    """Whether every factorised convolution of a block has the middle width that the block's own channels give."""
    expansion: int = 4
    """How many times as wide as inside a bottleneck is outside."""
    factored_shortcut: bool = False
    """Whether a projected shortcut is factorised as well."""
    inner_eps: float | None = None
    """What batch norms inside factorised convolutions add, where it is something else."""


FAMILIES = {
    "ig65m": Family(eps=1e-3, stem_middle=45, stem_frames=3, pool=None, one_middle=False),
    "torchvision": Family(eps=1e-5, stem_middle=45, stem_frames=3, pool=None, one_middle=True),
    "hara": Family(eps=1e-5, stem_middle=110, stem_frames=7, pool=(2, 2, 2), one_middle=False),
    "srtg": Family(eps=1e-5, stem_middle=45, stem_frames=3, pool=(2, 2, 2), one_middle=True, expansion=1),
    "vmz": Family(eps=1e-3, stem_middle=45, stem_frames=3, pool=(1, 2, 2), one_middle=False),
    "mmaction2": Family(
        eps=1e-3,
        stem_middle=83,
        stem_frames=3,
        pool=(1, 2, 2),
        one_middle=False,
        factored_shortcut=True,
        inner_eps=1e-5,
    ),
}


@dataclass(frozen=True)
class Norms:
    """What makes the batch norms of a network."""

    outer: Norm
    """Those behind whole convolutions."""
    inner: Norm
    """Those between the two halves of factorised ones."""
    factored_shortcut: bool


def middle_width(channels_in: int, channels_out: int, area: int = 9) -> int:
    """Return the channels in the middle that give both parts as many weights as one (3, 3, 3) convolution.

    ``area`` is that of the kernel in a frame; the kernel is 3 frames long.
    """
    return max(1, (3 * area * channels_in * channels_out) // (area * channels_in + 3 * channels_out))


class Conv2Plus1d(nn.Sequential):
    """A (1, 3, 3) convolution to ``middle`` channels, then a (3, 1, 1) one; of ``size`` 1 each in a shortcut."""

    def __init__(
        self, channels_in: int, middle: int, channels_out: int, step: int, norms: Norms, size: int = 3
    ) -> None:
        super().__init__(
            convolution(channels_in, middle, (1, size, size), (1, step, step)),
            norms.inner(middle),
            nn.ReLU(inplace=True),
            convolution(middle, channels_out, (size, 1, 1), (step, 1, 1)),
        )


class BasicBlock(Residual):
    """Two factorised convolutions around a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, step: int, norms: Norms, one_middle: bool) -> None:
        super().__init__(_shortcut(channels_in, channels_out, step, norms))
        first = middle_width(channels_in, channels_out)
        second = first if one_middle else middle_width(channels_out, channels_out)
        self.conv1 = nn.Sequential(
            Conv2Plus1d(channels_in, first, channels_out, step, norms), norms.outer(channels_out), nn.ReLU(inplace=True)
        )
        self.conv2 = nn.Sequential(Conv2Plus1d(channels_out, second, channels_out, 1, norms), norms.outer(channels_out))

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T / step, H / step, W / step)``, without the last ReLU."""
        out: Tensor = self.conv2(self.conv1(x))
        return out


class Bottleneck(Residual):
    """A factorised convolution on ``planes`` channels, between two convolutions of size 1."""

    def __init__(
        self, channels_in: int, planes: int, channels_out: int, step: int, norms: Norms, one_middle: bool = False
    ) -> None:
        super().__init__(_shortcut(channels_in, channels_out, step, norms))
        one, middle = (1, 1, 1), middle_width(channels_in if one_middle else planes, planes)
        self.conv1 = nn.Sequential(
            convolution(channels_in, planes, one, one), norms.outer(planes), nn.ReLU(inplace=True)
        )
        self.conv2 = nn.Sequential(
            Conv2Plus1d(planes, middle, planes, step, norms), norms.outer(planes), nn.ReLU(inplace=True)
        )
        self.conv3 = nn.Sequential(convolution(planes, channels_out, one, one), norms.outer(channels_out))

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T / step, H / step, W / step)``, without the last ReLU."""
        out: Tensor = self.conv3(self.conv2(self.conv1(x)))
        return out


def _shortcut(channels_in: int, channels_out: int, step: int, norms: Norms) -> nn.Module | None:
    if step == 1 and channels_in == channels_out:
        return None
    if not norms.factored_shortcut:
        return projection(channels_in, channels_out, (step,) * 3, norms.outer)
    middle = middle_width(channels_in, channels_out, 1)
    halves = Conv2Plus1d(channels_in, middle, channels_out, step, norms, size=1)
    return nn.Sequential(halves, norms.outer(channels_out))


def _stem(channels_in: int, channels_out: int, width: float, family: Family, norms: Norms) -> nn.Sequential:
    middle = max(1, round(family.stem_middle * width))
    layers = [
        convolution(channels_in, middle, (1, 7, 7), (1, 2, 2)),
        norms.inner(middle),
        nn.ReLU(inplace=True),
        convolution(middle, channels_out, (family.stem_frames, 1, 1), (1, 1, 1)),
        norms.outer(channels_out),
        nn.ReLU(inplace=True),
    ]
    if family.pool is None:
        return nn.Sequential(*layers)
    reach = tuple(2 * step - 1 for step in family.pool)  # 3 where it makes steps
    return nn.Sequential(*layers, nn.MaxPool3d(reach, family.pool, tuple(length // 2 for length in reach)))


class R2Plus1d(ResidualTrunk):
    """R(2+1)D trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 8, H / 16, W / 16)``, rounded up.

    Families ``hara`` and ``srtg`` leave half of each, ``vmz`` and ``mmaction2`` half of H and W.

    Args:
        blocks: Residual blocks of each of the four stages.
        bottleneck: Whether they are bottlenecks, instead of basic blocks. F is 512, for bottlenecks times the family's
            expansion.
        channels_in: C.
        width: Multiplier of every number of channels inside.
        family: Key of :data:`FAMILIES`.
        momentum: Of the batch norms' running statistics. The IG-65M weights were trained, and fine-tuned by the BERT
            papers, with 0.9, which lets them follow the last batch alone: harmless with their batches, not with the
            small ones of a small machine.
    """

    def __init__(
        self, blocks: Sequence[int], bottleneck: bool, channels_in: int, width: float, family: str, momentum: float
    ) -> None:
        positive(width=width, momentum=momentum)
        kind = find(FAMILIES, family, "family of R(2+1)D")
        norm = partial(nn.BatchNorm3d, eps=kind.eps, momentum=momentum)
        inner = norm if kind.inner_eps is None else partial(norm, eps=kind.inner_eps)
        norms = Norms(norm, inner, kind.factored_shortcut)
        planes = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        expansion = kind.expansion if bottleneck else 1

        def block(_: int, before: int, after: int, step: int) -> nn.Module:
            if not bottleneck:
                return BasicBlock(before, after, step, norms, kind.one_middle)
            return Bottleneck(before, after // expansion, after, step, norms, kind.one_middle)

        super().__init__(
            channels_in,
            _stem(channels_in, planes[0], width, kind, norms),
            blocks,
            [planes[0], *(expansion * channels for channels in planes[1:])],
            block,
        )
        self.temporal_stride = 8 if kind.pool is None else 8 * kind.pool[0]
        self.norms = norms

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a factorised bottleneck half as wide inside; the papers reduce no R(2+1)D."""
        return Bottleneck(channels_in, max(1, channels_out // 2), channels_out, 1, self.norms)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def r2plus1d_18(channels_in: int = 3, width: float = 1.0, *, family: str = "ig65m", momentum: float = 0.1) -> R2Plus1d:
    """R(2+1)D with 18 layers."""
    return R2Plus1d((2, 2, 2, 2), False, channels_in, width, family, momentum)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def r2plus1d_34(channels_in: int = 3, width: float = 1.0, *, family: str = "ig65m", momentum: float = 0.1) -> R2Plus1d:
    """R(2+1)D with 34 layers."""
    return R2Plus1d((3, 4, 6, 3), False, channels_in, width, family, momentum)


@register_backbone(rgb=HARA, flow=FLOW, pose=HARA)
def r2plus1d_50(channels_in: int = 3, width: float = 1.0, *, family: str = "hara", momentum: float = 0.1) -> R2Plus1d:
    """R(2+1)D with 50 layers."""
    return R2Plus1d((3, 4, 6, 3), True, channels_in, width, family, momentum)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def r2plus1d_152(channels_in: int = 3, width: float = 1.0, *, family: str = "vmz", momentum: float = 0.1) -> R2Plus1d:
    """R(2+1)D with 152 layers."""
    return R2Plus1d((3, 8, 36, 3), True, channels_in, width, family, momentum)
