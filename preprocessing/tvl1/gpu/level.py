"""Settings of one level of the pyramid, as both solvers of a level take them."""

from dataclasses import dataclass

import torch

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
