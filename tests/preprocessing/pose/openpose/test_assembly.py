"""OpenPose's GPU decoder: its own answers to made-up maps, and rules that those do not reach."""

from dataclasses import replace

import numpy as np
import pytest

from kinebert.preprocessing.pose.openpose.assembly import decode, people_of
from kinebert.preprocessing.pose.openpose.maps import Maps, Scale
from kinebert.preprocessing.pose.openpose.models import MODELS
from kinebert.preprocessing.pose.openpose.pairs import Pairs, scored_pairs
from kinebert.preprocessing.pose.openpose.peaks import candidates, peaks
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams
from tests.helpers import pose_golden

FILE = "decode_cmu_coco18"
CASES = [
    "crowd", "empty", "empty_noise", "head_by_ears", "long_limb", "no_neck", "no_neck_maximize_scale1.5", "one",
    "three_missing", "two_apart", "two_overlap", "two_overlap_maximize_scale1.5",
]  # fmt: skip
BODY_25, COCO_18 = MODELS["body25"], MODELS["coco18"]
USUAL, MAXIMIZED = OpenPoseParams().thresholds, OpenPoseParams(maximize_positives=True).thresholds


def maps_of(arrays: dict[str, np.ndarray], by_opencv: bool = True) -> Maps:
    heat_Jhw, field_Chw = (arrays[key].astype(np.float32) for key in ("heat", "paf"))
    size = (8 * heat_Jhw.shape[1], 8 * heat_Jhw.shape[2])
    return Maps(*size, [Scale.of(heat_Jhw, field_Chw, COCO_18, size=size)], by_opencv)


def test_all_cases_are_tried() -> None:
    assert sorted(pose_golden.cases(FILE)) == CASES


