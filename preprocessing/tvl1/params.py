"""Parameters of TV-L1, with OpenCV's names and defaults."""

from dataclasses import dataclass

from kinebert.preprocessing.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TvL1Params:
    """What OpenCV's ``DualTVL1OpticalFlow`` is given; the defaults are its own, and what published flow was made with.

    Source: Zach, Pock & Bischof, DAGM 2007; Sanchez, Meinhardt-Llopis & Facciolo, IPOL 3 (2013).
    """

    tau: float = 0.25
    """Time step of the dual scheme."""
    lambda_: float = 0.15
    """Weight of the data term; smaller gives smoother flow."""
    theta: float = 0.3
    """Tightness of the coupling between the data term and the smoothness term."""
    nscales: int = 5
    """Most levels of the pyramid; a level below 16 pixels is left out."""
    scale_step: float = 0.8
    """Ratio between neighbouring levels of the pyramid."""
    warps: int = 5
    """Warps of the second image per level. 3 everywhere costs 0.04 px of end-point error, 2 costs 0.07."""
    epsilon: float = 0.01
    """Stop when the flow changes by less than this, in pixels (RMS) per iteration. 0.015 costs 0.06 px, 0.02 0.09."""
    inner_iterations: int = 30
    """Most iterations between two median filters."""
    outer_iterations: int = 10
    """Most rounds of median filter and inner iterations per warp. 3 costs 0.01 px, 2 costs 0.02, more where much moves;
    each makes a scene cut 3 to 5 times cheaper."""
    median_filtering: int = 5
    """Side of the median filter in pixels: 1 (off), 3 or 5."""
    level_warps: tuple[int, ...] = ()
    """Warps of each level, the finest first; the last value holds for the rest. Empty: ``warps`` at all. Not in OpenCV.
    Fewer at fine levels cost little (2 at the finest two: 0.06 px), at coarse ones they lose large motions."""
    level_epsilon: tuple[float, ...] = ()
    """The same for ``epsilon``."""
    estimates: bool = False
    """Roots and quotients by the estimate instructions of x86, numba only: results differ from CPU to CPU."""

    def __post_init__(self) -> None:
        for name in ("tau", "lambda_", "theta", "epsilon"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"tvl1.{name} must be positive, got {getattr(self, name)}.")
            object.__setattr__(self, name, float(getattr(self, name)))  # 1 and 1.0 are one digest
        for name in ("nscales", "warps", "inner_iterations", "outer_iterations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"tvl1.{name} must be at least 1, got {getattr(self, name)}.")
        if any(value < 1 for value in self.level_warps) or any(value <= 0 for value in self.level_epsilon):
            found = f"{list(self.level_warps)} and {list(self.level_epsilon)}"
            raise ConfigError(f"tvl1.level_warps must be at least 1 and tvl1.level_epsilon positive, got {found}.")
        if not 0 < self.scale_step < 1:
            raise ConfigError(f"tvl1.scale_step must lie strictly between 0 and 1, got {self.scale_step}.")
        if self.median_filtering not in (1, 3, 5):
            raise ConfigError(f"tvl1.median_filtering must be 1, 3 or 5 (pixels), got {self.median_filtering}.")

    def warps_at(self, level: int) -> int:
        """Warps at a level of the pyramid, 0 the finest."""
        return self.level_warps[min(level, len(self.level_warps) - 1)] if self.level_warps else self.warps

    def epsilon_at(self, level: int) -> float:
        """Threshold of the stop test at a level of the pyramid, 0 the finest."""
        return self.level_epsilon[min(level, len(self.level_epsilon) - 1)] if self.level_epsilon else self.epsilon


PRESETS = {
    "classic": TvL1Params(),
    "wide": TvL1Params(scale_step=0.5),
    "fast": TvL1Params(
        level_warps=(2, 1, 2, 4, 8), level_epsilon=(0.01, 0.014, 0.0105, 0.01, 0.01), outer_iterations=6
    ),
}
"""classic: OpenCV's defaults, what published flow weights were trained on; wide: reaches motions of 20 px and more;
fast: 1.6 times as fast as classic, 0.04 px away from it on moving pairs from all over many clips, 0.08 px on pairs
chosen for large motions."""
