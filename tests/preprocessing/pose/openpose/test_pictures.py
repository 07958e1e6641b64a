"""What the networks see of pictures of all sizes."""

import cv2
import numpy as np
import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.pose.openpose.pictures import placed, placements
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams, Thresholds

USUAL, PORT = OpenPoseParams(), OpenPoseParams(decoder="port")


@pytest.mark.parametrize(("height", "width", "expected"), [
    (720, 1280, (368, 656)), (480, 640, (368, 496)), (240, 320, (368, 496)), (332, 488, (368, 544)),
    (1280, 720, (368, 208)), (400, 1600, (368, 1472)), (100, 1, (368, 16)),
])  # fmt: skip
def test_sizes_of_inputs(height: int, width: int, expected: tuple[int, int]) -> None:
    (at,) = placements(height, width, USUAL)
    assert (at.height, at.width) == expected
    assert at.factor == min((expected[1] - 1) / max(width - 1, 1), (expected[0] - 1) / (height - 1))
    assert at.inner[0] <= at.height
    assert at.inner[1] <= at.width


def test_pictures_may_be_limited_to_16_by_9() -> None:
    assert placements(400, 1600, OpenPoseParams(limit_width=True))[0][:2] == (368, 656)
    assert placements(480, 640, OpenPoseParams(limit_width=True)) == placements(480, 640, USUAL)


def test_further_scales_are_smaller_by_the_gap_and_multiples_of_16() -> None:
    found = placements(720, 1280, OpenPoseParams(scales=4, scale_gap=0.25))
    assert [at[:2] for at in found] == [(368, 656), (272, 480), (176, 320), (80, 160)]
    assert found[1].factor == min(479 / 1279, 271 / 719)


def test_a_picture_is_scaled_from_its_top_left_and_black_beside() -> None:
    picture_HW3 = np.full((100, 100, 3), 200, np.uint8)
    picture_HW3[50, 25] = (255, 0, 0)
    params = OpenPoseParams(net_height=208)
    (at,) = placements(100, 100, params)
    input_HW3 = placed(picture_HW3, at, params)
    assert input_HW3.shape == (208, 208, 3)
    blue_HW = input_HW3[..., 0].astype(int) - input_HW3[..., 2]
    y, x = divmod(int(blue_HW.argmax()), blue_HW.shape[1])
    factor = 207 / 99  # corner pixels fall on corner pixels
    assert (y, x) == (round(50 * factor), round(25 * factor))
    wide_HW3 = placed(picture_HW3[:, :20], at, params)
    assert not wide_HW3[:, 45:].any()
    assert (wide_HW3[:207, :39] > 190).all()


@pytest.mark.parametrize(("height", "width"), [(90, 130), (1000, 1300)])
def test_scaling_is_openposes_warp(height: int, width: int) -> None:
    picture_HW3 = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    (at,) = placements(height, width, USUAL)
    flags = cv2.INTER_CUBIC if at.factor > 1 else cv2.INTER_LINEAR
    matrix = np.diag([at.factor, at.factor, 1.0])[:2]
    expected_HW3 = cv2.warpAffine(picture_HW3, matrix, (at.width, at.height), flags=flags)
    np.testing.assert_array_equal(placed(picture_HW3, at, USUAL), expected_HW3)


def test_the_ports_input_is_half_as_high_and_grey_beside() -> None:
    picture_HW3 = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    (at,) = placements(240, 320, PORT)
    assert (at.height, at.width, at.inner) == (184, 248, (184, 245))
    input_HW3 = placed(picture_HW3, at, PORT)
    assert (input_HW3[:, 245:] == 128).all()
    expected_HW3 = cv2.resize(picture_HW3, (245, 184), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(input_HW3[:, :245], expected_HW3)


@pytest.mark.parametrize(("given", "said"), [
    ({"net_height": 360}, "multiple of 16"),
    ({"scales": 5}, "fewer, or a smaller gap"),
    ({"decoder": "cpu"}, "decoder is one of cmu, port"),
    ({"decoder": "port", "scales": 2}, "one scale"),
    ({"decoder": "port", "min_joints": 2}, "thresholds of its own"),
    ({"peak_threshold": 1.5}, "from 0 to less than 1"),
    ({"min_joints": 0}, "1 or more"),
])  # fmt: skip
def test_settings_that_mean_nothing_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OpenPoseParams(**given)  # type: ignore[arg-type]


def test_thresholds_are_openposes_unless_they_are_set() -> None:
    maximized = OpenPoseParams(maximize_positives=True, point_threshold=0.03).thresholds
    assert maximized == Thresholds(peak=0.02, point=0.03, share=0.75, joints=2, score=0.05, feet_count=True)
    usual = OpenPoseParams(min_joints=4).thresholds
    assert usual == Thresholds(peak=0.05, point=0.05, share=0.95, joints=4, score=0.4, feet_count=False)
