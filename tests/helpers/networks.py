"""Every network in small: which there are, how they are combined, and what they are fed."""

import itertools
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
        """Frames that leave two time steps, so that there is an order to see."""
        steps = _small(self.backbone).num_steps
        return next(frames for frames in (4, 8, 16, 32, 64) if steps(frames) >= 2)

    def build(self, **changes: Any) -> Recognizer:
        return build_recognizer(
            **{
                "backbone": self.backbone,
                "reduction": self.reduction,
                "head": self.head,
                "modality": self.modality,
                "num_classes": NUM_CLASSES,
                "clip_length": self.clip_length,
                "size": SIZE,
                "width": 0.125,
                "reduction_width": 128,
                "dropout": 0.5,
                **changes,
            }
        )

    def param(self, *marks: Any) -> Any:
        return pytest.param(self, id=str(self), marks=marks)


@cache
def _small(backbone: str) -> Backbone:
    with unallocated():
        return build_recognizer(backbone=backbone, head="tgap", num_classes=1, width=0.125).backbone


@cache
def reductions(backbone: str) -> list[str | None]:
    """None, and those that the backbone has."""
    found: list[str | None] = [None]
    for reduction in REDUCTIONS:
        try:
            with unallocated():
                build_recognizer(backbone=backbone, reduction=reduction, head="tgap", num_classes=1, width=0.125)
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


def one_of_each() -> Iterator[Combination]:
    """Every backbone once, and every head once."""
    backbones = sorted(BACKBONES)
    yield from (Combination(backbone, "bert", "flow", reductions(backbone)[-1]) for backbone in backbones)
    yield from (Combination("resnet18", head) for head in MAP_HEADS)
    yield from (Combination("slowfast_50", head) for head in PATH_HEADS)


def clips(net: Recognizer, count: int = 2, length: int | None = None) -> torch.Tensor:
    return torch.randn(count, len(net.spec.mean), length or net.spec.num_frames, SIZE, SIZE)
