"""Three kinds of networks: boxes of people in a picture, joints of one person in a box, and all people's at once.

What kind a file is follows from the shapes of what it gives.

Axes: P people, K joints, A anchors, B bins of a coordinate; 4 is (left, top, right, bottom), 3 is (x, y, score).
"""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.pose.boxes import without_doubles
from kinebert.preprocessing.pose.rtm.joint_sets import JOINT_SETS
from kinebert.preprocessing.pose.rtm.sessions import Session

UInt8 = NDArray[np.uint8]
Float = NDArray[np.floating]

DetectorKind = Literal["", "yolox", "rtmdet"]
_MEAN, _STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
"""Of ImageNet, RGB, 0 to 255."""
_STRIDES = (8, 16, 32)
_LARGER = 1.25
"""Sides of the region around a box, over the box's."""


def shapes_of(outputs: list[Any]) -> list[tuple[int, ...]]:
    """Return the shapes of what a network gives."""
    return [tuple(np.shape(one)) for one in outputs]


class Detector:
    """Boxes of people: YOLOX with raw outputs, or YOLOX or RTMDet with the suppression of doubles inside.

    Args:
        session: The network. It gives ``(1, A, 5 + classes)``, or ``(1, P, 5)`` and perhaps classes ``(1, P)``. The
            first class is persons.
        kind: Needed where suppression is inside, as shapes do not tell: yolox takes values from 0 to 255, rtmdet
            normalised ones.
        least_score: Above which there is a person.
        overlap: One of two boxes that share more of their common area goes.

    Raises:
        UserError: If the outputs are others, or the kind is needed.
    """

    def __init__(self, session: Session, kind: DetectorKind, least_score: float, overlap: float) -> None:
        self._session, self._least_score, self._overlap = session, least_score, overlap
        shapes = shapes_of(session.probe())
        self._centres_A2, self._strides_A1 = _cells(session.height, session.width)
        first = shapes[0]
        self._raw = len(shapes) == 1 and first[:2] == (1, len(self._strides_A1)) and len(first) == 3 and first[2] > 5
        suppressed = len(first) == 3 and first[2] == 5 and [len(shape) for shape in shapes[1:]] in ([], [2])
        if not self._raw and not suppressed:
            raise UserError(
                f"{session.path}: no detector that is understood: it gives {shapes}; (1, {len(self._strides_A1)}, 6 or "
                "more) of YOLOX, or (1, people, 5) with classes (1, people), was expected."
            )
        if not self._raw and not kind:
            raise UserError(
                f"{session.path}: its outputs {shapes} may be those of YOLOX or RTMDet, which want other values of "
                "pixels. Say which it is: detector_kind."
            )
        if self._raw and kind == "rtmdet":
            raise UserError(f"{session.path}: its output {first} is that of YOLOX, not of RTMDet.")
        self._normalised = kind == "rtmdet"

    def __call__(self, bgr_HW3: UInt8) -> NDArray[np.float64]:
        """Return boxes ``(P, 4)`` in pixels of the picture, the surest first."""
        padded, factor = self._session.letterboxed(bgr_HW3)
        values: NDArray[Any] = (padded - _MEAN[::-1]) / _STD[::-1] if self._normalised else padded
        boxes_A4, scores_A = self._decoded(self._session(values))
        sure = scores_A > self._least_score
        boxes_A4, scores_A = boxes_A4[sure] / factor, scores_A[sure]
        return boxes_A4[without_doubles(boxes_A4, scores_A, self._overlap)]

    def _decoded(self, outputs: list[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return boxes in pixels of the input, and scores of being a person."""
        answer = np.asarray(outputs[0][0], np.float64)
        if not self._raw:
            person = np.ones(len(answer)) if len(outputs) == 1 else outputs[1][0] == 0
            return answer[:, :4], answer[:, 4] * person
        centre_A2 = (answer[:, :2] + self._centres_A2) * self._strides_A1
        half_A2 = np.exp(answer[:, 2:4]) * self._strides_A1 / 2
        is_person = answer[:, 5:].argmax(1) == 0
        return np.concatenate([centre_A2 - half_A2, centre_A2 + half_A2], 1), answer[:, 4] * answer[:, 5] * is_person


def _cells(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cells of YOLOX's grids, ``(A, 2)`` in strides, and the strides ``(A, 1)`` in pixels."""
    cells, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float64))
        strides.append(np.full((len(cells[-1]), 1), float(stride)))
    return np.concatenate(cells), np.concatenate(strides)


