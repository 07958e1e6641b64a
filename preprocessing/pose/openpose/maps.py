"""A network's maps at the resolution of its input, by cubic interpolation: heat maps whole, fields where asked for.

Fields are complex numbers here, x + iy, so that both components are looked up at once.

Axes: J joints, L limbs, H height, W width of the input; h, w those of a map; K points.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.openpose.models import STRIDE, BodyModel

Float = NDArray[np.float32]
Complex = NDArray[np.complex64]
SHARPNESS = {"opencv": -0.75, "cuda": -0.5}
"""The slope of the cubic kernel at a distance of one pixel: OpenCV's, and Catmull and Rom's in OpenPose's kernels."""

_OVERSHOOT = 1.9
"""More than the absolute weights of OpenCV's kernel add up to in both directions, 1.375 squared: no value is
larger than so many times the largest that it is made of, whatever their signs."""
_MARGIN = 5
"""Pixels of a small map around high ones: 2 that they reach, 1 for a peak's surroundings, 2 that an edge reaches."""


@dataclass(frozen=True, eq=False)
class Taps:
    """Where the pixels along one side of a large map get their values from, in a small one."""

    source: NDArray[np.intp]
    """``(N, 4)``: pixels of the small map, repeated at its edges."""
    weight: Float
    """``(N, 4)``."""

    size: int
    """Pixels of the small map."""

    @cached_property
    def matrix(self) -> Float:
        """The weights as a matrix ``(N, size)`` that a column of the small map is multiplied by."""
        matrix_NS = np.zeros((len(self.source), self.size), np.float32)
        np.add.at(matrix_NS, (np.arange(len(self.source))[:, None], self.source), self.weight)
        return matrix_NS


@functools.lru_cache(maxsize=64)  # the frames of a video have one size
def taps(target: int, source: int, step: float, sharpness: float) -> Taps:
    """Return the taps of ``target`` pixels that lie ``step`` pixels of a map of ``source`` pixels apart."""
    at_N = (np.arange(target) + 0.5) * step - 0.5
    first_N = np.floor(at_N)
    near_N = at_N - first_N
    distance_N4 = np.stack((near_N + 1, near_N, 1 - near_N, 2 - near_N), 1)
    a, d_N4 = sharpness, distance_N4
    inner_N4 = ((a + 2) * d_N4 - (a + 3)) * d_N4 * d_N4 + 1
    outer_N4 = ((a * d_N4 - 5 * a) * d_N4 + 8 * a) * d_N4 - 4 * a
    weight_N4 = np.where(d_N4 <= 1, inner_N4, outer_N4).astype(np.float32)
    source_N4 = np.clip(first_N.astype(np.intp)[:, None] + np.arange(-1, 3), 0, source - 1)
    return Taps(source_N4, weight_N4, source)


@dataclass(frozen=True)
class Scale:
    """What a network answers to a picture in one size."""

    heats: Float
    """``(J, h, w)``."""
    fields: Complex
    """``(L, h, w)``."""
    rows: Taps
    columns: Taps

    @classmethod
    def of(
        cls,
        heat_Jhw: Float,
        field_Chw: Float,
        model: BodyModel,
        *,
        size: tuple[int, int],
        ratio: float = 1.0,
        sharpness: float = SHARPNESS["opencv"],
    ) -> "Scale":
        """Prepare what a network gives.

        Args:
            heat_Jhw: Heat maps; a last one of the background may be there.
            field_Chw: Fields, 2 L channels.
            model: The model they are of.
            size: H and W.
            ratio: Size of the picture as this network saw it, over its size in the largest input.
            sharpness: Of the kernel.
        """
        h, w = heat_Jhw.shape[-2:]
        x = list(model.field_x)
        field_Lhw = np.empty((len(x), h, w), np.complex64)
        field_Lhw.real, field_Lhw.imag = field_Chw[x], field_Chw[[c + 1 for c in x]]
        rows, columns = (
            taps(target, source, ratio / STRIDE, sharpness) for target, source in zip(size, (h, w), strict=True)
        )
        return cls(np.ascontiguousarray(heat_Jhw[: len(model.joints)], np.float32), field_Lhw, rows, columns)

    def heat(self, joint: int, rows: slice = slice(None), columns: slice = slice(None)) -> Float:
        """Return a heat map ``(H, W)`` at full resolution, or some of its rows and columns."""
        large_HW: Float = self.rows.matrix[rows] @ self.heats[joint] @ self.columns.matrix[columns].T
        return large_HW

    def field(self, limb_K: NDArray[np.intp], y_K: NDArray[np.intp], x_K: NDArray[np.intp]) -> Complex:
        """Return the fields of limbs at pixels."""
        h, w = self.fields.shape[1:]
        row_K4 = limb_K[:, None] * h + self.rows.source[y_K]
        place_K44 = row_K4[:, :, None] * w + self.columns.source[x_K][:, None, :]
        found_K44 = self.fields.reshape(-1)[place_K44]
        found_K4 = np.einsum("kyx,kx->ky", found_K44, self.columns.weight[x_K])
        found_K: Complex = np.einsum("ky,ky->k", found_K4, self.rows.weight[y_K])
        return found_K


def enlarged(small: Float) -> Float:
    """Return a map ``(h, w)``, or several ``(h, w, C)``, at eight times the size, as OpenCV enlarges them."""
    size = STRIDE * small.shape[1], STRIDE * small.shape[0]
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.float32)


@dataclass(frozen=True)
class Maps:
    """What is known of one picture: the mean of one or more scales."""

    height: int
    width: int
    scales: Sequence[Scale]
    by_opencv: bool = True
    """Heat maps are enlarged by OpenCV itself, which is faster; one scale only."""

    def heat(self, joint: int) -> Float:
        """Return a heat map ``(H, W)``."""
        if self.by_opencv:
            return enlarged(self.scales[0].heats[joint])
        total_HW = self.scales[0].heat(joint)
        for scale in self.scales[1:]:
            total_HW += scale.heat(joint)
        total_HW /= len(self.scales)
        return total_HW

    def heat_above(self, joint: int, threshold: float) -> tuple[Float, int, int]:
        """Return the part of a heat map with all that is above ``threshold``, and the row and column it starts at.

        There is a margin around what may be above it, of more than a peak's surroundings.
        """
        if len(self.scales) > 1:
            return self.heat(joint), 0, 0
        small_hw = self.scales[0].heats[joint]
        high_hw = np.abs(small_hw) > threshold / _OVERSHOOT
        spans = []
        for axis, size in ((1, len(small_hw)), (0, small_hw.shape[1])):
            found = np.flatnonzero(high_hw.any(axis))
            if not found.size:
                return np.zeros((0, 0), np.float32), 0, 0
            spans.append((max(int(found[0]) - _MARGIN, 0), min(int(found[-1]) + _MARGIN + 1, size)))
        (top, bottom), (left, right) = spans
        if self.by_opencv:
            part_HW = enlarged(small_hw[top:bottom, left:right])
        else:
            rows, columns = slice(STRIDE * top, STRIDE * bottom), slice(STRIDE * left, STRIDE * right)
            part_HW = self.scales[0].heat(joint, rows, columns)
        return part_HW, STRIDE * top, STRIDE * left

    def field(self, limb_K: NDArray[np.intp], y_K: NDArray[np.intp], x_K: NDArray[np.intp]) -> Complex:
        """Return the fields of limbs at pixels."""
        total_K = self.scales[0].field(limb_K, y_K, x_K)
        for scale in self.scales[1:]:
            total_K = total_K + scale.field(limb_K, y_K, x_K)
        return total_K / np.float32(len(self.scales))
