"""Joints: peaks of the heat maps, each at the centre of mass of what surrounds it.

Source: OpenPose's ``nmsBase.cpp`` and ``nmsBase.cu``.

Axes: J joints, H height, W width, K peaks, 3 numbers (x, y, score), 7x7 pixels around a peak.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Places = NDArray[np.intp]
REACH = 3
"""Pixels around a peak that its position is the centre of mass of, to each side."""
_MOST = 127
"""Peaks of one joint."""
_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)


class Candidates(NamedTuple):
    """Pixels that no neighbour exceeds, joint by joint and row by row."""

    joint: Places
    y: Places
    x: Places
    window: Float
    """What surrounds them; 0 outside of the map. ``(K, 7, 7)``."""


def candidates(heat_above: Callable[[int, float], tuple[Float, int, int]], joints: int, threshold: float) -> Candidates:
    """Return the pixels of each heat map that are above ``threshold`` and not below any neighbour.

    Args:
        heat_above: Given a joint and the threshold, returns a part of its map, and the row and column it starts at.
        joints: J.
        threshold: The threshold.
    """
    found = []
    for joint in range(joints):
        heat_HW, top, left = heat_above(joint, threshold)
        if heat_HW.size:
            highest_HW = cv2.dilate(heat_HW, _NEIGHBOURHOOD)
            y_K, x_K = np.nonzero((heat_HW == highest_HW) & (heat_HW > threshold))
            found.append((np.full(len(y_K), joint), y_K + top, x_K + left, _windows(heat_HW, y_K, x_K)))
    if not found:
        none = np.zeros(0, np.intp)
        return Candidates(none, none, none, np.zeros((0, 2 * REACH + 1, 2 * REACH + 1), np.float32))
    return Candidates(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _windows(heat_HW: Float, y_K: Places, x_K: Places) -> Float:
    height, width = heat_HW.shape
    around = np.arange(-REACH, REACH + 1)
    y_K71, x_K17 = (y_K[:, None] + around)[:, :, None], (x_K[:, None] + around)[:, None, :]
    inside_K77 = (y_K71 >= 0) & (y_K71 < height) & (x_K17 >= 0) & (x_K17 < width)
    window_K77: Float = heat_HW[y_K71.clip(0, height - 1), x_K17.clip(0, width - 1)] * inside_K77
    return window_K77


def peaks(found: Candidates, joints: int, size: tuple[int, int], offset: float, *, as_cuda: bool) -> list[Float]:
    """Return the peaks ``(K, 3)`` of each joint, row by row.

    Args:
        found: Pixels that may be peaks.
        joints: J.
        size: H and W of the maps.
        offset: What to add to x and y.
        as_cuda: Take the rule of OpenPose's kernels at the border: higher than every neighbour, and not on it. Its CPU
            code has the same in the interior, but takes equals one pixel from the border, and some pixels on it.
    """
    height, width = size
    _, y_K, x_K, window_K77 = found
    middle_K33 = window_K77[:, REACH - 1 : REACH + 2, REACH - 1 : REACH + 2].reshape(-1, 9)
    score_K = middle_K33[:, 4]
    strict_K = (middle_K33 >= score_K[:, None]).sum(1) == 1
    inside = 1 if as_cuda else 2
    kept_K = strict_K & (y_K >= inside) & (y_K < height - inside) & (x_K >= inside) & (x_K < width - inside)
    if not as_cuda:
        near_K = (x_K == 1) | (x_K == width - 2) | (y_K == 1) | (y_K == height - 2)
        kept_K |= near_K
    mass_K77 = np.maximum(window_K77, 0)
    around = np.arange(-REACH, REACH + 1, dtype=np.float32)
    total_K = mass_K77.sum((1, 2))
    with np.errstate(invalid="ignore"):  # a threshold below 0 is refused, so a peak that is kept has a mass
        x_at_K = x_K + (mass_K77.sum(1) @ around) / total_K + offset
        y_at_K = y_K + (mass_K77.sum(2) @ around) / total_K + offset
    peaks_K3 = np.stack((x_at_K, y_at_K, score_K), 1).astype(np.float32)
    return [peaks_K3[kept_K & (found.joint == joint)][:_MOST] for joint in range(joints)]
