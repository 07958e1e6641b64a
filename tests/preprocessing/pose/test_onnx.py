"""ONNX files of the RTM family: numbers worked by hand, places found in pictures, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.pose.backends.onnx import OnnxParams, OnnxPose
from kinebert.preprocessing.pose.estimator import Means, backend_of
from kinebert.preprocessing.pose.rtm.joint_sets import JOINT_SETS, body_25
from kinebert.preprocessing.pose.skeleton import BODY_25
from tests.helpers.onnx_files import brightest_network, constant_network, mean_score_detector
from tests.helpers.requirements import imported

imported("onnx", "pose")
imported("onnxruntime", "pose")

NECK, MID_HIP, NOSE = (BODY_25.index(name) for name in ("Neck", "MidHip", "Nose"))
BLACK = np.zeros((128, 96, 3), np.uint8)


def start(files: dict[str, str], **params: object) -> OnnxPose:
    return backend_of("onnx").start(OnnxParams(**params), files, Means())  # type: ignore[arg-type, return-value]


def simcc(at: tuple[int, int], scores: tuple[float, float], joints: int = 17) -> dict[str, np.ndarray]:
    """Rows of an RTMPose of 48x64 pixels: all joints at one bin in x and one in y."""
    rows = {"simcc_x": np.zeros((1, joints, 96), np.float32), "simcc_y": np.zeros((1, joints, 128), np.float32)}
    for row, bin_, score in zip(rows.values(), at, scores, strict=True):
        row[:, :, bin_] = score
    return rows


def test_bins_are_halves_of_pixels_and_the_lower_score_counts(tmp_path: Path) -> None:
    find = start({"network": constant_network(tmp_path / "n.onnx", 64, 48, simcc((31, 80), (0.9, 0.7)))})
    # 96x128 times 1.25 is 120x160, of the shape of 48x64: 2.5 pixels of the picture for one of the input, whose corner
    # lies at (48 - 60, 64 - 80). Bin 31 is 15.5, bin 80 is 40.
    (people,) = find([BLACK])
    assert people.shape == (1, 25, 3)
    assert people[0, NOSE].tolist() == pytest.approx([15.5 * 2.5 - 12, 40 * 2.5 - 16, 0.7])


def test_a_picture_of_another_shape_is_padded_around_its_middle(tmp_path: Path) -> None:
    find = start({"network": constant_network(tmp_path / "n.onnx", 64, 48, simcc((48, 64), (1.2, 1.1)))})
    (people,) = find([np.zeros((128, 300, 3), np.uint8)])
    assert people[0, NOSE].tolist() == pytest.approx([150, 64, 1.0])  # the middle; scores end at 1


def test_the_brightest_place_is_found_where_it_is(tmp_path: Path) -> None:
    find = start({"network": brightest_network(tmp_path / "n.onnx", 64, 48, 26)})
    for x, y in ((20, 30), (70, 100), (90, 10)):
        picture = BLACK.copy()
        picture[y - 3 : y + 4, x - 3 : x + 4] = (0, 0, 255)  # red in BGR: the network looks at the red
        (people,) = find([picture])
        np.testing.assert_allclose(people[0, NECK, :2], (x, y), atol=4)  # the input has a pixel for 2.5 of them
        assert people[0, NECK, 2] == pytest.approx(min(1, 0.25 * (255 - 123.675) / 58.395), abs=1e-4)


def test_weak_joints_are_not_found_and_nobody_is_left_then(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "n.onnx", 64, 48, simcc((31, 80), (0.9, 0.2)))
    assert start({"network": path})([BLACK])[0].shape == (0, 25, 3)
    assert start({"network": path}, joint_score=0.1)([BLACK])[0].shape == (1, 25, 3)


def test_rtmo_gives_all_people_without_doubles_from_left_to_right(tmp_path: Path) -> None:
    boxes = np.array([[[40, 0, 60, 60, 0.9], [41, 0, 60, 60, 0.8], [4, 0, 20, 60, 0.7], [0, 0, 9, 9, 0.2]]], np.float32)
    joints = np.ones((1, 4, 17, 3), np.float32)
    joints[0, :, :, 0] = np.array([50, 51, 10, 5])[:, None]
    joints[0, :, :, 1] = 32
    find = start({"network": constant_network(tmp_path / "n.onnx", 64, 64, {"dets": boxes, "keypoints": joints})})
    (people,) = find([np.zeros((128, 128, 3), np.uint8)])  # half as large in the input
    assert people[:, NOSE].tolist() == [[20, 64, 1], [100, 64, 1]]
    (narrow,) = find([BLACK])
    assert narrow[:, NOSE].tolist() == [[20, 64, 1]]  # the other's joints lie outside of 96 pixels
    (one,) = start({"network": str(tmp_path / "n.onnx")}, most_people=1)([np.zeros((128, 128, 3), np.uint8)])
    assert one[:, NOSE, 0].tolist() == [100]  # the surest


def yolox(**rows: tuple[int, list[float]]) -> np.ndarray:
    """Raw answers of a YOLOX of 64x64: 64 cells of 8 pixels, 16 of 16, 4 of 32; two classes."""
    raw = np.zeros((1, 84, 7), np.float32)
    for cell, values in rows.values():
        raw[0, cell] = values
    return raw


def test_boxes_of_yolox_are_decoded_by_strides_and_each_gets_joints(tmp_path: Path) -> None:
    log2 = float(np.log(2))
    raw = yolox(
        person=(64 + 4 + 1, [0.5, 0.25, log2, log2, 0.9, 0.9, 0.0]),  # cell (1, 1) of stride 16: centre (24, 20), 32x32
        double=(64 + 4 + 2, [-0.5, 0.25, log2, log2, 0.8, 0.9, 0.0]),  # the same box from the cell beside
        dog=(0, [0.5, 0.5, 0, 0, 0.9, 0.1, 0.9]),
        doubtful=(9, [0, 0, 0, 0, 0.6, 0.6, 0.0]),  # 0.36
    )
    detector = constant_network(tmp_path / "d.onnx", 64, 64, {"output": raw})
    network = constant_network(tmp_path / "n.onnx", 64, 48, simcc((48, 64), (0.9, 0.9)))
    (people,) = start({"network": network, "detector": detector})([np.zeros((128, 128, 3), np.uint8)])
    assert people[:, NOSE].tolist() == [pytest.approx([48, 40, 0.9])]  # the middle of the box, twice as large


def test_a_detector_that_finds_nobody_gives_nobody(tmp_path: Path) -> None:
    detector = constant_network(tmp_path / "d.onnx", 64, 64, {"output": yolox()})
    network = constant_network(tmp_path / "n.onnx", 64, 48, simcc((48, 64), (0.9, 0.9)))
    assert start({"network": network, "detector": detector})([BLACK])[0].shape == (0, 25, 3)


def test_rtmdet_is_given_normalised_values_and_yolox_plain_ones(tmp_path: Path) -> None:
    network = constant_network(tmp_path / "n.onnx", 64, 48, simcc((48, 64), (0.9, 0.9)))
    white = np.full((64, 64, 3), 255, np.uint8)
    for kind, mean in (("yolox", 255.0), ("rtmdet", 2.42)):
        detector = mean_score_detector(tmp_path / f"{kind}.onnx", 64, 64, (0, 0, 32, 32), 0.6 / mean)
        files = {"network": network, "detector": detector}
        (people,) = start(files, detector_kind=kind, person=0.55)([white])
        assert people[:, NOSE, :2].tolist() == [[16, 16]]
        (people,) = start(files, detector_kind=kind, person=0.65)([white])
        assert len(people) == 0
        with pytest.raises(UserError, match=r"YOLOX or RTMDet.*detector_kind"):
            start(files)


@pytest.mark.parametrize("num_joints", list(JOINT_SETS))
def test_every_set_of_joints_ends_in_the_25_of_openpose(num_joints: int) -> None:
    joints = np.stack([np.arange(num_joints), np.arange(num_joints), np.full(num_joints, 0.8)], axis=1)[None]
    by_name = dict(zip(BODY_25, body_25(joints, 200, 200, 0.3)[0].tolist(), strict=True))
    for name, place in {"LEye": 1, "REye": 2, "LShoulder": 5, "RWrist": 10, "LHip": 11, "RAnkle": 16}.items():
        assert by_name[name] == pytest.approx([place, place, 0.8])
    feet = {17: None, 26: 20, 133: 17, 134: 18}[num_joints]
    assert by_name["LBigToe"][0] == (feet or 0)
    assert by_name["RHeel"][0] == {17: 0, 26: 25, 133: 22, 134: 23}[num_joints]
    assert by_name["Neck"][0] == {17: 5.5, 26: 18, 133: 5.5, 134: 17}[num_joints]
    assert by_name["MidHip"][0] == {17: 11.5, 26: 19, 133: 11.5, 134: 11.5}[num_joints]


def test_a_mean_needs_both_of_its_joints() -> None:
    joints = np.full((1, 17, 3), 0.9)
    joints[0, 5, 2] = 0.1
    assert body_25(joints, 10, 10, 0.3)[0, NECK].tolist() == [0, 0, 0]
    assert body_25(joints, 10, 10, 0.3)[0, MID_HIP, 2] > 0


def test_what_is_not_understood_is_refused_with_its_shapes(tmp_path: Path) -> None:
    network = constant_network(tmp_path / "n.onnx", 64, 48, simcc((48, 64), (0.9, 0.9)))
    others = {
        "joints": constant_network(tmp_path / "a.onnx", 64, 48, simcc((1, 1), (1, 1), joints=19)),
        "heat maps": constant_network(tmp_path / "b.onnx", 64, 48, {"maps": np.zeros((1, 17, 16, 12), np.float32)}),
    }
    for path, shape in zip(others.values(), ("(1, 19, 96)", "(1, 17, 16, 12)"), strict=True):
        with pytest.raises(UserError, match=re.escape(shape)):
            start({"network": path})
        with pytest.raises(UserError, match=re.escape(shape)):
            start({"network": network, "detector": path})
    (tmp_path / "c.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"c\.onnx: onnxruntime cannot read"):
        start({"network": str(tmp_path / "c.onnx")})


def test_a_size_that_the_file_leaves_open_has_to_be_given(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "n.onnx", "height", "width", simcc((31, 80), (0.9, 0.7)))
    with pytest.raises(UserError, match="leaves the height open"):
        start({"network": path})
    assert len(start({"network": path}, height=64, width=48)([BLACK])[0]) == 1
    fixed = constant_network(tmp_path / "f.onnx", 64, 48, simcc((31, 80), (0.9, 0.7)))
    with pytest.raises(UserError, match="height 64, 32 was asked for"):
        start({"network": fixed}, height=32)


def test_rtmo_takes_no_detector(tmp_path: Path) -> None:
    outputs = {"dets": np.zeros((1, 1, 5), np.float32), "keypoints": np.zeros((1, 1, 17, 3), np.float32)}
    path = constant_network(tmp_path / "n.onnx", 64, 64, outputs)
    with pytest.raises(UserError, match="Leave the detector out"):
        start({"network": path, "detector": path})


def test_where_there_is_no_cuda_it_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = constant_network(tmp_path / "n.onnx", 64, 48, simcc((31, 80), (0.9, 0.7)))
    runtime = imported("onnxruntime", "pose")
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.warns(RuntimeWarning, match="on the CPU"):
        find = backend_of("onnx").start(OnnxParams(), {"network": path}, Means(on_gpu=True))
    assert find.name.endswith("on CPU")


@pytest.mark.parametrize("params", [{"person": 2.0}, {"most_people": 0}, {"height": -1}])
def test_parameters_that_make_no_sense_are_refused(params: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(params))):
        OnnxParams(**params)
