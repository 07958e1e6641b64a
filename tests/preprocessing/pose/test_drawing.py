"""Pictures equal to those of OpenPose's own code, and what mirroring and backgrounds do to them."""

import cv2
import numpy as np
import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.pose.drawing import Line, Look, draw, primitives
from kinebert.preprocessing.pose.skeleton import BODY_25, COCO_18, nobody, skeleton_of, swap_left_right
from tests.helpers import pose_golden

CASES = ["body25_crowd", "body25_three_missing", "coco18_crowd", "coco18_three_missing"]


def case(tag: str) -> tuple[np.ndarray, int, int, dict[str, np.ndarray]]:
    arrays = pose_golden.case("render_cmu", tag)
    height, width = arrays["size"].tolist()
    return arrays["keypoints"], height, width, arrays


def test_all_cases_are_tried() -> None:
    assert sorted(pose_golden.cases("render_cmu")) == CASES


@pytest.mark.parametrize("tag", CASES)
def test_the_cpu_look_is_openposes_primitive_by_primitive(tag: str) -> None:
    people_PJ3, height, width, arrays = case(tag)
    ours = [
        [0, *s.start, *s.end, *s.bgr, s.thickness]
        if isinstance(s, Line)
        else [1, *s.center, s.radius, 0, *s.bgr, s.thickness]
        for s in primitives(people_PJ3, height, width)
    ]
    np.testing.assert_array_equal(ours, arrays["primitives"])


@pytest.mark.parametrize("look", ["cpu", "gpu"])
@pytest.mark.parametrize("tag", CASES)
def test_pictures_are_openposes_pixel_by_pixel(tag: str, look: Look) -> None:
    people_PJ3, height, width, arrays = case(tag)
    np.testing.assert_array_equal(draw(people_PJ3, height, width, look=look), arrays[f"{look}_bgr"])


def test_nobody_is_black() -> None:
    assert not draw(nobody(), 24, 32).any()
    assert draw(nobody(), 24, 32).shape == (24, 32, 3)


@pytest.mark.parametrize("look", ["cpu", "gpu"])
def test_a_background_stays_where_nobody_is_drawn_and_is_not_changed(look: Look) -> None:
    people_PJ3, height, width, arrays = case("body25_crowd")
    frame_HW3 = np.random.default_rng(0).integers(1, 255, (height, width, 3), np.uint8)
    before_HW3 = frame_HW3.copy()
    picture_HW3 = draw(people_PJ3, height, width, look=look, background_HW3=frame_HW3)
    untouched_HW = ~arrays[f"{look}_bgr"].any(-1)
    np.testing.assert_array_equal(picture_HW3[untouched_HW], frame_HW3[untouched_HW])
    np.testing.assert_array_equal(frame_HW3, before_HW3)
    painted_HW3 = picture_HW3[~untouched_HW].astype(int) - arrays[f"{look}_bgr"][~untouched_HW]
    if look == "gpu":  # one layer lets 40 % of the frame through, and more layers less; both pictures are rounded
        assert painted_HW3.min() >= -1
        assert painted_HW3.max() <= 0.4 * 255 + 1
    else:
        assert not painted_HW3.any()


def test_left_and_right_change_places() -> None:
    for names in (BODY_25, COCO_18):
        people_PJ3 = np.arange(2 * len(names) * 3, dtype=np.float32).reshape(2, -1, 3)
        swapped_PJ3 = swap_left_right(people_PJ3)
        for a, name in enumerate(names):
            other = {"L": "R", "R": "L"}.get(name[0], name[0]) + name[1:]
            np.testing.assert_array_equal(swapped_PJ3[:, a], people_PJ3[:, names.index(other)])
        np.testing.assert_array_equal(swap_left_right(swapped_PJ3), people_PJ3)


def test_a_flipped_picture_of_swapped_sides_shows_the_mirrored_person() -> None:
    people_PJ3, height, width, _ = case("body25_three_missing")
    person_PJ3 = people_PJ3[:1]
    mirrored_PJ3 = swap_left_right(person_PJ3)
    mirrored_PJ3[..., 0] = np.where(mirrored_PJ3[..., 2] > 0, width - 1 - mirrored_PJ3[..., 0], 0)
    truly_HW3 = draw(mirrored_PJ3, height, width).astype(int)
    swapped_HW3 = cv2.flip(draw(person_PJ3, height, width, swap_sides=True), 1)
    plain_HW3 = cv2.flip(draw(person_PJ3, height, width), 1)
    # the same but for pixels whose centre lies on an edge, which rounding may put on either side
    assert (truly_HW3 != swapped_HW3).any(-1).sum() <= 3
    assert (truly_HW3 != plain_HW3).any(-1).sum() > 100


@pytest.mark.parametrize("look", ["cpu", "gpu"])
def test_joints_that_score_too_little_are_left_out_with_their_limbs(look: Look) -> None:
    people_PJ3, height, width, _ = case("body25_crowd")
    without_PJ3 = people_PJ3.copy()
    without_PJ3[:, BODY_25.index("RWrist")] = 0
    weak_PJ3 = people_PJ3.copy()
    weak_PJ3[:, BODY_25.index("RWrist"), 2] = 0.05
    weak_HW3 = draw(weak_PJ3, height, width, look=look)
    np.testing.assert_array_equal(weak_HW3, draw(without_PJ3, height, width, look=look))
    assert (weak_HW3 != draw(people_PJ3, height, width, look=look)).any()
    assert not draw(people_PJ3, height, width, look=look, threshold=1.0).any()


@pytest.mark.parametrize("look", ["cpu", "gpu"])
def test_people_partly_or_wholly_outside_are_cut_off(look: Look) -> None:
    people_PJ3, height, width, _ = case("body25_crowd")
    moved_PJ3 = people_PJ3.copy()
    moved_PJ3[..., 0] += np.where(moved_PJ3[..., 2] > 0, 5000, 0)
    assert not draw(moved_PJ3, height, width, look=look).any()
    moved_PJ3[0] = people_PJ3[0]
    alone_HW3 = draw(people_PJ3[:1], height, width, look=look)
    np.testing.assert_array_equal(draw(moved_PJ3, height, width, look=look), alone_HW3)


def test_a_joint_alone_is_a_disc_in_the_gpu_look_only() -> None:
    person_PJ3 = np.zeros((1, 25, 3), np.float32)
    person_PJ3[0, 4] = (50, 40, 0.9)
    assert draw(person_PJ3, 100, 200, look="gpu")[40, 50].tolist() == [0, 153, 153]  # 60 % of yellow
    assert not draw(person_PJ3, 100, 200, look="cpu").any()  # its box is empty


def test_what_is_no_people_and_no_look_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(2, 17, 3\)"):
        draw(np.zeros((2, 17, 3), np.float32), 10, 10)
    with pytest.raises(ConfigError, match="'opengl'"):
        draw(nobody(), 10, 10, look="opengl")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="10x12"):
        draw(nobody(), 10, 12, background_HW3=np.zeros((12, 10, 3), np.uint8))


def test_colours_of_limbs_are_those_of_their_second_joint() -> None:
    skeleton = skeleton_of(nobody())
    assert len(skeleton.limbs) == 24
    person_PJ3 = np.zeros((1, 25, 3), np.float32)
    person_PJ3[0, 2], person_PJ3[0, 3] = (20, 50, 1), (180, 60, 1)
    picture_HW3 = draw(person_PJ3, 100, 200, look="cpu")
    assert picture_HW3[55, 100].tolist() == list(skeleton.bgr[3]) == [0, 0xAA, 0xFF]
