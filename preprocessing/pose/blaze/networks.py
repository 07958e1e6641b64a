"""The two networks of BlazePose, run by LiteRT: a picture in, regions or a body out.

Axes: H height, W width of a picture; A anchors (2254), L landmarks (33), 2 is (x, y).
"""

import importlib
import importlib.metadata
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.pose.blaze.bodies import LANDMARKS, Body, Float, Region
from kinebert.preprocessing.pose.boxes import overlaps

UInt8 = NDArray[np.uint8]

_PACKAGE = "ai-edge-litert"
_SIDE = 224
_CROP = 256
_CELLS = ((8, 2), (16, 2), (32, 6))
"""Strides of the detector's grids in pixels, and anchors in each of their cells."""
_ENLARGED = 2 * 1.25
"""Side of the square that the second network sees, over the region's reach."""
_HIP, _TOP = 33, 34
"""Landmarks beyond the 33 that say where to look in the next frame."""


def runtime() -> str:
    """Return the library that runs the networks, and its version.

    Raises:
        UserError: If it is not installed; it says what to do.
    """
    try:
        importlib.import_module("ai_edge_litert.interpreter")
        return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"
    except ImportError as error:
        raise UserError(
            f"the pose backend blazepose needs {_PACKAGE}: pip install 'kinebert[pose]' ({error})."
        ) from None


class _Network:
    """A file of a network, whose input and outputs have the shapes that are expected."""

    def __init__(self, path: str, takes: tuple[int, ...], gives: tuple[tuple[int, ...], ...], threads: int) -> None:
        runtime()
        library: Any = importlib.import_module("ai_edge_litert.interpreter")
        try:
            self._network = library.Interpreter(path, num_threads=threads)
            self._network.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}: no network that {_PACKAGE} can run: {str(error).splitlines()[0]}.") from None
        inputs, outputs = self._network.get_input_details(), self._network.get_output_details()
        found = {tuple(map(int, one["shape"])): int(one["index"]) for one in outputs}
        if [tuple(map(int, one["shape"])) for one in inputs] != [takes] or not found.keys() >= set(gives):
            shapes = [one["shape"].tolist() for one in (*inputs, *outputs)]
            raise UserError(
                f"{path}: not the network that is asked for: {takes} to {gives} was expected, it has {shapes}."
            )
        self._input, self._outputs = int(inputs[0]["index"]), [found[shape] for shape in gives]

    def __call__(self, x_HW3: Float) -> list[Float]:
        self._network.set_tensor(self._input, x_HW3[None].astype(np.float32))
        self._network.invoke()
        return [np.asarray(self._network.get_tensor(i)[0], np.float64) for i in self._outputs]


class Detector:
    """The network that finds people in a whole picture.

    Args:
        path: Its file.
        least_score: Probability above which there is a person.
        overlap: Boxes that share more than this of their common area are one person, and averaged by their scores.
        threads: That it may use.
    """

    def __init__(self, path: str, least_score: float, overlap: float, threads: int) -> None:
        anchors = _anchors()
        self._network = _Network(path, (1, _SIDE, _SIDE, 3), ((1, len(anchors), 12), (1, len(anchors), 1)), threads)
        self._anchors_A2, self._least_score, self._overlap = anchors, least_score, overlap

    def __call__(self, rgb_HW3: UInt8) -> list[Region]:
        """Return where people are, the surest first."""
        height, width = rgb_HW3.shape[:2]
        scale = _SIDE / max(height, width)
        small_w, small_h = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (_SIDE - small_w) // 2, (_SIDE - small_h) // 2
        square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        square[top : top + small_h, left : left + small_w] = cv2.resize(rgb_HW3, (small_w, small_h), interpolation=how)
        raw_A12, logit_A1 = self._network(square / 127.5 - 1)
        to_pixels_2 = np.array([width / small_w, height / small_h])
        return [
            Region(*((points_42[:2] * _SIDE - (left, top)) * to_pixels_2 - 0.5))
            for points_42 in self._found(raw_A12, logit_A1[:, 0])
        ]

    def _found(self, raw_A12: Float, logit_A: Float) -> Iterator[Float]:
        """Yield four points of each person, in parts of the square: those of a group of boxes, weighted by score."""
        score_A = _sigmoid(logit_A)
        kept = np.flatnonzero(score_A > self._least_score)
        kept = kept[np.argsort(-score_A[kept], kind="stable")]
        score_A, at_A2, raw_A12 = score_A[kept], self._anchors_A2[kept], raw_A12[kept] / _SIDE
        centre_A2, size_A2 = raw_A12[:, :2] + at_A2, raw_A12[:, 2:4]
        box_A4 = np.concatenate([centre_A2 - size_A2 / 2, centre_A2 + size_A2 / 2], axis=1)
        point_A42 = raw_A12[:, 4:].reshape(-1, 4, 2) + at_A2[:, None]
        left = np.arange(len(kept))
        while len(left):
            near = overlaps(box_A4[left[0]], box_A4[left]) > self._overlap
            near[0] = True
            group = left[near]
            yield np.average(point_A42[group], axis=0, weights=score_A[group])
            left = left[~near]


class LandmarkFinder:
    """The network that finds one person's landmarks in a region."""

    def __init__(self, path: str, threads: int) -> None:
        self._network = _Network(path, (1, _CROP, _CROP, 3), ((1, 195), (1, 1)), threads)

    def __call__(self, rgb_HW3: UInt8, region: Region) -> Body:
        """Return the body that is there; its presence tells whether it is one."""
        up_2 = region.top_2 - region.centre_2
        angle = np.arctan2(up_2[0], -up_2[1])  # 0 where the body stands upright
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        to_picture = turn * (_ENLARGED * region.reach / _CROP)
        corner_2 = region.centre_2 - to_picture @ np.full(2, (_CROP - 1) / 2)
        crop = cv2.warpAffine(
            rgb_HW3,
            np.column_stack([to_picture, corner_2]),
            (_CROP, _CROP),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        answer, presence = self._network(np.asarray(crop, np.float64) / 255)
        points = answer.reshape(39, 5)
        at = points[:, :2] @ to_picture.T + corner_2
        score = _sigmoid(points[:, 3:5]).min(axis=1)  # seen, and in the crop at all
        return Body(
            landmarks=np.column_stack([at, score])[:LANDMARKS],
            presence=float(presence[0]),
            region=Region(at[_HIP], at[_TOP]),
        )


def _anchors() -> Float:
    """Return where the detector's answers are counted from, ``(A, 2)`` in parts of the square."""
    grids = []
    for stride, in_cell in _CELLS:
        num = _SIDE // stride
        y, x = np.mgrid[:num, :num]
        grids.append(np.repeat((np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / num, in_cell, axis=0))
    return np.concatenate(grids)


def _sigmoid(x: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))))
