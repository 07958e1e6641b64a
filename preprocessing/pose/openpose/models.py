"""The two body models: which joints and limbs they have, and in which channels of their maps.

Heat maps have a channel for each joint and one for the background. Part affinity fields have two for each limb, the x
and the y of a vector that points from its first joint to its second.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.skeleton import BODY_25, COCO_18, People

ModelName = Literal["body25", "coco18"]
STRIDE = 8
"""Pixels of a network's input for one of its maps."""


@dataclass(frozen=True)
class BodyModel:
    """What a model's maps hold."""

    name: ModelName
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    """Pairs of joints that a field connects, in the order in which people are put together."""
    field_x: tuple[int, ...]
    """For each limb, the channel with the x of its field; the y follows."""
    foot_joints: frozenset[int] = frozenset()
    """Joints that do not tell that somebody is there."""

    @cached_property
    def num_heat_maps(self) -> int:
        """Joints, and the background."""
        return len(self.joints) + 1

    @cached_property
    def num_fields(self) -> int:
        """Channels of the part affinity fields."""
        return 2 * len(self.limbs)

    def to_body_25(self, people_PJ3: NDArray[np.float32]) -> People:
        """Return people with this model's joints as people with 25.

        The older model has no middle of the hips: it is the mean of both hips where both are there, with the smaller
        score. Feet that a model does not find are absent.
        """
        if self.joints == BODY_25:
            return people_PJ3.astype(np.float32)
        found_PJ3 = np.zeros((len(people_PJ3), len(BODY_25), 3), np.float32)
        found_PJ3[:, [BODY_25.index(name) for name in self.joints]] = people_PJ3
        right_P3, left_P3 = (found_PJ3[:, BODY_25.index(name)] for name in ("RHip", "LHip"))
        middle_P3 = (right_P3 + left_P3) / 2
        middle_P3[:, 2] = np.minimum(right_P3[:, 2], left_P3[:, 2])
        found_PJ3[:, BODY_25.index("MidHip")] = np.where(middle_P3[:, 2:] > 0, middle_P3, 0)
        return found_PJ3


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    split = (pair.split("-") for pair in text.split())
    return tuple((int(a), int(b)) for a, b in split)


MODELS: dict[ModelName, BodyModel] = {
    "body25": BodyModel(
        "body25",
        BODY_25,
        _pairs(
            "1-8 1-2 1-5 2-3 3-4 5-6 6-7 8-9 9-10 10-11 8-12 12-13 13-14 1-0 0-15 15-17 0-16 16-18 2-17 5-18 14-19 "
            "19-20 14-21 11-22 22-23 11-24"
        ),
        (0, 14, 22, 16, 18, 24, 26, 6, 2, 4, 8, 10, 12, 30, 32, 36, 34, 38, 20, 28, 40, 42, 44, 46, 48, 50),
        frozenset(range(19, 25)),
    ),
    "coco18": BodyModel(
        "coco18",
        COCO_18,
        _pairs("1-2 1-5 2-3 3-4 5-6 6-7 1-8 8-9 9-10 1-11 11-12 12-13 1-0 0-14 14-16 0-15 15-17 2-16 5-17"),
        (12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26),
    ),
}
"""Both models, by name."""
