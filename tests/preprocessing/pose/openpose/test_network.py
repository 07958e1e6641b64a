"""The networks answer as the published ones, and are as large."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinebert.preprocessing.pose.openpose.models import MODELS, ModelName
from kinebert.preprocessing.pose.openpose.network import unallocated
from tests.helpers import golden, pose_golden

NAMES: list[ModelName] = ["body25", "coco18"]


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_of_the_published_files(name: ModelName) -> None:
    state = unallocated(name).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == pose_golden.network_keys(f"openpose_{name}")


@pytest.mark.parametrize(("name", "parameters", "at_368", "at_656"), [
    ("body25", 26_166_084, 80.57, 143.63),
    ("coco18", 52_311_446, 135.93, 242.32),
])  # fmt: skip
def test_sizes_are_those_of_the_published_networks(
    name: ModelName, parameters: int, at_368: float, at_656: float
) -> None:
    network = unallocated(name)
    assert sum(value.numel() for value in network.parameters()) == parameters
    counted: list[int] = []

    def count(conv: nn.Module, _given: tuple[Tensor], out_NCHW: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        counted.append(out_NCHW.numel() * conv.weight[0].numel())

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    for width, expected in ((368, at_368), (656, at_656)):
        counted.clear()
        heat_NCHW, field_NCHW = network(torch.empty(1, 3, 368, width, device="meta"))
        assert round(sum(counted) / 1e9, 2) == expected
        assert heat_NCHW.shape == (1, MODELS[name].num_heat_maps, 46, width // 8)
        assert field_NCHW.shape == (1, MODELS[name].num_fields, 46, width // 8)


@pytest.mark.slow  # 2 s each, and 200 MB of weights
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_those_of_the_published_network(name: ModelName) -> None:
    state, given, answers = pose_golden.network(f"openpose_{name}")
    network = unallocated(name)
    network.load_state_dict(state, assign=True)
    heat_NCHW, field_NCHW = network(given)
    assert golden.relative_error(heat_NCHW, answers["heat"]) < 1e-4  # float32
    assert golden.relative_error(field_NCHW, answers["paf"]) < 1e-4
    if "heat_port_relu" in answers:
        assert golden.relative_error(heat_NCHW.relu(), answers["heat_port_relu"]) < 1e-4
        assert (answers["heat"] < 0).any()


def test_fields_and_limbs_fit_the_maps() -> None:
    for model in MODELS.values():
        channels = sorted([*model.field_x, *(x + 1 for x in model.field_x)])
        np.testing.assert_array_equal(channels, np.arange(model.num_fields))
        assert all(max(limb) < len(model.joints) for limb in model.limbs)
        assert len(set(model.limbs)) == len(model.limbs)
