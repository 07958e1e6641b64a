"""One level of the pyramid: its settings, and what solvers of a level promise.

Axes: B pairs, H height, W width, 2 components of flow (x, y), 3 planes (image, x gradient, y gradient).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kinebert.preprocessing.tvl1.params import TvL1Params
from kinebert.preprocessing.tvl1.pyramid import level_sizes


@dataclass(frozen=True, kw_only=True)
class LevelParams:
    """One level, with OpenCV's names where it has them."""

    height: int
    width: int
    warps: int
    inner_iterations: int
    outer_iterations: int
    median_filtering: int
    threshold: float
    """A pair stops when the sum of its squared change, in square pixels, is not above this."""
    tau: float
    limit: float
    """``lambda * theta``: the data term moves a pixel by at most this times the gradient."""
    dual_step: float
    """``tau / theta``."""
    dual_dtype: torch.dtype
    """How dual variables are kept between iterations: float32, or int16; arithmetic is float32."""

    @property
    def dual_scale(self) -> float:
        """What int16 counts per unit. Dual variables are at most ``1 / dual_step``, so that rounding never wraps."""
        return 32000 * self.dual_step


def all_levels(height: int, width: int, params: TvL1Params, dual_dtype: torch.dtype) -> tuple[LevelParams, ...]:
    """Return the settings of every level for frames of ``height x width``, the finest first."""
    sizes = level_sizes(height, width, params)
    return tuple(_level(params, i, size, dual_dtype) for i, size in enumerate(sizes))


def _level(params: TvL1Params, level: int, size: tuple[int, int], dual_dtype: torch.dtype) -> LevelParams:
    height, width = size
    return LevelParams(
        height=height,
        width=width,
        warps=params.warps_at(level),
        inner_iterations=params.inner_iterations,
        outer_iterations=params.outer_iterations,
        median_filtering=params.median_filtering,
        threshold=params.epsilon_at(level) ** 2 * height * width,
        tau=params.tau,
        limit=params.lambda_ * params.theta,
        dual_step=params.tau / params.theta,
        dual_dtype=dual_dtype,
    )


class Late(NamedTuple):
    """Pairs of a batch that take so long on a level that the others do not wait for them."""

    pairs: list[int]
    """Their places in the batch."""
    solver: "LevelSolver"
    """Who solves them, from the start of this level on."""
    start: Callable[[Callable[[], Tensor]], Future[Tensor]]
    """Has that done beside the others."""


class LevelSolver(Protocol):
    """Improves the flow of a batch on one level after another."""

    @property
    def capacity(self) -> int:
        """Most pairs of a batch."""

    @property
    def levels(self) -> tuple[LevelParams, ...]:
        """Settings of every level, the finest first."""

    @property
    def turn(self) -> AbstractContextManager[object]:
        """Held while a batch is solved."""

    def solve_level(
        self, index: int, first_BHW: Tensor, second_B3HW: Tensor, flow_B2HW: Tensor, without: Sequence[int] = ()
    ) -> tuple[Tensor, Late | None]:
        """Solve at most ``capacity`` pairs on level ``index``, but for those ``without``.

        Returns:
            The flow, in a new tensor; and the pairs that it left, whose flow there means nothing, as that of those
            without. It leaves pairs at most once in a batch, and never on the finest level.
        """
