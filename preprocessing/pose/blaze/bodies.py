"""What the two networks answer: where to look for a person, and the person's landmarks.

Axes: L landmarks (33), J joints of BODY_25 (25); 2 is (x, y) in pixels of the picture, 3 is (x, y, score).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.skeleton import BODY_25

Float = NDArray[np.float64]

LANDMARKS = 33
_JOINTS: dict[str, tuple[int, ...]] = {
    "Nose": (0,), "Neck": (11, 12), "RShoulder": (12,), "RElbow": (14,), "RWrist": (16,), "LShoulder": (11,),
    "LElbow": (13,), "LWrist": (15,), "MidHip": (23, 24), "RHip": (24,), "RKnee": (26,), "RAnkle": (28,),
    "LHip": (23,), "LKnee": (25,), "LAnkle": (27,), "REye": (5,), "LEye": (2,), "REar": (8,), "LEar": (7,),
    "LBigToe": (31,), "LHeel": (29,), "RBigToe": (32,), "RHeel": (30,),
}  # fmt: skip
"""Landmarks by joint. The neck and the middle of the hips are means of two; small toes are not found."""
_BUILD = np.array([11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
"""Shoulders, elbows, wrists, hips, knees, ankles: what tells two bodies apart."""
_OTHER_SIDE = _BUILD.reshape(-1, 2)[:, ::-1].ravel()


@dataclass(frozen=True)
class Region:
    """Where to look for a person: a square around ``centre``, turned so that ``top`` lies above it."""

    centre_2: Float
    """The middle of the hips."""
    top_2: Float
    """As far from the centre as the body reaches."""

    @property
    def reach(self) -> float:
        """Distance of the two points in pixels, about half of a body's height."""
        return float(np.hypot(*(self.top_2 - self.centre_2)))

    def apart(self, other: "Region") -> float:
        """How far another region is, 0 for the same one: the mean distance of the points over the larger reach."""
        between_22 = np.stack([self.centre_2 - other.centre_2, self.top_2 - other.top_2])
        return float(np.hypot(*between_22.T).mean()) / max(self.reach, other.reach, 1e-6)


@dataclass(frozen=True)
class Body:
    """A person's landmarks."""

    landmarks: Float
    """``(L, 3)``."""
    presence: float
    """Probability that there is a person, 0 to 1."""
    region: Region
    """Where to look in the next frame."""

    def apart(self, other: "Body") -> float:
        """How far another body is: the mean distance of twelve landmarks over the larger reach.

        The sides count for nothing, as the network may take one body once from the front and once from the back.
        """
        ours_2, theirs_2 = self.landmarks[_BUILD, :2], other.landmarks[:, :2]
        nearest = min(float(np.hypot(*(ours_2 - theirs_2[at]).T).mean()) for at in (_BUILD, _OTHER_SIDE))
        return nearest / max(self.region.reach, other.region.reach, 1e-6)


def body_25(landmarks_L3: Float, height: int, width: int, least_score: float) -> NDArray[np.float32]:
    """Return the 25 joints of OpenPose, ``(J, 3)``. A joint of two landmarks has the lower of their scores.

    Those that score less than ``least_score``, or lie outside of the picture, count as not found: 0, 0, 0.
    """
    joints_J3 = np.zeros((len(BODY_25), 3), np.float32)
    for i, name in enumerate(BODY_25):
        at = list(_JOINTS.get(name, ()))
        if at:
            joints_J3[i] = [*landmarks_L3[at, :2].mean(0), landmarks_L3[at, 2].min()]
    x_J, y_J, score_J = joints_J3.T
    inside_J = (x_J >= -0.5) & (x_J < width - 0.5) & (y_J >= -0.5) & (y_J < height - 0.5)
    joints_J3[~inside_J | (score_J < least_score)] = 0
    return joints_J3
