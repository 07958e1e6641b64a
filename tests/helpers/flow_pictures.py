"""Pictures that move as is known, and which solvers are tried on them.

Axes: T frames, H height, W width, 2 flow components (x, y).
"""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.tvl1 import Backend, TvL1Params
from tests.helpers.videos import smooth

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

BACKENDS: tuple[Backend, ...] = ("opencv", "numba", "torch")
OURS: tuple[Backend, ...] = ("numba", "torch")
BRIEF = TvL1Params(warps=2, inner_iterations=4, outer_iterations=2, epsilon=1e-6)
"""So few iterations that solvers differ by rounding only, and that a test takes no time."""

every_backend = pytest.mark.parametrize("backend", BACKENDS)
each_of_ours = pytest.mark.parametrize("backend", OURS)


def texture(motion_23: Sequence[Sequence[float]], size: tuple[int, int] = (160, 120), grain: float = 3) -> UInt8:
    """Return a smooth random texture of ``size`` (width, height), moved by an affine map about its middle.

    Args:
        motion_23: Where a point (x, y), in pixels from the middle, goes: ``motion_23 @ (x, y, 1)``.
        size: Width and height in pixels.
        grain: Sigma of the blur in pixels: the size of the texture's features.
    """
    width, height = size[0] + 80, size[1] + 80
    noise = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    matrix = np.array(motion_23, np.float64)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] += middle - matrix[:, :2] @ middle
    moved = cv2.warpAffine(
        smooth(noise, grain), matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.clip(np.rint(moved[40:-40, 40:-40]), 0, 255).astype(np.uint8)


def shift(dx: float, dy: float) -> list[list[float]]:
    return [[1, 0, dx], [0, 1, dy]]


def true_flow(motion_23: Sequence[Sequence[float]], size: tuple[int, int] = (160, 120)) -> Float32:
    """Displacement ``(2, H, W)`` of every point of :func:`texture` ``(shift(0, 0), size)``."""
    x_HW, y_HW = np.meshgrid(np.arange(size[0]) - (size[0] - 1) / 2, np.arange(size[1]) - (size[1] - 1) / 2)
    points = np.stack([x_HW, y_HW, np.ones_like(x_HW)])
    return (np.tensordot(np.array(motion_23), points, 1) - points[:2]).astype(np.float32)


def error_px(flow_2HW: Float32, truth_2HW: Float32) -> Float32:
    """Return the end-point error away from the border, where flow has no data to rest on."""
    return np.hypot(*(flow_2HW - truth_2HW))[16:-16, 16:-16]


def random_frames(height: int, width: int, count: int = 2, seed: int = 0) -> UInt8:
    """Blurred noise ``(count, H, W)`` that moves a little and changes a little from frame to frame."""
    rng = np.random.default_rng(seed)
    noise_HW = cv2.GaussianBlur(rng.uniform(0, 255, (height + 8, width + 8)).astype(np.float32), (0, 0), 1.5)
    noise_HW = (noise_HW - noise_HW.min()) * (255 / np.ptp(noise_HW))
    frames = [noise_HW[t % 4 : height + t % 4, t % 3 : width + t % 3] for t in range(count)]
    return np.stack([np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8) for frame in frames])
