"""BlazePose: two networks under a free licence that run on CPUs in real time; people are followed between frames.

Axes: H height, W width; people as in :mod:`kinebert.preprocessing.pose.skeleton`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.pose.blaze.bodies import body_25
from kinebert.preprocessing.pose.blaze.networks import Detector, LandmarkFinder, runtime
from kinebert.preprocessing.pose.blaze.tracks import Tracker, TrackParams
from kinebert.preprocessing.pose.estimator import (
    Means,
    PoseBackend,
    WeightsFile,
    Wheel,
    installed,
    register_pose_backend,
)
from kinebert.preprocessing.pose.skeleton import People, nobody

_AT_ONCE = 16
"""Pictures of one call: a second of work."""


@dataclass(frozen=True, kw_only=True)
class BlazePoseParams:
    """How people are found, followed and given up."""

    most_people: int = 8
    """People at the same time; others are left out."""
    detect_every: int = 8
    """Newcomers are looked for in every so-manieth frame, and wherever somebody is lost or nobody is there."""
    detection: float = 0.5
    """Probability above which the detector's answer is a person."""
    overlap: float = 0.3
    """The detector's boxes that share more of their common area are one person."""
    presence: float = 0.5
    """Probability, as the landmarks' network says, above which a newcomer is a person."""
    keep_presence: float = 0.3
    """The same for somebody who was there in the frame before."""
    same_body: float = 0.3
    """Two bodies whose landmarks are no farther apart than this part of half a body's height are one."""
    patience: int = 15
    """Frames for which somebody who is lost keeps the place, and is looked for there."""
    joint_score: float = 0.1
    """Joints with a lower score count as not found: hidden ones, which are guessed."""

    def __post_init__(self) -> None:
        for name in ("most_people", "detect_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("detection", "overlap", "presence", "keep_presence", "same_body", "joint_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name)}.")
        if self.patience < 0:
            raise ConfigError(f"patience must be at least 0 (frames), got {self.patience}.")


class BlazePose:
    """Finds people in the frames of one video after the other."""

    def __init__(self, params: BlazePoseParams, files: Mapping[str, str], means: Means) -> None:
        self.name = runtime()
        self._params = params
        self._detect = Detector(files["detector"], params.detection, params.overlap, means.num_threads)
        self._look = LandmarkFinder(files["landmarks"], means.num_threads)
        self.begin()

    def pictures_at_once(self, height: int, width: int) -> int:
        """Frames are seen one by one, of whatever size."""
        return _AT_ONCE

    def begin(self) -> None:
        """Forget whom was followed."""
        params = self._params
        self._tracker = Tracker(
            self._detect,
            self._look,
            TrackParams(
                most_people=params.most_people,
                detect_every=params.detect_every,
                presence=params.presence,
                keep_presence=params.keep_presence,
                same_body=params.same_body,
                patience=params.patience,
            ),
        )

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[People]:
        """Return the people of each frame in the order of their places."""
        return [self._people(frame_HW3) for frame_HW3 in frames]

    def _people(self, bgr_HW3: NDArray[np.uint8]) -> People:
        height, width = bgr_HW3.shape[:2]
        found = self._tracker(np.ascontiguousarray(bgr_HW3[..., ::-1]))
        joints = [body_25(body.landmarks, height, width, self._params.joint_score) for _, body in found]
        seen = [one_J3 for one_J3 in joints if one_J3[:, 2].any()]
        return np.stack(seen) if seen else nobody()


register_pose_backend(
    PoseBackend(
        name="blazepose",
        about="Google's two small networks, on CPUs, several people followed between frames",
        licence="Apache-2.0",
        obtain="`kinebert pose-weights blazepose` fetches them",
        wheel=Wheel(
            package="mediapipe",
            version="0.10.21",  # later ones hold no networks
            python="3.11",
            platform="manylinux_2_28_x86_64",
            members={
                "detector": "mediapipe/modules/pose_detection/pose_detection.tflite",
                "landmarks": "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
            },
            licence="mediapipe-0.10.21.dist-info/LICENSE",
            authors="The MediaPipe Authors",
        ),
        files=(
            WeightsFile(
                role="detector",
                about="pose_detection.tflite of mediapipe 0.10.21",
                sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            ),
            WeightsFile(
                role="landmarks",
                about="pose_landmark_full.tflite of mediapipe 0.10.21",
                sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            ),
        ),
        params=BlazePoseParams,
        start=BlazePose,
        check=installed("blazepose", "ai_edge_litert", "ai-edge-litert"),
    )
)
