"""Batches as a GPU takes them, tried on a CPU."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.pose.estimator import Means
from kinebert.preprocessing.pose.openpose import estimator
from kinebert.preprocessing.pose.openpose.device import Device
from kinebert.preprocessing.pose.openpose.estimator import OpenPose
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams
from tests.helpers import pose_golden
from tests.helpers.pose_networks import Answering

PICTURES = [np.full((16, 24, 3), value, np.uint8) for value in (10, 20, 30, 40, 50, 60)]
MAPS = np.ones((19, 2, 3)), np.ones((38, 2, 3))


class Small(Answering):
    """A network that has no memory for more than two pictures."""

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        if len(x_NCHW) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return super().forward(x_NCHW)


def device_of(network: Answering, at_once: int) -> Device:
    """A device that takes so many pictures of 16x24 together."""
    device = Device(network, on_gpu=False, precision="float32", num_threads=1)
    device.on_gpu, device._pixels_at_once = True, at_once * 16 * 24
    return device


def test_batches_are_filled_and_every_picture_has_its_own_answer() -> None:
    network = Answering(*MAPS)
    device = device_of(network, 4)
    with device.at_work():
        heat_NJhw, field_NChw = device.maps(PICTURES)
    assert [tuple(x_NCHW.shape) for x_NCHW in network.seen] == [(4, 3, 16, 24)] * 2
    assert heat_NJhw.shape == (6, 19, 2, 3)
    assert field_NChw.shape == (6, 38, 2, 3)
    np.testing.assert_allclose(heat_NJhw[:, 0, 0, 0] * 255, (10, 20, 30, 40, 50, 60), rtol=1e-5)


def test_where_memory_is_too_small_fewer_are_taken_from_then_on() -> None:
    network = Small(*MAPS)
    device = device_of(network, 4)
    with device.at_work():
        heat_NJhw, _ = device.maps(PICTURES)
        np.testing.assert_allclose(heat_NJhw[:, 0, 0, 0] * 255, (10, 20, 30, 40, 50, 60), rtol=1e-5)
        assert [len(x_NCHW) for x_NCHW in network.seen] == [2, 2, 2]
        device.maps(PICTURES)
    assert len(network.seen) == 6
    assert device.pictures_at_once(16, 24) == 2


def test_what_is_too_large_for_memory_alone_is_an_error() -> None:
    class Smaller(Answering):
        def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
            raise torch.cuda.OutOfMemoryError("out of memory")

    device = device_of(Smaller(*MAPS), 4)
    with device.at_work(), pytest.raises(torch.cuda.OutOfMemoryError):
        device.maps(PICTURES)


def test_people_are_the_same_where_joints_are_found_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = pose_golden.case("decode_cmu_coco18", "crowd")
    made = Answering(arrays["heat"][:, :22], arrays["paf"][:, :22])
    monkeypatch.setattr(estimator, "load_network", lambda path: ("coco18", made))
    estimator._kept.cache_clear()
    find = OpenPose(OpenPoseParams(net_height=176), {"network": "a file"}, Means())
    white_HW3 = np.full((176, 240, 3), 255, np.uint8)
    (expected_PJ3,) = find([white_HW3])
    find._device.on_gpu = True
    assert find.pictures_at_once(176, 240) == 32
    (found_PJ3,) = find([white_HW3])
    estimator._kept.cache_clear()
    assert len(made.seen[-1]) == 32
    assert len(found_PJ3) == len(expected_PJ3) == 3
    np.testing.assert_allclose(found_PJ3, expected_PJ3, rtol=0, atol=1e-3)  # pixels; the maps differ by rounding
