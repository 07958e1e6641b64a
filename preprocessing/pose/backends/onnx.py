"""ONNX files of RTMPose and RTMO, which a user brings, on CPUs and GPUs.

Axes: P people, K joints of the network, H height, W width; 3 is (x, y, score).
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.pose.estimator import Means, PoseBackend, WeightsFile, installed, register_pose_backend
from kinebert.preprocessing.pose.rtm.joint_sets import JOINT_SETS, body_25
from kinebert.preprocessing.pose.rtm.networks import Detector, DetectorKind, OneStage, TopDown, shapes_of
from kinebert.preprocessing.pose.rtm.sessions import Session
from kinebert.preprocessing.pose.skeleton import People, nobody

UInt8 = NDArray[np.uint8]

_AT_ONCE = 8
"""Pictures of one call; each is seen by itself."""


@dataclass(frozen=True, kw_only=True)
class OnnxParams:
    """How people are found."""

    most_people: int = 8
    """The surest of a picture; others are left out."""
    person: float = 0.5
    """Score above which a box is a person's."""
    overlap: float = 0.45
    """One of two boxes that share more than this part of their common area goes."""
    joint_score: float = 0.3
    """Joints with a lower score count as not found."""
    height: int = 0
    """Height in pixels of what the network sees, for files that leave it open."""
    width: int = 0
    """Width likewise."""
    detector_height: int = 0
    """Height in pixels of what the detector sees, for files that leave it open."""
    detector_width: int = 0
    """Width likewise."""
    detector_kind: DetectorKind = ""
    """yolox or rtmdet, for detectors whose outputs do not tell: they want other values of pixels."""

    def __post_init__(self) -> None:
        if self.most_people < 1:
            raise ConfigError(f"most_people must be at least 1, got {self.most_people}.")
        for name in ("person", "overlap", "joint_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name)}.")
        for name in ("height", "width", "detector_height", "detector_width"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{name} must be at least 0 (pixels; 0: as the file says), got {getattr(self, name)}."
                )


class OnnxPose:
    """Finds people in pictures, each by itself."""

    def __init__(self, params: OnnxParams, files: Mapping[str, str], means: Means) -> None:
        self._params = params
        session = Session(files["network"], means, params.height, params.width)
        self.name, self._session = session.runtime, session
        shapes = shapes_of(session.probe())
        self._at_once: OneStage | None = None
        self._top_down: TopDown | None = None
        self._detector: Detector | None = None
        if OneStage.understands(shapes):
            if "detector" in files:
                raise UserError(f"{session.path}: RTMO finds people by itself. Leave the detector out.")
            self._at_once = OneStage(session, params.person, params.overlap)
        elif (bins := TopDown.bins_of(session, shapes)) is not None:
            self._top_down = TopDown(session, bins)
        else:
            raise UserError(
                f"{session.path}: no network that is understood: it takes {session.inputs} and gives {shapes}. "
                "(1, joints, bins) for x and y of RTMPose, or (1, people, 5) and (1, people, joints, 3) of "
                f"RTMO, was expected, with {', '.join(map(str, JOINT_SETS))} joints."
            )
        if "detector" in files:
            seen = Session(files["detector"], means, params.detector_height, params.detector_width)
            self._detector = Detector(seen, params.detector_kind, params.person, params.overlap)

    def pictures_at_once(self, height: int, width: int) -> int:
        """A few: they are seen one by one."""
        return _AT_ONCE

    def begin(self) -> None:
        """Nothing is remembered from picture to picture."""

    def __call__(self, frames: Sequence[UInt8]) -> list[People]:
        """Return the people of each picture, from left to right."""
        return [self._people(frame_HW3) for frame_HW3 in frames]

    def _people(self, bgr_HW3: UInt8) -> People:
        height, width = bgr_HW3.shape[:2]
        if self._at_once is not None:
            boxes_P4, joints_PK3 = self._at_once(bgr_HW3)
        else:
            assert self._top_down is not None
            boxes_P4 = np.array([[0.0, 0.0, width, height]]) if self._detector is None else self._detector(bgr_HW3)
            if not len(boxes_P4):
                return nobody()
            boxes_P4 = boxes_P4[: self._params.most_people]
            joints_PK3 = np.stack([self._top_down(bgr_HW3, box_4) for box_4 in boxes_P4])
        order = np.argsort(boxes_P4[: self._params.most_people, ::2].sum(1), kind="stable")
        people_PJ3 = body_25(joints_PK3[order], height, width, self._params.joint_score)
        return people_PJ3[people_PJ3[..., 2].any(axis=1)]


def _runs_on_gpus() -> bool:
    with suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version("onnxruntime-gpu"))
    return False


register_pose_backend(
    PoseBackend(
        name="onnx",
        about="RTMPose and RTMO of OpenMMLab, as ONNX files of yours",
        licence="that of the file: OpenMMLab's own are Apache-2.0, what they were trained on may not be",
        obtain="MMPose's model zoo and rtmlib link to such files, and MMDeploy exports them",
        files=(
            WeightsFile(role="network", about="an ONNX file of RTMPose or RTMO with 17, 26, 133 or 134 joints"),
            WeightsFile(
                role="detector",
                about="an ONNX file of YOLOX or RTMDet, for RTMPose; without it the whole picture is one person's",
                optional=True,
            ),
        ),
        params=OnnxParams,
        start=OnnxPose,
        check=installed("onnx", "onnxruntime", "onnxruntime"),
        uses_gpu=_runs_on_gpus(),
    )
)
