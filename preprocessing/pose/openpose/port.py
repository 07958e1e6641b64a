"""People as the older Python port of OpenPose puts them together, from the maps of COCO-18.

Source: pytorch-openpose at 5ee71dc, ``src/body.py``.

Axes: J joints, L limbs, C channels, h and w of the network's maps, H and W of the picture, N peaks or pairs.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.openpose.maps import enlarged
from kinebert.preprocessing.pose.openpose.models import MODELS

Float32 = NDArray[np.float32]
Float = NDArray[np.float64]
_MODEL = MODELS["coco18"]
_JOINTS = len(_MODEL.joints)
_PEAK, _POINT = 0.1, 0.05
_POINTS, _NEEDED = 10, 8
_SIGMA, _RADIUS = 3, 12
_MARGIN = 2 * _RADIUS + 1
"""What a peak may lie beside a high value, and how far its neighbours' blurred values look."""
_SHORTEST = 0.001
_STARTING_LIMBS = 17
"""The limbs after these, from ear to shoulder, start no person."""
_FEWEST, _LEAST_SCORE = 4, 0.4


class PortAnswer(NamedTuple):
    """What the port finds in a picture, in its own form."""

    candidate: Float
    """``(N, 4)``: x, y, score and number of each peak, joint by joint."""
    subset: Float
    """``(P, 20)``: for each person the numbers of the peaks of 18 joints, -1 where there is none, score, and count."""
    connections: Float
    """``(N, 6)``: limb, numbers of both peaks, score, and which peaks of their joints they are."""

    def people(self) -> Float32:
        """Return the people, ``(P, 18, 3)``."""
        people_PJ3 = np.zeros((len(self.subset), _JOINTS, 3), np.float32)
        numbers_PJ = self.subset[:, :_JOINTS].astype(np.intp)
        people_PJ3[numbers_PJ >= 0] = self.candidate[numbers_PJ[numbers_PJ >= 0], :3]
        return people_PJ3


def decode_port(
    heat_Jhw: Float32, field_Chw: Float32, size: tuple[int, int], inner: tuple[int, int], *, relu: bool = False
) -> PortAnswer:
    """Return what the port finds.

    Args:
        heat_Jhw: Heat maps; a last one of the background may be there.
        field_Chw: Fields, 2 L channels.
        size: H and W of the picture.
        inner: Height and width that the picture takes up in the network's input.
        relu: Let the heat maps end in a ReLU, as the port's own network does.
    """
    if relu:
        heat_Jhw = np.maximum(heat_Jhw, 0)
    heat_HWJ, field_HWC = (_at_size(maps, size, inner) for maps in (heat_Jhw, field_Chw))
    peaks = [_peaks(heat_HWJ[..., joint]) for joint in range(_JOINTS)]
    start = np.cumsum([0, *map(len, peaks)])
    candidate_N4 = np.zeros((int(start[-1]), 4))
    candidate_N4[:, :3] = np.concatenate(peaks)
    candidate_N4[:, 3] = np.arange(len(candidate_N4))
    connections = []
    for limb, (a, b) in enumerate(_MODEL.limbs):
        if len(peaks[a]) and len(peaks[b]):
            x = _MODEL.field_x[limb]
            for score, first, second in _limbs(peaks[a], peaks[b], field_HWC[..., x : x + 2]):
                connections.append((limb, start[a] + first, start[b] + second, score, first, second))
    connections_N6 = np.array(connections, np.float64).reshape(-1, 6)
    return PortAnswer(candidate_N4, _people(candidate_N4, connections_N6), connections_N6)


