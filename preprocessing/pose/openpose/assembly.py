"""People: limbs put together, best first, as OpenPose's GPU build does.

Source: OpenPose's ``bodyPartConnectorBase.cpp``: pafPtrIntoVector, pafVectorIntoPeopleVector and what follows them.

Axes: P people, J joints, N peaks of a joint, 3 numbers (x, y, score).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.openpose.maps import Maps
from kinebert.preprocessing.pose.openpose.models import BodyModel
from kinebert.preprocessing.pose.openpose.pairs import Pairs, scored_pairs
from kinebert.preprocessing.pose.openpose.peaks import Candidates, candidates, peaks
from kinebert.preprocessing.pose.openpose.settings import Thresholds

Float = NDArray[np.float32]
_JOINT_WEIGHT = 0.1
"""What the scores of a pair's joints count when pairs are put in order."""
_FEW_BESIDE_FEET = 4
_MOST_PEOPLE = 127


@dataclass(eq=False)
class _Person:
    score: float
    joints: dict[int, int] = field(default_factory=dict)
    """Which peak is which joint."""


def decode(
    maps: Maps,
    model: BodyModel,
    limits: Thresholds,
    *,
    scale: float = 1.0,
    as_cuda: bool = False,
    found: Candidates | None = None,
) -> tuple[Float, Float]:
    """Return the people in a network's maps, ``(P, J, 3)`` in pixels of the picture, and their scores ``(P,)``.

    Args:
        maps: The maps of a picture.
        model: The model they are of.
        limits: What counts.
        scale: Pixels of the picture for one of the network's input.
        as_cuda: Find peaks at the border as OpenPose's kernels do; see :func:`.peaks.peaks`.
        found: Pixels that may be peaks, if they are known already.
    """
    joints = len(model.joints)
    if found is None:
        found = candidates(maps.heat_above, joints, limits.peak)
    at = peaks(found, joints, (maps.height, maps.width), 0.5 / scale, as_cuda=as_cuda)
    return people_of(at, scored_pairs(at, maps, model, limits), model, limits, scale)


def people_of(
    at: Sequence[Float], pairs: Pairs, model: BodyModel, limits: Thresholds, scale: float
) -> tuple[Float, Float]:
    """Return people ``(P, J, 3)`` and scores ``(P,)``, given the peaks ``(N, 3)`` of each joint and scored pairs."""
    people = _kept(_connected(at, pairs, model), model, limits)
    people_PJ3 = np.zeros((len(people), len(model.joints), 3), np.float32)
    for person, row_J3 in zip(people, people_PJ3, strict=True):
        for joint, peak in person.joints.items():
            row_J3[joint] = at[joint][peak]
    people_PJ3[..., :2] *= np.float32(scale)
    whole = len(model.joints) + len(model.limbs)
    return people_PJ3, np.array([person.score / whole for person in people], np.float32)


def _connected(at: Sequence[Float], pairs: Pairs, model: BodyModel) -> list[_Person]:
    heights = [peaks_N3[:, 2].tolist() for peaks_N3 in at]
    rows = zip(*(part.tolist() for part in pairs), strict=True)
    ordered = []
    for limb, a, b, score in rows:
        first, second = model.limbs[limb]
        together = score + _JOINT_WEIGHT * (heights[first][a] + heights[second][b])
        ordered.append((together, score, limb, a, b))
    ordered.sort(reverse=True)
    owner: dict[tuple[int, int], _Person] = {}
    people: list[_Person] = []
    for _, score, limb, a, b in ordered:
        ends = ((model.limbs[limb][0], a), (model.limbs[limb][1], b))
        of_a, of_b = owner.get(ends[0]), owner.get(ends[1])
        if of_a and of_b:
            if of_a is of_b:
                of_a.score += score
                continue
            if of_a.joints.keys() & of_b.joints.keys():
                continue
            kept, gone = sorted((of_a, of_b), key=people.index)
            kept.joints |= gone.joints
            kept.score += gone.score + score
            owner.update(dict.fromkeys(gone.joints.items(), kept))
            people.remove(gone)
        elif person := of_a or of_b:
            joint, peak = ends[1] if of_a else ends[0]
            if joint not in person.joints:
                person.joints[joint] = peak
                person.score += heights[joint][peak] + score
                owner[joint, peak] = person
        else:
            person = _Person(score + sum(heights[joint][peak] for joint, peak in ends), dict(ends))
            people.append(person)
            owner.update(dict.fromkeys(ends, person))
    return people


def _kept(people: Sequence[_Person], model: BodyModel, limits: Thresholds) -> list[_Person]:
    """Return those with enough joints and score; feet do not count, unless nobody would be left."""
    for counts_feet in (not model.foot_joints or limits.feet_count, True):
        kept = []
        for person in people:
            count = len(person.joints)
            if not counts_feet:
                feet = len(person.joints.keys() & model.foot_joints)
                count -= feet
                if feet and count <= _FEW_BESIDE_FEET:
                    continue
            if count >= limits.joints and person.score / count >= limits.score:
                kept.append(person)
        if kept:
            return kept[:_MOST_PEOPLE]
    return []