@pytest.mark.parametrize("by_opencv", [True, False])
@pytest.mark.parametrize("tag", CASES)
def test_joints_limbs_and_people_are_openposes(tag: str, by_opencv: bool) -> None:
    arrays = pose_golden.case(FILE, tag)
    limits = MAXIMIZED if arrays["maximize_positives"] else USUAL
    maps, scale = maps_of(arrays, by_opencv), float(arrays["scale"])
    found = candidates(maps.heat_above, 18, limits.peak)
    at = peaks(found, 18, (maps.height, maps.width), 0.5 / scale, as_cuda=False)
    ours = np.array([[joint, *peak] for joint in range(18) for peak in at[joint]]).reshape(-1, 4)
    np.testing.assert_allclose(ours, arrays["peaks"], rtol=0, atol=1e-3)  # pixels
    pairs = np.stack([part.astype(np.float64) for part in scored_pairs(at, maps, COCO_18, limits)], 1)
    np.testing.assert_array_equal(pairs[:, :3], arrays["pair_scores"][:, :3])
    np.testing.assert_allclose(pairs[:, 3], arrays["pair_scores"][:, 3], rtol=0, atol=1e-5)
    people_PJ3, score_P = decode(maps, COCO_18, limits, scale=scale)
    assert people_PJ3.shape == arrays["keypoints_gpu"].shape
    np.testing.assert_allclose(people_PJ3, arrays["keypoints_gpu"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(score_P, arrays["scores_gpu"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("tag", ["one", "crowd"])
def test_maps_are_enlarged_as_openposes(tag: str) -> None:
    arrays = pose_golden.case(FILE, tag)
    expected_CHW = arrays["full_24"]  # every 24th pixel: heat maps, then fields
    maps = maps_of(arrays)
    y_HW, x_HW = np.mgrid[: maps.height : 24, : maps.width : 24]
    for joint in range(18):
        for heat_HW in (maps.heat(joint), replace(maps, by_opencv=False).heat(joint)):
            np.testing.assert_allclose(heat_HW[::24, ::24], expected_CHW[joint], rtol=0, atol=1e-5)
    for limb, x in enumerate(COCO_18.field_x):
        field_K = maps.field(np.full(y_HW.size, limb), y_HW.ravel(), x_HW.ravel())
        np.testing.assert_allclose(field_K.real, expected_CHW[19 + x].ravel(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(field_K.imag, expected_CHW[19 + x + 1].ravel(), rtol=0, atol=1e-5)


def test_a_part_of_a_heat_map_holds_every_pixel_above_the_threshold() -> None:
    rng = np.random.default_rng(3)
    small_Jhw = np.where(
        rng.random((20, 30, 40)) < 0.002, rng.normal(0, 1, (20, 30, 40)), rng.normal(0, 0.004, (20, 30, 40))
    )
    small_Jhw = np.pad(small_Jhw, ((0, 6), (0, 0), (0, 0))).astype(np.float32)
    maps = Maps(240, 320, [Scale.of(small_Jhw, np.zeros((52, 30, 40), np.float32), BODY_25, size=(240, 320))])
    cut = 0
    for joint in range(25):
        whole_HW, (part_HW, top, left) = maps.heat(joint), maps.heat_above(joint, 0.05)
        again_HW = np.zeros_like(whole_HW)
        again_HW[top : top + part_HW.shape[0], left : left + part_HW.shape[1]] = part_HW
        np.testing.assert_array_equal(np.where(again_HW > 0.05, again_HW, 0), np.where(whole_HW > 0.05, whole_HW, 0))
        cut += part_HW.size < whole_HW.size
    assert cut > 10


def one_map(*values: tuple[int, int, float], size: tuple[int, int] = (12, 14)) -> np.ndarray:
    heat_HW = np.zeros(size, np.float32)
    for y, x, value in values:
        heat_HW[y, x] = value
    return heat_HW


def places(heat_HW: np.ndarray, as_cuda: bool, offset: float = 0.0) -> list[list[float]]:
    found = candidates(lambda joint, threshold: (heat_HW, 0, 0), 1, 0.05)
    (at,) = peaks(found, 1, heat_HW.shape, offset, as_cuda=as_cuda)  # type: ignore[arg-type]
    return [[round(float(value), 4) for value in row] for row in at]


@pytest.mark.parametrize(("y", "x", "cpu", "cuda"), [
    (5, 5, True, True), (1, 5, True, True), (5, 12, True, True), (10, 1, True, True), (0, 5, False, False),
    (0, 1, True, False), (1, 0, True, False), (11, 12, True, False), (0, 0, False, False), (5, 13, False, False),
])  # fmt: skip
def test_where_at_the_border_a_peak_may_be(y: int, x: int, cpu: bool, cuda: bool) -> None:
    heat_HW = one_map((y, x, 0.5))
    assert (places(heat_HW, as_cuda=False) == [[x, y, 0.5]]) is cpu
    assert (places(heat_HW, as_cuda=True) == [[x, y, 0.5]]) is cuda


def test_equal_neighbours_are_peaks_one_pixel_from_the_border_only_and_of_the_cpu_rule_only() -> None:
    interior_HW, ring_HW = one_map((5, 5, 0.5), (5, 6, 0.5)), one_map((1, 5, 0.5), (1, 6, 0.5))
    assert places(interior_HW, as_cuda=False) == []
    assert places(ring_HW, as_cuda=False) == [[5.5, 1, 0.5]] * 2
    assert places(ring_HW, as_cuda=True) == []


def test_a_peak_lies_at_the_centre_of_what_is_positive_within_3_pixels() -> None:
    heat_HW = one_map((5, 5, 0.6), (5, 8, 0.2), (3, 5, -9), (5, 9, 0.03))
    assert places(heat_HW, as_cuda=True, offset=0.25) == [
        [5 + 3 * 0.2 / 0.8 + 0.25, 5.25, 0.6],
        [round((0.6 * 5 + 0.2 * 8 + 0.03 * 9) / 0.83 + 0.25, 4), 5.25, 0.2],
    ]


def test_a_joint_has_127_peaks_at_most_the_first_by_rows() -> None:
    heat_HW = np.zeros((60, 60), np.float32)
    heat_HW[2:-2:3, 2:-2:3] = 0.5
    found = places(heat_HW, as_cuda=True)
    assert len(found) == 127
    assert [round(y) for _, y, _ in found] == sorted(round(y) for _, y, _ in found)


def chain(*limbs: tuple[int, int], score: float = 0.9, peak: float = 0.9) -> tuple[list[np.ndarray], Pairs]:
    """One peak for each joint of these limbs of BODY_25, and a pair for each limb."""
    joints = {joint for limb in limbs for joint in limb}
    at = [np.full((int(joint in joints), 3), peak, np.float32) for joint in range(25)]
    index = np.array([BODY_25.limbs.index(limb) for limb in limbs])
    return at, Pairs(index, np.zeros_like(index), np.zeros_like(index), np.full(len(index), score, np.float32))


ONE_LEG, FOOT = [(9, 10), (10, 11)], [(11, 22), (22, 23), (11, 24)]
TO_THE_NECK = [(1, 8), (8, 9)]


def test_feet_make_nobody_a_person_beside_others() -> None:
    """A leg of three joints with its foot: alone it is found on the second look, beside a whole body it is not."""
    leg_PJ3, _ = people_of(*chain(*ONE_LEG, *FOOT), BODY_25, USUAL, 1.0)
    assert (leg_PJ3[..., 2] > 0).sum(1).tolist() == [6]
    at, pairs = chain(*ONE_LEG, *FOOT)
    arm_at, arm_pairs = chain((1, 2), (2, 3), (3, 4))
    both = [np.concatenate((leg, arm)) for leg, arm in zip(at, arm_at, strict=True)]
    together = Pairs(
        np.concatenate((pairs.limb, arm_pairs.limb)),
        np.concatenate((pairs.a, arm_pairs.a)),
        np.concatenate((pairs.b, arm_pairs.b)),
        np.concatenate((pairs.score, arm_pairs.score)),
    )
    people_PJ3, _ = people_of(both, together, BODY_25, USUAL, 1.0)
    assert np.flatnonzero(people_PJ3[0, :, 2]).tolist() == [1, 2, 3, 4]
    assert len(people_PJ3) == 1
    everybody_PJ3, _ = people_of(both, together, BODY_25, MAXIMIZED, 1.0)
    assert len(everybody_PJ3) == 2


def test_five_joints_beside_a_foot_are_enough_and_the_foots_score_counts() -> None:
    limbs = [*TO_THE_NECK, *ONE_LEG, *FOOT]
    people_PJ3, score_P = people_of(*chain(*limbs, score=0.5), BODY_25, USUAL, 2.0)
    assert (people_PJ3[0, :, 2] > 0).sum() == 8
    assert score_P[0] == pytest.approx((8 * 0.9 + 7 * 0.5) / (25 + 26))
    np.testing.assert_allclose(people_PJ3[0, 1], (1.8, 1.8, 0.9))


def test_people_need_3_joints_and_a_score_or_2_and_a_lower_one() -> None:
    two = chain((1, 2))
    assert len(people_of(*two, BODY_25, USUAL, 1.0)[0]) == 0
    assert len(people_of(*two, BODY_25, MAXIMIZED, 1.0)[0]) == 1
    weak = chain((1, 2), (2, 3), score=0.1, peak=0.3)  # (3 * 0.3 + 2 * 0.1) / 3
    assert len(people_of(*weak, BODY_25, USUAL, 1.0)[0]) == 0
    assert len(people_of(*weak, BODY_25, replace(USUAL, score=0.36), 1.0)[0]) == 1


def test_near_joints_without_a_field_join() -> None:
    heat_Jhw, field_Chw = np.zeros((26, 46, 46), np.float32), np.zeros((52, 46, 46), np.float32)
    maps = Maps(368, 368, [Scale.of(heat_Jhw, field_Chw, BODY_25, size=(368, 368))])
    at = [np.zeros((0, 3), np.float32) for _ in range(25)]
    at[1] = np.array([[100, 100, 0.9]], np.float32)
    at[8] = np.array([[102, 101, 0.9], [103, 101, 0.9], [100, 100, 0.9]], np.float32)
    pairs = scored_pairs(at, maps, BODY_25, USUAL)
    assert pairs.b.tolist() == [0]  # nearer than 368 / 150 pixels, but not at the same place
    assert pairs.score[0] == pytest.approx(0.05 + 1e-6, abs=1e-8)


def test_the_middle_of_the_hips_of_18_joints_is_the_mean_of_both() -> None:
    person_PJ3 = np.zeros((2, 18, 3), np.float32)
    person_PJ3[:, COCO_18.joints.index("RHip")] = (10, 20, 0.5)
    person_PJ3[0, COCO_18.joints.index("LHip")] = (30, 22, 0.75)
    person_PJ3[:, COCO_18.joints.index("LEar")] = (7, 8, 0.25)
    found_PJ3 = COCO_18.to_body_25(person_PJ3)
    np.testing.assert_array_equal(found_PJ3[0, BODY_25.joints.index("MidHip")], (20, 21, 0.5))
    np.testing.assert_array_equal(found_PJ3[1, BODY_25.joints.index("MidHip")], 0)
    np.testing.assert_array_equal(found_PJ3[:, BODY_25.joints.index("LEar")], [(7, 8, 0.25)] * 2)
    assert (found_PJ3[..., 2] > 0).sum(1).tolist() == [4, 2]
