"""People are followed: who comes in is found, who leaves is dropped, nobody is doubled, and everybody keeps a place.

Networks are played by functions that see bodies at known places.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.pose.blaze.bodies import LANDMARKS, Body, Region, body_25
from kinebert.preprocessing.pose.blaze.tracks import Tracker, TrackParams
from kinebert.preprocessing.pose.skeleton import BODY_25

PICTURE = np.zeros((256, 340, 3), np.uint8)
REACH = 80.0
PARAMS = TrackParams(most_people=4, detect_every=8, presence=0.5, keep_presence=0.3, same_body=0.3, patience=5)


def region(x: float) -> Region:
    """Somebody's who stands upright with the hips at ``x``."""
    return Region(np.array([x, 140.0]), np.array([x, 140.0 - REACH]))


def body(x: float, presence: float = 1.0) -> Body:
    """A body of 33 landmarks around ``x``."""
    angle_L = np.linspace(0, 2 * np.pi, LANDMARKS, endpoint=False)
    landmarks_L3 = np.stack([x + 20 * np.sin(angle_L), 140 - 60 * np.cos(angle_L), np.ones(LANDMARKS)], axis=1)
    return Body(landmarks=landmarks_L3, presence=presence, region=region(x))


@dataclass
class Scene:
    """People at known places, whom the networks see."""

    people: list[float] = field(default_factory=list)
    """x of each."""
    hidden: set[float] = field(default_factory=set)
    """Those whom the detector does not see."""
    detections: int = 0

    def detect(self, rgb_HW3: NDArray[np.uint8]) -> list[Region]:
        """Return where people are."""
        self.detections += 1
        return [region(x) for x in self.people if x not in self.hidden]

    def look(self, rgb_HW3: NDArray[np.uint8], there: Region) -> Body:
        """Return the nearest person, if one is near."""
        x = min(self.people, key=lambda x: abs(x - there.centre_2[0]), default=-1e9)
        return body(x) if abs(x - there.centre_2[0]) < REACH / 2 else body(float(there.centre_2[0]), 0.0)


def tracker(scene: Scene, params: TrackParams = PARAMS) -> Tracker:
    return Tracker(scene.detect, scene.look, params)


def places(found: list[tuple[int, Body]]) -> dict[int, float]:
    return {place: float(one.region.centre_2[0]) for place, one in found}


def test_places_are_given_from_left_to_right_and_kept_while_people_pass_each_other() -> None:
    scene = Scene([250.0, 80.0])
    follow = tracker(scene)
    assert places(follow(PICTURE)) == {0: 80.0, 1: 250.0}
    for _ in range(15):  # until they are near each other
        scene.people = [scene.people[0] - 4, scene.people[1] + 4]
        assert places(follow(PICTURE)) == {0: scene.people[1], 1: scene.people[0]}
    for _ in range(24):
        scene.people = [scene.people[0] - 4, scene.people[1] + 4]
        met = places(follow(PICTURE))
    assert sorted(met.values()) == sorted(scene.people)  # and are two again afterwards


def test_the_detector_runs_every_so_manieth_frame_and_while_somebody_is_lost() -> None:
    scene = Scene([80.0])
    follow = tracker(scene)
    for _ in range(17):
        follow(PICTURE)
    assert scene.detections == 3  # frames 0, 8 and 16
    scene.people = []
    follow(PICTURE)
    assert scene.detections == 4


def test_newcomers_are_found_at_the_next_detection_and_come_after_those_who_are_there() -> None:
    scene = Scene([250.0])
    follow = tracker(scene)
    follow(PICTURE)
    scene.people.append(60.0)
    counts = [len(follow(PICTURE)) for _ in range(8)]
    assert counts == [1] * 7 + [2]
    assert places(follow(PICTURE)) == {0: 250.0, 1: 60.0}


def test_who_leaves_is_dropped_and_the_others_keep_their_places() -> None:
    scene = Scene([80.0, 250.0])
    follow = tracker(scene)
    follow(PICTURE)
    scene.people = [250.0]
    assert places(follow(PICTURE)) == {1: 250.0}
    for _ in range(PARAMS.patience):
        follow(PICTURE)
    scene.people = [250.0, 20.0]  # somebody else, elsewhere: the place is free again
    assert places([follow(PICTURE) for _ in range(9)][-1]) == {0: 20.0, 1: 250.0}


def test_who_is_lost_and_found_near_by_has_the_same_place_again() -> None:
    scene = Scene([80.0, 250.0])
    follow = tracker(scene)
    follow(PICTURE)
    scene.people = [250.0]
    follow(PICTURE)
    scene.people = [250.0, 130.0]  # too far for the network, near enough to be the same one
    assert places(follow(PICTURE)) == {0: 130.0, 1: 250.0}


def test_two_tracks_on_one_body_become_one_and_it_is_the_one_that_was_there() -> None:
    scene = Scene([100.0, 135.0])
    follow = tracker(scene)
    assert places(follow(PICTURE)) == {0: 100.0, 1: 135.0}
    scene.people = [136.0]  # the first is hidden by the second
    assert places(follow(PICTURE)) == {1: 136.0}


def test_a_detection_of_somebody_who_is_followed_makes_no_second_one() -> None:
    scene = Scene([100.0])
    thrice = [region(100.0), region(112.0), region(125.0)]
    follow = Tracker(lambda rgb_HW3: thrice, scene.look, PARAMS)
    assert [len(follow(PICTURE)) for _ in range(20)] == [1] * 20


def test_whom_the_detector_misses_is_followed_all_the_same() -> None:
    scene = Scene([100.0, 250.0])
    follow = tracker(scene)
    follow(PICTURE)
    scene.hidden = {100.0}
    assert [len(follow(PICTURE)) for _ in range(30)] == [2] * 30


def test_no_more_people_than_are_asked_for() -> None:
    scene = Scene([30.0, 90.0, 150.0, 210.0, 270.0])
    assert places(tracker(scene)(PICTURE)) == {0: 30.0, 1: 90.0, 2: 150.0, 3: 210.0}


def test_landmarks_become_the_joints_of_openpose() -> None:
    landmarks_L3 = np.stack([np.arange(33.0), 100 + np.arange(33.0), np.linspace(0.4, 0.9, 33)], axis=1)
    joints = dict(zip(BODY_25, body_25(landmarks_L3, 256, 340, 0.1).tolist(), strict=True))
    assert joints["RWrist"][:2] == [16, 116]  # the person's own right
    assert joints["LWrist"][:2] == [15, 115]
    assert joints["Neck"] == pytest.approx([11.5, 111.5, landmarks_L3[11, 2]])
    assert joints["MidHip"] == pytest.approx([23.5, 123.5, landmarks_L3[23, 2]])
    assert joints["RBigToe"][:2] == [32, 132]
    assert joints["LSmallToe"] == joints["RSmallToe"] == [0, 0, 0]


def test_joints_outside_of_the_picture_and_doubtful_ones_count_as_not_found() -> None:
    landmarks_L3 = np.full((33, 3), 50.0)
    landmarks_L3[:, 2] = 0.9
    landmarks_L3[0, 0], landmarks_L3[16, 1], landmarks_L3[25, 2] = -1, 256, 0.05
    joints = dict(zip(BODY_25, body_25(landmarks_L3, 256, 340, 0.1).tolist(), strict=True))
    assert joints["Nose"] == joints["RWrist"] == joints["LKnee"] == [0, 0, 0]
    assert joints["RKnee"][2] > 0
