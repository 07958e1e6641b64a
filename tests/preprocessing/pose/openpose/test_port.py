"""The decoder of the older Python port: its own answers to made-up maps."""

import numpy as np
import pytest

from kinebert.preprocessing.pose.openpose.pictures import placements
from kinebert.preprocessing.pose.openpose.port import PortAnswer, decode_port
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams
from tests.helpers import pose_golden

FILE = "decode_port_coco18"
CASES = [
    "crowd", "crowd_padded", "empty", "empty_noise", "head_by_ears", "long_limb", "no_neck", "one", "three_missing",
    "two_apart", "two_overlap", "two_overlap_double",
]  # fmt: skip


def answer(tag: str, relu: bool = False) -> tuple[PortAnswer, dict[str, np.ndarray]]:
    arrays = pose_golden.case(FILE, tag)
    height, width = arrays["image_shape"].tolist()
    (at,) = placements(height, width, OpenPoseParams(decoder="port"))
    heat_Jhw, field_Chw = (arrays[key].astype(np.float32) for key in ("heat", "paf"))
    return decode_port(heat_Jhw, field_Chw, (height, width), at.inner, relu=relu), arrays


def test_all_cases_are_tried() -> None:
    assert sorted(pose_golden.cases(FILE)) == CASES


@pytest.mark.parametrize("tag", CASES)
def test_peaks_limbs_and_people_are_the_ports(tag: str) -> None:
    found, arrays = answer(tag)
    # the same operations in float64, but for the blur's sums; OpenCV's maps may differ by one float32 step elsewhere
    np.testing.assert_allclose(found.candidate, arrays["candidate"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.connections, arrays["connections"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.subset, arrays["subset"], rtol=0, atol=1e-5)


def test_the_maps_are_not_below_0_where_the_port_has_its_relu() -> None:
    plain, _ = answer("one")
    clipped, arrays = answer("one", relu=True)
    assert (arrays["heat"] >= 0).all()
    np.testing.assert_array_equal(plain.candidate, clipped.candidate)
    heat_Jhw = arrays["heat"].astype(np.float32) - np.float32(0.05)
    maps = heat_Jhw, arrays["paf"].astype(np.float32), (184, 240), (184, 240)
    low, cut = decode_port(*maps), decode_port(*maps, relu=True)
    assert low.candidate.shape == cut.candidate.shape == plain.candidate.shape
    assert (low.candidate[:, 2] != cut.candidate[:, 2]).any()  # next to a peak, what is below 0 lets it stand out


def test_people_have_the_peaks_of_their_rows() -> None:
    found, _ = answer("three_missing")
    people_PJ3 = found.people()
    assert people_PJ3.shape == (len(found.subset), 18, 3)
    for row, joints_J3 in zip(found.subset, people_PJ3, strict=True):
        assert (joints_J3[:, 2] > 0).sum() == row[19]
        for joint in range(18):
            expected = found.candidate[int(row[joint]), :3] if row[joint] >= 0 else np.zeros(3)
            np.testing.assert_allclose(joints_J3[joint], expected, rtol=1e-6)
