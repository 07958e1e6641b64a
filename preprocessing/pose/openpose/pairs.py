"""Limbs: how well the fields speak for each pair of joints.

Source: OpenPose's ``bodyPartConnectorBase.cpp``.

Axes: K pairs or points, N peaks of a joint, 3 numbers (x, y, score).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.openpose.maps import Maps
from kinebert.preprocessing.pose.openpose.models import BodyModel
from kinebert.preprocessing.pose.openpose.settings import Thresholds

Float = NDArray[np.float32]
Places = NDArray[np.intp]
_FEWEST, _MOST = 5, 25
_LEAST_SCORE = 1e-6
_FIRST_LOOK = 4
"""Every so manieth point of a pair is looked at first: most pairs are ruled out by those."""


class Pairs(NamedTuple):
    """Pairs of joints that may be limbs."""

    limb: Places
    a: Places
    """Which peak of the limb's first joint."""
    b: Places
    """Which peak of its second joint."""
    score: Float


def scored_pairs(peaks: Sequence[Float], maps: Maps, model: BodyModel, limits: Thresholds) -> Pairs:
    """Return all pairs whose score is above 0, limb by limb.

    A pair's score is the mean of the field along it, at those of its points where that is above ``limits.point``; those
    must be a share of more than ``limits.share``. Two joints that nearly coincide have no field between them, and get a
    score that is as good as none.
    """
    limb_K, a_K, b_K = _all_pairs(peaks, model)
    if not limb_K.size:
        return Pairs(limb_K, a_K, b_K, np.zeros(0, np.float32))
    start = np.cumsum([0, *map(len, peaks)])
    at_N2 = np.concatenate(peaks)[:, :2]
    ends = np.array(model.limbs, np.intp)
    from_K2, to_K2 = at_N2[start[ends[limb_K, 0]] + a_K], at_N2[start[ends[limb_K, 1]] + b_K]
    way_K2 = to_K2 - from_K2
    length_K = np.sqrt((way_K2 * way_K2).sum(1))
    score_K = np.where(length_K < np.sqrt(np.float32(maps.width * maps.height)) / 150, limits.peak + 1e-6, -1)
    line_K = np.flatnonzero(length_K > 1e-6)
    score_K[length_K <= 1e-6] = -1
    mean_K, share_K = _along(limb_K[line_K], from_K2[line_K], way_K2[line_K], length_K[line_K], maps, limits)
    score_K[line_K] = np.where(share_K > limits.share, mean_K, score_K[line_K])
    good_K = score_K > _LEAST_SCORE
    return Pairs(limb_K[good_K], a_K[good_K], b_K[good_K], score_K[good_K].astype(np.float32))


def _all_pairs(peaks: Sequence[Float], model: BodyModel) -> tuple[Places, Places, Places]:
    parts = []
    for limb, (a, b) in enumerate(model.limbs):
        a_K, b_K = np.divmod(np.arange(len(peaks[a]) * len(peaks[b])), max(len(peaks[b]), 1))
        parts.append((np.full(len(a_K), limb), a_K, b_K))
    limb_K, a_K, b_K = (np.concatenate(part) for part in zip(*parts, strict=True))
    return limb_K, a_K, b_K


def _along(
    limb_K: Places, from_K2: Float, way_K2: Float, length_K: Float, maps: Maps, limits: Thresholds
) -> tuple[Float, Float]:
    """Return the mean of the values that count, and their share of all, for each pair.

    A pair that too many of the first points speak against is not looked at further; its share is 0.
    """
    count_K = np.clip((np.sqrt(5 * np.abs(way_K2).max(1)) + np.float32(0.5)).astype(np.intp), _FEWEST, _MOST)
    step_K2 = way_K2 / count_K[:, None].astype(np.float32)
    unit_K = (way_K2[:, 0] - 1j * way_K2[:, 1]).astype(np.complex64) / length_K
    point_KP = np.arange(_MOST)[None]
    wanted_KP = point_KP < count_K[:, None]
    value_KP = np.zeros((len(limb_K), _MOST), np.float32)

    def look(chosen_KP: NDArray[np.bool_]) -> None:
        pair_Q, point_Q = np.nonzero(chosen_KP)
        at_Q2 = from_K2[pair_Q] + point_Q[:, None].astype(np.float32) * step_K2[pair_Q] + np.float32(0.5)
        at_Q2 = np.maximum(at_Q2, 0).astype(np.intp)
        x_Q, y_Q = np.minimum(at_Q2[:, 0], maps.width - 1), np.minimum(at_Q2[:, 1], maps.height - 1)
        value_KP[pair_Q, point_Q] = (unit_K[pair_Q] * maps.field(limb_K[pair_Q], y_Q, x_Q)).real

    first_KP = wanted_KP & (point_KP % _FIRST_LOOK == _FIRST_LOOK // 2)
    look(first_KP)
    against_K = (first_KP & (value_KP <= limits.point)).sum(1)
    open_K = (count_K - against_K) / count_K.astype(np.float32) > limits.share
    look(wanted_KP & ~first_KP & open_K[:, None])
    for_KP = wanted_KP & (value_KP > limits.point)
    votes_K = for_KP.sum(1)
    mean_K = (value_KP * for_KP).sum(1) / np.maximum(votes_K, 1)
    return mean_K.astype(np.float32), np.where(open_K, votes_K / count_K.astype(np.float32), 0).astype(np.float32)
