"""From pictures to people, with networks that answer what is known."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.pose.estimator import Means, backend_of
from kinebert.preprocessing.pose.openpose import estimator
from kinebert.preprocessing.pose.openpose.device import candidates_on_device
from kinebert.preprocessing.pose.openpose.estimator import OpenPose
from kinebert.preprocessing.pose.openpose.maps import SHARPNESS, Maps, Scale
from kinebert.preprocessing.pose.openpose.models import MODELS, ModelName
from kinebert.preprocessing.pose.openpose.peaks import candidates
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams
from tests.helpers import pose_golden
from tests.helpers.paths import ROOT
from tests.helpers.pose_networks import Answering

COCO_18 = MODELS["coco18"]
FILES = {"network": "a file"}
SMALL = OpenPoseParams(net_height=176)
WHITE_HW3 = np.full((176, 240, 3), 255, np.uint8)


def maps_of(tag: str, rows: int = 22) -> tuple[np.ndarray, np.ndarray]:
    arrays = pose_golden.case("decode_cmu_coco18", tag)
    return arrays["heat"][:, :rows], arrays["paf"][:, :rows]


@pytest.fixture(autouse=True)
def no_kept_network() -> None:
    estimator._kept.cache_clear()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """The maps of three people, for inputs of 176x240."""
    made = Answering(*maps_of("three_missing"))
    monkeypatch.setattr(estimator, "load_network", lambda path: ("coco18", made))
    return made


def test_pictures_of_the_inputs_own_size_end_in_the_decoders_people(network: Answering) -> None:
    find = OpenPose(SMALL, FILES, Means())
    found = find([WHITE_HW3, np.zeros_like(WHITE_HW3), WHITE_HW3])
    assert [len(people_PJ3) for people_PJ3 in found] == [3, 0, 3]
    expected_PJ3 = COCO_18.to_body_25(pose_golden.case("decode_cmu_coco18", "three_missing")["keypoints_gpu"])
    assert found[0].dtype == np.float32
    assert found[0].shape == expected_PJ3.shape == (3, 25, 3)
    np.testing.assert_allclose(found[0][..., :2], expected_PJ3[..., :2], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(found[0], found[2])
    assert {tuple(x_NCHW.shape) for x_NCHW in network.seen} == {(1, 3, 176, 240)}
    assert network.seen[0].unique().tolist() == [255 / 256 - 0.5]
    assert network.seen[1].unique().tolist() == [-0.5]


def test_people_are_in_pixels_of_the_picture(network: Answering) -> None:
    double_HW3 = np.full((351, 479, 3), 255, np.uint8)  # corner pixels fall on corner pixels: 350 = 2 * 175
    small_PJ3 = OpenPose(SMALL, FILES, Means())([WHITE_HW3])[0]
    large_PJ3 = OpenPose(SMALL, FILES, Means())([double_HW3])[0]
    there_PJ = small_PJ3[..., 2] > 0
    factor = (479 - 1) / (240 - 1)
    np.testing.assert_array_equal(large_PJ3[..., 2] > 0, there_PJ)
    # half a pixel of the picture is added in either
    expected = (small_PJ3[..., :2][there_PJ] - 0.5) * factor + 0.5
    np.testing.assert_allclose(large_PJ3[..., :2][there_PJ], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("decoder", ["cmu", "port"])
def test_the_decoder_is_the_one_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, decoder: str) -> None:
    """Without a neck the port finds one person by the ears, and OpenPose two legs and a head."""
    made = Answering(*maps_of("no_neck", 23))
    monkeypatch.setattr(estimator, "load_network", lambda path: ("coco18", made))
    params = OpenPoseParams(decoder="port") if decoder == "port" else OpenPoseParams(net_height=176)
    if decoder == "cmu":
        made.heat, made.field = made.get_buffer("heat")[:, :22], made.get_buffer("field")[:, :22]
    size = (184, 240) if decoder == "port" else (176, 240)
    (found_PJ3,) = OpenPose(params, FILES, Means())([np.full((*size, 3), 255, np.uint8)])
    assert len(found_PJ3) == (1 if decoder == "port" else 3)


def test_threads_are_as_many_as_may_be_used_and_as_before_afterwards(
    network: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    before = torch.get_num_threads()
    OpenPose(SMALL, FILES, Means(num_threads=3))([WHITE_HW3])
    assert set_to == [3, before]


def test_videos_side_by_side_share_a_network(network: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(path: str) -> tuple[ModelName, Answering]:
        loaded.append(path)
        return "coco18", network

    monkeypatch.setattr(estimator, "load_network", load)
    first, second = OpenPose(SMALL, FILES, Means()), OpenPose(SMALL, FILES, Means())
    np.testing.assert_array_equal(first([WHITE_HW3])[0], second([WHITE_HW3])[0])
    assert loaded == ["a file"]
    OpenPose(SMALL, {"network": "another"}, Means())
    assert loaded == ["a file", "another"]


def test_several_scales_are_averaged_where_they_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that answers with a bump at one place of the picture: at every scale, people's joints are there."""

    class Bump(Answering):
        def forward(self, x_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.seen.append(x_NCHW)
            h, w = x_NCHW.shape[2] // 8, x_NCHW.shape[3] // 8
            factor = x_NCHW.shape[2] / 352  # the picture fills its input
            y, x = torch.meshgrid(torch.arange(h) * 8 + 3.5, torch.arange(w) * 8 + 3.5, indexing="ij")
            heat_Jhw, field_Chw = torch.zeros(19, h, w), torch.zeros(38, h, w)
            for joint in (1, 2, 3):
                distance = (y - 100 * factor) ** 2 + (x - (80 + 40 * joint) * factor) ** 2
                heat_Jhw[joint] = torch.exp(-distance / (2 * 8.0**2))
            field_Chw[[COCO_18.field_x[0], COCO_18.field_x[2]]] = 1.0
            return heat_Jhw[None], field_Chw[None]

    made = Bump(np.zeros(1), np.zeros(1))
    monkeypatch.setattr(estimator, "load_network", lambda path: ("coco18", made))
    picture_HW3 = np.zeros((352, 352, 3), np.uint8)
    found = {}
    for scales in (1, 3):
        params = OpenPoseParams(net_height=352, scales=scales)
        (found[scales],) = OpenPose(params, FILES, Means())([picture_HW3])
        assert len(made.seen) == scales
        made.seen.clear()
        joints_J3 = found[scales][0]
        for joint in (1, 2, 3):
            # the flat kernel and the window leave half a pixel
            np.testing.assert_allclose(joints_J3[joint, :2], (80 + 40 * joint, 100), rtol=0, atol=1.0)
    assert np.abs(found[1] - found[3]).max() > 1e-3


@pytest.mark.parametrize("upsampling", ["opencv", "cuda"])
@pytest.mark.parametrize("tag", ["crowd", "empty", "three_missing"])
def test_joints_found_on_a_device_are_the_same(tag: str, upsampling: str) -> None:
    arrays = pose_golden.case("decode_cmu_coco18", tag)
    heat_Jhw, field_Chw = arrays["heat"].astype(np.float32), arrays["paf"].astype(np.float32)
    one = Scale.of(heat_Jhw, field_Chw, COCO_18, size=(184, 240), sharpness=SHARPNESS[upsampling])
    expected = candidates(Maps(184, 240, [one], by_opencv=False).heat_above, 18, 0.05)
    found = candidates_on_device([torch.from_numpy(heat_Jhw[:18])], [one.rows], [one.columns], 0.05)
    for ours, theirs in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(found.window, expected.window, rtol=0, atol=1e-6)


def test_what_the_machine_or_the_network_cannot_do_is_refused(
    network: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="needs a GPU"):
        OpenPose(OpenPoseParams(precision="float16"), FILES, Means())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees none"):
        OpenPose(SMALL, FILES, Means(on_gpu=True))
    estimator._kept.cache_clear()
    name: ModelName = "body25"
    monkeypatch.setattr(estimator, "load_network", lambda path: (name, network))
    with pytest.raises(ConfigError, match="network of 18 joints, and a file holds the one of 25"):
        OpenPose(OpenPoseParams(decoder="port"), FILES, Means())


def test_the_backend_says_what_its_weights_may_be_used_for(tmp_path: Path) -> None:
    backend = backend_of("openpose")
    assert "non-commercial research" in backend.licence
    assert [file.role for file in backend.files] == ["network"]
    (path := tmp_path / "weights.caffemodel").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"weights\.caffemodel: neither"):
        backend.start(backend.params(), {"network": str(path)}, Means())


def test_torch_is_not_imported_before_a_network_is_asked_for() -> None:
    code = (
        "import sys\nfrom kinebert.preprocessing.pose.estimator import backend_of\n"
        "from kinebert.preprocessing.pose.openpose import assembly, pictures, port\n"
        "backend_of('openpose').params()\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
