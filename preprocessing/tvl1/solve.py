"""The one entry to TV-L1, whatever solves it.

Axes: T frames, H height, W width, 2 components (x, y).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from preprocessing.tvl1.opencv import solve_opencv
from preprocessing.tvl1.params import TvL1Params

Backend = Literal["auto", "opencv"]
MIN_SIDE = 16
"""Shortest side that has a pyramid level, in pixels."""


def tvl1_flow(
    grey_THW: NDArray[np.uint8], params: TvL1Params | None = None, backend: Backend = "auto"
) -> NDArray[np.float32]:
    """Estimate dense optical flow between neighbouring frames.

    Args:
        grey_THW: Grey frames in display order, values 0..255, shape ``(T, H, W)`` with T >= 2, H and W >= 16.
        params: Solver parameters; OpenCV's defaults if None.
        backend: Who solves it. The result does not depend on it beyond rounding. ``auto`` takes the fastest here.

    Returns:
        Flow of shape ``(T - 1, 2, H, W)``. Channel 0 is the displacement to the right, channel 1 the displacement
        downwards, both in pixels per frame step. Field ``t`` carries frame ``t`` to frame ``t + 1``.

    Raises:
        ValueError: If ``grey_THW`` is not a ``uint8`` array of that shape, or there is no such backend.

    Source:
        Zach, Pock & Bischof, "A duality based approach for realtime TV-L1 optical flow", DAGM 2007.
    """
    if grey_THW.ndim != 3 or grey_THW.dtype != np.uint8 or len(grey_THW) < 2:
        raise ValueError(f"expected uint8 (T >= 2, H, W), got {grey_THW.dtype} {grey_THW.shape}")
    if min(grey_THW.shape[1:]) < MIN_SIDE:
        raise ValueError(f"expected frames of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {grey_THW.shape[1:]}")
    if backend not in ("auto", "opencv"):
        raise ValueError(f"there is no TV-L1 backend {backend!r}; there are: auto, opencv")
    return solve_opencv(grey_THW, params or TvL1Params())
