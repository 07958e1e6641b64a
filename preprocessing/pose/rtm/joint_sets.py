"""Sets of joints that networks of the RTM family are trained on, as the 25 joints of OpenPose.

Axes: P people, K joints of the network, J joints of BODY_25 (25), 3 numbers (x, y, score).
"""

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.skeleton import BODY_25, People

_COCO = (
    "Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist", "RWrist", "LHip",
    "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle",
)  # fmt: skip
_FEET = ("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel")
JOINT_SETS: dict[int, tuple[str, ...]] = {
    17: _COCO,
    26: (
        *_COCO, "Head", "Neck", "MidHip", "LBigToe", "RBigToe", "LSmallToe", "RSmallToe", "LHeel", "RHeel",
    ),
    133: (*_COCO, *_FEET),
    134: (*_COCO, "Neck", *_FEET),
}  # fmt: skip
"""Names of a network's joints in their order, by how many it has: COCO, Halpe with feet, COCO-WholeBody (whose face and
hands are left out), and that with a neck, as rtmlib orders it."""
_MEANS = {"Neck": ("LShoulder", "RShoulder"), "MidHip": ("LHip", "RHip")}
"""What a joint that a set lacks is the mean of."""


def body_25(joints_PK3: NDArray[np.floating], height: int, width: int, least_score: float) -> People:
    """Return people with the joints of BODY_25, from those of a set of K joints.

    The neck and the middle of the hips are means where a set lacks them, with the lower of the two scores. Joints that
    score less than ``least_score``, lie outside of the picture, or are not in the set, are 0, 0, 0. Scores end at 1.
    """
    names = JOINT_SETS[joints_PK3.shape[1]]
    people_PJ3 = np.zeros((len(joints_PK3), len(BODY_25), 3), np.float32)
    for i, name in enumerate(BODY_25):
        of = (name,) if name in names else _MEANS.get(name, ())
        if of:
            chosen = joints_PK3[:, [names.index(one) for one in of]]
            people_PJ3[:, i, :2], people_PJ3[:, i, 2] = chosen[..., :2].mean(1), chosen[..., 2].min(1)
    x_PJ, y_PJ, score_PJ = np.moveaxis(people_PJ3, -1, 0)
    inside_PJ = (x_PJ >= -0.5) & (x_PJ < width - 0.5) & (y_PJ >= -0.5) & (y_PJ < height - 0.5)
    people_PJ3[~(inside_PJ & (score_PJ >= least_score) & (score_PJ > 0))] = 0
    people_PJ3[..., 2] = people_PJ3[..., 2].clip(0, 1)
    return people_PJ3