class TopDown:
    """RTMPose: the joints of one person in a box, each coordinate a bin of its own row ("SimCC").

    Args:
        session: The network. It gives ``(1, K, B)`` for x and for y, with the same number of bins for every pixel.
        bins: That number, two in all published files.
    """

    def __init__(self, session: Session, bins: float) -> None:
        self._session, self._bins = session, bins

    @staticmethod
    def bins_of(session: Session, shapes: list[tuple[int, ...]]) -> float | None:
        """Return how many bins a pixel has if outputs of these shapes are RTMPose's, None if they are not."""
        if [len(shape) for shape in shapes] != [3, 3] or shapes[0][:2] != shapes[1][:2]:
            return None
        (_, joints, across), (*_, down) = shapes
        bins = across / session.width
        return bins if joints in JOINT_SETS and bins >= 1 and down == bins * session.height else None

    def __call__(self, bgr_HW3: UInt8, box_4: Float) -> NDArray[np.float64]:
        """Return the joints ``(K, 3)`` of the person in a box, in pixels of the picture."""
        size_2 = np.array([self._session.width, self._session.height], np.float64)
        centre_2, extent_2 = (box_4[:2] + box_4[2:]) / 2, (box_4[2:] - box_4[:2]) * _LARGER
        extent_2 = size_2 * (extent_2 / size_2).max()  # in the shape of the input
        to_picture = extent_2[0] / size_2[0]
        corner_2 = centre_2 - extent_2 / 2
        region = cv2.warpAffine(
            bgr_HW3,
            np.array([[to_picture, 0, corner_2[0]], [0, to_picture, corner_2[1]]]),
            (self._session.width, self._session.height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        x_KB, y_KB = (one[0] for one in self._session((region[..., ::-1] - _MEAN) / _STD))
        at_K2 = np.stack([x_KB.argmax(1), y_KB.argmax(1)], axis=1) / self._bins
        scores_K = np.minimum(x_KB.max(1), y_KB.max(1))
        return np.column_stack([at_K2 * to_picture + corner_2, scores_K])


class OneStage:
    """RTMO: boxes and joints of all people of a picture at once.

    Args:
        session: The network. It gives boxes with scores ``(1, P, 5)`` and joints ``(1, P, K, 3)``.
        least_score: Above which there is a person.
        overlap: One of two boxes that share more of their common area goes.
    """

    def __init__(self, session: Session, least_score: float, overlap: float) -> None:
        self._session, self._least_score, self._overlap = session, least_score, overlap

    @staticmethod
    def understands(shapes: list[tuple[int, ...]]) -> bool:
        """Whether outputs of these shapes are RTMO's."""
        if [len(shape) for shape in shapes] != [3, 4]:
            return False
        boxes, joints = shapes
        return boxes[2] == 5 and joints[:2] == boxes[:2] and joints[2] in JOINT_SETS and joints[3] == 3

    def __call__(self, bgr_HW3: UInt8) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return boxes ``(P, 4)`` and joints ``(P, K, 3)`` in pixels of the picture, the surest first."""
        padded, factor = self._session.letterboxed(bgr_HW3)
        found_P5, joints_PK3 = (np.asarray(one[0], np.float64) for one in self._session(padded))
        sure = found_P5[:, 4] > self._least_score
        boxes_P4, joints_PK3 = found_P5[sure, :4] / factor, joints_PK3[sure] / (factor, factor, 1)
        kept = without_doubles(boxes_P4, found_P5[sure, 4], self._overlap)
        return boxes_P4[kept], joints_PK3[kept]