def _at_size(maps_Chw: Float32, size: tuple[int, int], inner: tuple[int, int]) -> Float32:
    """Return maps ``(H, W, C)`` of the picture: all channels at once, as in the port; alone, the last digits differ."""
    large_HWC = enlarged(maps_Chw.transpose(1, 2, 0))[: inner[0], : inner[1]]
    if size == inner:
        return large_HWC
    return np.asarray(cv2.resize(large_HWC, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _peaks(heat_HW: Float32) -> Float:
    """Return x, y and score, ``(N, 3)``, of pixels that are no lower than their four neighbours, once blurred."""
    high = [np.flatnonzero((heat_HW > _PEAK).any(axis)) for axis in (1, 0)]
    if not high[0].size:
        return np.zeros((0, 3))
    rows, columns = (slice(max(int(at[0]) - _MARGIN, 0), int(at[-1]) + _MARGIN + 1) for at in high)
    heat_HW = heat_HW[rows, columns]  # no blurred value elsewhere is above the threshold
    kernel = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    kernel /= kernel.sum()
    # a map smaller than the kernel is reflected more than once, which OpenCV does not do
    padded_HW = np.pad(heat_HW.astype(np.float64), _RADIUS, mode="symmetric")
    blurred_HW = cv2.sepFilter2D(padded_HW, cv2.CV_64F, kernel, kernel)[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    y_N, x_N = np.nonzero(blurred_HW > _PEAK)
    around_HW = np.pad(blurred_HW, 1)
    beside_4N = np.stack([around_HW[y_N + dy, x_N + dx] for dy, dx in ((1, 0), (1, 2), (0, 1), (2, 1))])
    top_N = (blurred_HW[y_N, x_N] >= beside_4N).all(0)
    y_N, x_N = y_N[top_N], x_N[top_N]
    return np.stack((x_N + columns.start, y_N + rows.start, heat_HW[y_N, x_N].astype(np.float64)), 1)


def _limbs(from_N3: Float, to_N3: Float, field_HW2: Float32) -> list[tuple[float, int, int]]:
    """Return score and both peaks of the limbs between two joints, best first; no peak has two."""
    from_N12, to_1N2 = from_N3[:, None, :2], to_N3[None, :, :2]
    way_NN2 = to_1N2 - from_N12
    length_NN = np.maximum(np.sqrt((way_NN2**2).sum(-1)), _SHORTEST)
    unit_NN2 = way_NN2 / length_NN[..., None]
    from_NN2, to_NN2 = np.broadcast_arrays(from_N12, to_1N2)
    x_PNN, y_PNN = (np.rint(np.linspace(from_NN2[..., i], to_NN2[..., i], _POINTS)).astype(np.intp) for i in (0, 1))
    value_PNN = (field_HW2[y_PNN, x_PNN] * unit_NN2).sum(-1)
    score_NN = value_PNN.mean(0) + np.minimum(0.5 * len(field_HW2) / length_NN - 1, 0)
    good_NN = ((value_PNN > _POINT).sum(0) > _NEEDED) & (score_NN > 0)
    first_K, second_K = np.nonzero(good_NN)
    score_K = score_NN[good_NN]
    found: list[tuple[float, int, int]] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for k in np.argsort(-score_K, kind="stable").tolist():
        first, second = int(first_K[k]), int(second_K[k])
        if first not in used[0] and second not in used[1]:
            found.append((float(score_K[k]), first, second))
            used[0].add(first)
            used[1].add(second)
    return found


def _people(candidate_N4: Float, connections_N6: Float) -> Float:
    score_N = candidate_N4[:, 2]
    rows: list[Float] = []
    for limb, first, second, score in connections_N6[:, :4].tolist():
        a, b = _MODEL.limbs[int(limb)]
        gain = score_N[int(second)] + score
        found = [row for row in rows if row[a] == first or row[b] == second][:2]
        if len(found) == 1 and found[0][b] != second:
            _add(found[0], b, second, gain)
        elif len(found) == 2:
            kept, gone = found
            if ((kept[:_JOINTS] >= 0) & (gone[:_JOINTS] >= 0)).any():
                _add(kept, b, second, gain)
                continue
            kept[:_JOINTS] += gone[:_JOINTS] + 1  # one of both is -1
            kept[_JOINTS:] += gone[_JOINTS:]
            kept[_JOINTS] += score
            rows = [row for row in rows if row is not gone]
        elif not found and limb < _STARTING_LIMBS:
            row = np.full(_JOINTS + 2, -1.0)
            row[[a, b]] = first, second
            row[_JOINTS:] = score_N[int(first)] + gain, 2
            rows.append(row)
    kept_rows = [row for row in rows if row[-1] >= _FEWEST and row[-2] / row[-1] >= _LEAST_SCORE]
    return np.array(kept_rows, np.float64).reshape(-1, _JOINTS + 2)


def _add(row: Float, joint: int, peak: float, gain: float) -> None:
    row[joint] = peak
    row[-1] += 1
    row[-2] += gain
