"""BlazePose on real clips: how many people it sees, and that nothing but the frames matters."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.pose.backends.blazepose import BlazePoseParams
from kinebert.preprocessing.pose.estimator import Means, backend_of
from kinebert.preprocessing.pose.skeleton import BODY_25, People, swap_left_right
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.video.frames import VideoFrames
from tests.helpers.blazepose import blazepose, files

UInt8 = NDArray[np.uint8]
KICK = "data/ut-interaction/videos/kick/set1_seq01_clip1_kick.avi"
HUG = "data/ut-interaction/videos/hug/set1_seq01_clip2_hug.avi"


def frames_of(path: Path) -> list[UInt8]:
    return list(VideoFrames(str(path), FrameRecipe(resize="none")))


def people_of(frames: Sequence[UInt8], at_once: int = 1000, **params: object) -> list[People]:
    """Return the people of a video's frames, given ``at_once`` at a time."""
    find = blazepose(**params)
    find.begin()
    return [people for i in range(0, len(frames), at_once) for people in find(frames[i : i + at_once])]


def far_apart(people: People, others: People) -> NDArray[np.float32]:
    """Return the distances of joints that are sure in both, over the height of the larger person."""
    sure = (people[..., 2] > 0.5) & (others[..., 2] > 0.5)
    assert sure.sum() > 25
    return np.linalg.norm((people - others)[sure][:, :2], axis=-1) / np.ptp(people[sure][:, 1])


def test_two_people_are_seen_while_one_kicks(shared: Callable[[str], Path]) -> None:
    people = people_of(frames_of(shared(KICK))[::4])
    counts = np.bincount([len(one) for one in people], minlength=3)
    assert counts[2] >= 0.95 * len(people), counts  # all of them when this was written
    assert counts[3:].sum() == 0
    left_x, right_x = np.array([(one[0, 8, 0], one[1, 8, 0]) for one in people if len(one) == 2]).T
    assert (left_x < right_x).all()  # nobody changes places: they never pass each other


def test_somebody_is_seen_all_the_while_two_people_embrace(shared: Callable[[str], Path]) -> None:
    people = people_of(frames_of(shared(HUG))[60:132:4])
    counts = [len(one) for one in people]
    assert min(counts) >= 1
    assert max(counts) <= 2


def test_batches_and_what_was_seen_before_change_nothing(shared: Callable[[str], Path]) -> None:
    frames = frames_of(shared(KICK))[40:52]
    whole = people_of(frames)
    for at_once in (1, 5):
        for ours, theirs in zip(people_of(frames, at_once), whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_mirrored_picture_gives_the_mirrored_people_with_their_sides_exchanged(
    shared: Callable[[str], Path],
) -> None:
    frames = frames_of(shared(KICK))[94:98]  # both stand upright and face the camera
    people = people_of(frames)[-1]
    mirrored = people_of([np.ascontiguousarray(frame_HW3[:, ::-1]) for frame_HW3 in frames])[-1]
    assert len(people) == len(mirrored) == 2
    back = mirrored[::-1].copy()  # places go from left to right
    back[..., 0] = frames[0].shape[1] - 1 - back[..., 0]
    exchanged, plain = far_apart(people, swap_left_right(back)), far_apart(people, back)
    assert np.median(exchanged) < 0.03  # the network is no exact mirror of itself
    assert exchanged.max() < 0.15
    assert np.median(plain) > 2 * np.median(exchanged)


def test_joints_are_in_pixels_of_the_picture_whatever_its_shape(shared: Callable[[str], Path]) -> None:
    frame_HW3 = frames_of(shared(KICK))[0]
    (people,) = people_of([frame_HW3])
    high = np.zeros((600, frame_HW3.shape[1], 3), np.uint8)
    high[150 : 150 + frame_HW3.shape[0]] = frame_HW3
    (moved,) = people_of([high])
    assert len(moved) == len(people) == 2
    sure = (people[..., 2] > 0.8) & (moved[..., 2] > 0.8)
    shift = (moved - people)[sure][:, :2]
    np.testing.assert_allclose(np.median(shift, axis=0), (0, 150), atol=3)  # the detector sees it smaller


def test_an_empty_picture_has_nobody() -> None:
    (people,) = people_of([np.zeros((240, 320, 3), np.uint8)])
    assert people.shape == (0, len(BODY_25), 3)


def test_a_file_that_is_no_such_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"no network")
    exchanged = {"detector": files()["landmarks"], "landmarks": files()["detector"]}
    for wrong, words in (({**files(), "detector": str(tmp_path / "x.tflite")}, "no network"), (exchanged, "expected")):
        with pytest.raises(UserError, match=words):
            backend_of("blazepose").start(BlazePoseParams(), wrong, Means())


@pytest.mark.parametrize("params", [{"detect_every": 0}, {"detection": 1.5}, {"patience": -1}, {"most_people": 0}])
def test_parameters_that_make_no_sense_are_refused(params: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(params))):
        BlazePoseParams(**params)
