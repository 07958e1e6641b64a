"""The 25 joints that every backend ends in, and the limbs between them: BODY_25 of OpenPose.

Source: Cao et al., "OpenPose: realtime multi-person 2D pose estimation using part affinity fields", TPAMI 2019.

Axes: P people, J joints (25), 3 numbers (x, y, score).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError

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

_RGB = {
    "Nose": 0xFF0055, "Neck": 0xFF0000, "RShoulder": 0xFF5500, "RElbow": 0xFFAA00, "RWrist": 0xFFFF00,
    "LShoulder": 0xAAFF00, "LElbow": 0x55FF00, "LWrist": 0x00FF00, "MidHip": 0xFF0000, "RHip": 0x00FF55,
    "RKnee": 0x00FFAA, "RAnkle": 0x00FFFF, "LHip": 0x00AAFF, "LKnee": 0x0055FF, "LAnkle": 0x0000FF, "REye": 0xFF00AA,
    "LEye": 0xAA00FF, "REar": 0xFF00FF, "LEar": 0x5500FF, "LBigToe": 0x0000FF, "LSmallToe": 0x0000FF,
    "LHeel": 0x0000FF, "RBigToe": 0x00FFFF, "RSmallToe": 0x00FFFF, "RHeel": 0x00FFFF,
}  # fmt: skip
_LIMBS = (
    "1-8 1-2 1-5 2-3 3-4 5-6 6-7 8-9 9-10 10-11 8-12 12-13 13-14 1-0 0-15 15-17 0-16 16-18 14-19 19-20 14-21 11-22 "
    "22-23 11-24",
    "1-2 1-5 2-3 3-4 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13 1-0 0-14 14-16 0-15 15-17",
)


@dataclass(frozen=True)
class Skeleton:
    """Joints of one kind of people, and how OpenPose draws them."""

    joints: tuple[str, ...]
    """Their names."""
    limbs: tuple[tuple[int, int], ...]
    """Pairs of joints with a line between them, in the order in which they are painted; the second gives its colour."""

    @cached_property
    def bgr(self) -> tuple[tuple[int, int, int], ...]:
        """The colour of each joint: blue, green, red."""
        return tuple((rgb & 255, rgb >> 8 & 255, rgb >> 16) for rgb in (_RGB[name] for name in self.joints))

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """For each joint, which one is it on the body's other side."""
        other = {"L": "R", "R": "L"}
        swapped = (other.get(name[0], name[0]) + name[1:] for name in self.joints)
        return tuple(self.joints.index(name) if name in self.joints else i for i, name in enumerate(swapped))


def _skeleton(joints: tuple[str, ...], limbs: str) -> Skeleton:
    pairs = (pair.split("-") for pair in limbs.split())
    return Skeleton(joints, tuple((int(a), int(b)) for a, b in pairs))


_SKELETONS = {len(joints): _skeleton(joints, limbs) for joints, limbs in zip((BODY_25, COCO_18), _LIMBS, strict=True)}


def skeleton_of(people_PJ3: NDArray[np.float32]) -> Skeleton:
    """Return the skeleton of people with 25 or 18 joints.

    Raises:
        ConfigError: If they are no people of either kind.
    """
    if people_PJ3.ndim != 3 or people_PJ3.shape[1] not in _SKELETONS or people_PJ3.shape[2] != 3:
        raise ConfigError(f"people are (P, 25, 3) or (P, 18, 3) numbers, got {people_PJ3.shape}.")
    return _SKELETONS[people_PJ3.shape[1]]


def swap_left_right(people_PJ3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the same people with the names of left and right joints exchanged, in a copy.

    A picture of a person shows the person's left in the colours of the left. Once the picture is flipped that is a
    right hand in a left hand's colours; flipping a picture of what this returns keeps the colours true.
    """
    return people_PJ3[:, list(skeleton_of(people_PJ3).mirrored)]


def nobody() -> People:
    """Return the people of a picture that shows none."""
    return np.zeros((0, len(BODY_25), 3), np.float32)
