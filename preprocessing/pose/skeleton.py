"""The 25 joints that every backend ends in, and the limbs between them: BODY_25 of OpenPose.

Source: Cao et al., "OpenPose: realtime multi-person 2D pose estimation using part affinity fields", TPAMI 2019.

Axes: P people, J joints (25), 3 numbers (x, y, score).
"""

import numpy as np
from numpy.typing import NDArray

People = NDArray[np.float32]
"""People of one picture, ``(P, 25, 3)``: x to the right and y downwards in pixels of the picture that was looked at, a
pixel's centre at its whole numbers, and a score from 0 to 1. A joint that was not found is 0, 0, 0."""

BODY_25 = (
    "Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip", "RHip", "RKnee",
    "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar", "LBigToe", "LSmallToe", "LHeel", "RBigToe",
    "RSmallToe", "RHeel",
)  # fmt: skip
"""Names of the joints in their order. R and L are the person's own right and left."""
COCO_18 = tuple(name for name in BODY_25[:19] if name != "MidHip")
"""Names of the joints of OpenPose's older model in their order."""


def nobody() -> People:
    """Return the people of a picture that shows none."""
    return np.zeros((0, len(BODY_25), 3), np.float32)
