"""Parameters of TV-L1, with OpenCV's names and defaults."""

from dataclasses import dataclass

from preprocessing.errors import ConfigError


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
    """Warps of the second image per level."""
    epsilon: float = 0.01
    """Stop when the flow changes by less than this, in pixels (RMS) per iteration."""
    inner_iterations: int = 30
    """Most iterations between two median filters."""
    outer_iterations: int = 10
    """Most rounds of median filter and inner iterations per warp."""
    median_filtering: int = 5
    """Side of the median filter in pixels: 1 (off), 3 or 5."""
    coarse_warps: int = 0
    """Warps per level below the finest; 0: as many as ``warps``. Ours, not OpenCV's."""
    coarse_epsilon: float = 0.0
    """``epsilon`` of the levels below the finest; 0: the same. Ours, not OpenCV's."""
    estimates: bool = False
    """Roots and quotients by the estimate instructions of x86, numba only: results differ from CPU to CPU."""

    def __post_init__(self) -> None:
        for name in ("tau", "lambda_", "theta", "epsilon"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"tvl1.{name} must be positive, got {getattr(self, name)}.")
        for name in ("nscales", "warps", "inner_iterations", "outer_iterations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"tvl1.{name} must be at least 1, got {getattr(self, name)}.")
        if self.coarse_warps < 0 or self.coarse_epsilon < 0:
            raise ConfigError("tvl1.coarse_warps and coarse_epsilon must not be negative; 0 means: as at the finest.")
        if not 0 < self.scale_step < 1:
            raise ConfigError(f"tvl1.scale_step must lie strictly between 0 and 1, got {self.scale_step}.")
        if self.median_filtering not in (1, 3, 5):
            raise ConfigError(f"tvl1.median_filtering must be 1, 3 or 5 (pixels), got {self.median_filtering}.")

    def warps_at(self, level: int) -> int:
        """Warps at a level of the pyramid, 0 the finest."""
        return self.coarse_warps if level and self.coarse_warps else self.warps

    def epsilon_at(self, level: int) -> float:
        """Threshold of the stop test at a level of the pyramid, 0 the finest."""
        return self.coarse_epsilon if level and self.coarse_epsilon else self.epsilon


PRESETS = {
    "classic": TvL1Params(),
    "wide": TvL1Params(scale_step=0.5),
    "fast": TvL1Params(warps=3, coarse_warps=2, coarse_epsilon=0.02, outer_iterations=2),
}
"""classic: OpenCV's defaults, what published flow weights were trained on; wide: reaches motions of 20 px and more;
fast: fewer warps and iterations."""
