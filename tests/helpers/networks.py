"""Every network in small: which there are, how they are combined, and what they are fed."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import MODALITIES
from kinebert.training.models import BACKBONES, HEADS, Recognizer, build_recognizer
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import REDUCTIONS, takes_paths
from kinebert.training.models.sizes.unallocated import unallocated

NUM_CLASSES, SIZE = 5, 32
_LETTERS = ("xs", "s", "m", "l", "xl")
_LENGTHS, _SIZES = (4, 8, 16, 32, 64), (SIZE, 64, 112, 224)
MAP_HEADS = [head for head in sorted(HEADS) if not takes_paths(head)]
PATH_HEADS = [head for head in sorted(HEADS) if takes_paths(head)]


@dataclass(frozen=True)
class Combination:
    """Arguments of ``build_recognizer``."""

    backbone: str
    head: str
    modality: str = "rgb"
    reduction: str | None = None

    def __str__(self) -> str:
        return "-".join(part for part in (self.backbone, self.reduction, self.head, self.modality) if part)

    @property
    def clip_length(self) -> int:
        """Frames of the smallest clip that the network takes."""
        return smallest_clip(self.backbone)[0]

    def build(self, **changes: Any) -> Recognizer:
        return build_recognizer(
            **{
                "backbone": self.backbone,
                "reduction": self.reduction,
                "head": self.head,
                "modality": self.modality,
                "num_classes": NUM_CLASSES,
                "clip_length": self.clip_length,
                "size": smallest_clip(self.backbone)[1],
                "width": 0.125,
                "reduction_width": 128,
                "dropout": 0.5,
                **changes,
            }
        )

    def param(self, *marks: Any) -> Any:
        return pytest.param(self, id=str(self), marks=marks)


@cache
def smallest_clip(backbone: str) -> tuple[int, int]:
    """Frames and pixels of the smallest clip, if may be with two time steps of each pathway left: an order to see."""
    with unallocated():
        net = BACKBONES[backbone].build(channels_in=3, width=0.125)
    taken = [(frames, size) for size in _SIZES for frames in _LENGTHS if admits(net, frames, size)]
    return next((clip for clip in taken if min(net.path_steps(clip[0])) >= 2), taken[0])


def admits(net: Backbone, frames: int, size: int) -> bool:
    """Whether a network takes clips of three channels, of so many frames and pixels."""
    try:
        net.check_input(3, frames, size, size)
    except ConfigError:
        return False
    return True


def one_of_each_family() -> list[str]:
    """Of every module the smallest backbone, as its name says: what is tried in the fast tests."""
    families: dict[str, list[tuple[int, int, str]]] = {}
    for name, entry in BACKBONES.items():
        layers = int((re.findall(r"\d+", name) or ["0"])[-1])
        letters = name.rpartition("_")[2]
        rank = _LETTERS.index(letters) if letters in _LETTERS else 0
        families.setdefault(entry.build.__module__, []).append((layers, rank, name))
    return sorted(min(names)[2] for names in families.values())


@cache
def reductions(backbone: str) -> list[str | None]:
    """None, and those that the backbone has."""
    found: list[str | None] = [None]
    for reduction in REDUCTIONS:
        try:
            with unallocated():
                REDUCTIONS[reduction](BACKBONES[backbone].build(channels_in=3, width=0.125), 128)
            found.append(reduction)
        except ConfigError:
            continue
    return found


def backbones_by_modality() -> list[Combination]:
    """Every backbone with every modality; heads and reductions in turn."""
    heads = itertools.cycle(MAP_HEADS)
    found = []
    for backbone in sorted(BACKBONES):
        kinds = itertools.cycle(reductions(backbone))
        found += [Combination(backbone, next(heads), modality, next(kinds)) for modality in sorted(MODALITIES)]
    return found


def heads_by_reduction() -> list[Combination]:
    """Every head with every reduction; three small backbones in turn, and one with pathways where they are needed."""
    small = itertools.cycle(["i3d", "resnet18", "resnet3d_18"])
    found = [Combination(next(small), head, "rgb", kind) for kind in (None, *REDUCTIONS) for head in MAP_HEADS]
    return found + [
        Combination("slowfast_50", head, "rgb", kind) for kind in (None, *REDUCTIONS) for head in PATH_HEADS
    ]


def several_streams() -> list[Combination]:
    """Networks of several streams: scores fused, and tokens, of two and of three."""
    return [
        Combination("resnet18", "bert", "rgb+flow"),
        Combination("resnet18", "bert_tokens", "rgb+flow", "frmb"),
        Combination("resnet3d_18", "none", "flow+rgb"),
        Combination("i3d", "bert_tokens", "rgb+flow+pose"),
        Combination("slowfast_50", "lstm", "rgb+flow"),
    ]


def one_of_each() -> Iterator[Combination]:
    """Every backbone once, and every head once."""
    backbones = sorted(BACKBONES)
    yield from (Combination(backbone, "bert", "flow", reductions(backbone)[-1]) for backbone in backbones)
    yield from (Combination("resnet18", head) for head in MAP_HEADS)
    yield from (Combination("slowfast_50", head) for head in PATH_HEADS)
    yield from several_streams()[:2]


def clips(net: Recognizer, count: int = 2, length: int | None = None) -> torch.Tensor:
    size = net.spec.crop_size
    return torch.randn(count, len(net.spec.mean), length or net.spec.num_frames, size, size)
