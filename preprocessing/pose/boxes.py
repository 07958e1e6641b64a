"""Boxes around people: how much of each other they cover, and which are of one person.

Axes: N boxes, 4 is (left, top, right, bottom) in any unit.
"""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]


def overlaps(box_4: Float, boxes_N4: Float) -> NDArray[np.float64]:
    """Return the area that each of ``boxes_N4`` shares with ``box_4``, over the area of both together, 0 to 1."""
    low_N2, high_N2 = np.maximum(box_4[:2], boxes_N4[:, :2]), np.minimum(box_4[2:], boxes_N4[:, 2:])
    shared_N = np.prod(np.maximum(high_N2 - low_N2, 0), axis=1, dtype=np.float64)
    area_N = np.prod(np.maximum(boxes_N4[:, 2:] - boxes_N4[:, :2], 0), axis=1, dtype=np.float64)
    both_N = area_N + np.prod(np.maximum(box_4[2:] - box_4[:2], 0), dtype=np.float64) - shared_N
    return np.asarray(np.divide(shared_N, both_N, out=np.zeros_like(shared_N), where=both_N > 0))


def without_doubles(boxes_N4: Float, scores_N: Float, overlap: float) -> NDArray[np.intp]:
    """Return which boxes to keep, the surest first: one that overlaps a surer one by more than ``overlap`` goes."""
    left, kept = np.argsort(-scores_N, kind="stable"), []
    while len(left):
        kept.append(left[0])
        left = left[1:][overlaps(boxes_N4[left[0]], boxes_N4[left[1:]]) <= overlap]
    return np.array(kept, np.intp)
