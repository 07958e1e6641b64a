"""OpenPose on a real CUDA device: maps and people of the CPU. Run with -m gpu where there is one."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from kinebert.preprocessing.pose.estimator import Means
from kinebert.preprocessing.pose.openpose import estimator
from kinebert.preprocessing.pose.openpose.device import Device
from kinebert.preprocessing.pose.openpose.estimator import OpenPose
from kinebert.preprocessing.pose.openpose.models import ModelName
from kinebert.preprocessing.pose.openpose.network import PoseNetwork, unallocated
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams, Upsampling
from tests.helpers import pose_golden
from tests.helpers.pose_networks import Answering
from tests.helpers.requirements import needs

pytestmark = [
    pytest.mark.gpu,
    needs("gpu", torch.cuda.is_available(), "there is no CUDA device"),
]
NAMES: list[ModelName] = ["body25", "coco18"]


@pytest.fixture(autouse=True)
def no_kept_network() -> Iterator[None]:
    estimator._kept.cache_clear()
    yield
    estimator._kept.cache_clear()


def seeded(name: ModelName) -> PoseNetwork:
    network = unallocated(name)
    network.load_state_dict(pose_golden.network(f"openpose_{name}")[0], assign=True)
    return network


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_those_of_the_cpu(name: ModelName) -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), np.uint8))
    answers = []
    for on_gpu in (False, True):
        device = Device(seeded(name), on_gpu=on_gpu, precision="float32", num_threads=2)
        with device.at_work():
            answers.append([part.cpu().numpy() for part in device.maps(pictures)])
            (alone, _), (together, _) = device.maps(pictures[1:2]), device.maps(pictures)
            torch.testing.assert_close(alone[0], together[1], rtol=0, atol=0)  # whatever the number of pictures
    for ours, theirs in zip(*answers, strict=True):
        assert np.abs(ours - theirs).max() / theirs.std() < 1e-4  # float32; the seeded BODY_25 reaches 3e10


@pytest.mark.parametrize("upsampling", ["opencv", "cuda"])
@pytest.mark.parametrize("tag", ["crowd", "two_overlap", "three_missing", "empty"])
def test_people_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch, tag: str, upsampling: Upsampling) -> None:
    arrays = pose_golden.case("decode_cmu_coco18", tag)
    made = Answering(arrays["heat"][:, :22], arrays["paf"][:, :22])
    monkeypatch.setattr(estimator, "load_network", lambda path: ("coco18", made))
    params = OpenPoseParams(net_height=176, upsampling=upsampling)
    white_HW3 = np.full((176, 240, 3), 255, np.uint8)
    (cpu_PJ3,) = OpenPose(params, {"network": "a file"}, Means())([white_HW3])
    (gpu_PJ3,) = OpenPose(params, {"network": "a file"}, Means(on_gpu=True))([white_HW3])
    assert gpu_PJ3.shape == cpu_PJ3.shape
    np.testing.assert_allclose(gpu_PJ3, cpu_PJ3, rtol=0, atol=1e-3)  # pixels; the maps differ by rounding
