"""A user's file of weights: read in every form, and refused by name where it is not what it should be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.pose.openpose.caffemodel import read_caffemodel
from kinebert.preprocessing.pose.openpose.models import ModelName
from kinebert.preprocessing.pose.openpose.network import unallocated
from kinebert.preprocessing.pose.openpose.weights import load_network
from tests.helpers import pose_golden
from tests.helpers.caffe_files import caffemodel, field, layers_of

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv1_1": [RNG.normal(size=(6, 3, 3, 3)).astype(np.float32), RNG.normal(size=6).astype(np.float32)],
    "one_by_one": [RNG.normal(size=(5, 6, 1, 1)).astype(np.float32), RNG.normal(size=5).astype(np.float32)],
    "prelu4_2": [RNG.normal(size=6).astype(np.float32)],
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_a_caffemodel_is_read_as_it_was_written(old: bool, packed: bool) -> None:
    found = read_caffemodel(caffemodel(ARRAYS, old=old, packed=packed))
    assert list(found) == ["conv1_1.weight", "conv1_1.bias", "one_by_one.weight", "one_by_one.bias", "prelu4_2.weight"]
    for key, value in found.items():
        layer, _, kind = key.partition(".")
        np.testing.assert_array_equal(value, ARRAYS[layer][kind == "bias"])
        assert value.dtype == np.float32


def test_layers_without_numbers_and_other_fields_are_passed_over() -> None:
    data = field(100, field(1, b"relu1") + field(2, b"ReLU")) + caffemodel(ARRAYS) + field(5, 1)
    assert len(read_caffemodel(data)) == 5


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_part_of_a_caffemodel_is_no_caffemodel(keep: float) -> None:
    data = caffemodel({"conv1_1": ARRAYS["conv1_1"]})
    with pytest.raises(ValueError, match="left|ends within|numbers"):
        read_caffemodel(data[: int(keep * (len(data) - 7))])


def test_numbers_that_do_not_fit_their_shape_name_their_layer() -> None:
    blob = field(5, np.zeros(5, "<f4").tobytes()) + field(7, field(1, bytes([2, 3])))
    with pytest.raises(ValueError, match=r"'conv9' has 5 numbers for the shape \(2, 3\)"):
        read_caffemodel(field(100, field(1, b"conv9") + field(7, blob)))


def small(name: ModelName, **changed: Any) -> dict[str, torch.Tensor]:
    """The state dict of a network, none of whose numbers takes room: only its first layers are real."""
    state = {key: torch.zeros(value.shape) for key, value in list(unallocated(name).state_dict().items())[:4]}
    telling = {"body25": "Mconv1_stage0_L2_0.weight", "coco18": "conv5_1_CPM_L1.weight"}[name]
    return state | {telling: torch.zeros(unallocated(name).state_dict()[telling].shape)} | changed


@pytest.mark.parametrize(("name", "joints", "entries"), [("body25", 25, 327), ("coco18", 18, 184)])
def test_what_is_missing_foreign_misshapen_or_no_number_is_named(
    tmp_path: Path, name: ModelName, joints: int, entries: int
) -> None:
    state = small(name) | {
        "conv1_1.weight": torch.zeros(64, 1, 3, 3),
        "conv1_1.bias": torch.full((64,), float("nan")),
        "fc.weight": torch.zeros(3),
    }
    torch.save(state, path := tmp_path / "weights.pth")
    with pytest.raises(UserError) as caught:
        load_network(str(path))
    text = str(caught.value)
    assert f"network of {joints} joints" in text
    assert f"{entries - 5} entries are missing: conv2_1.weight, conv2_1.bias, " in text
    assert "1 are not of this network: fc.weight" in text
    assert "conv1_1.weight is 64x1x3x3 instead of 64x3x3x3" in text
    assert "1 do not hold finite real numbers: conv1_1.bias" in text


CLASS = type("Own", (), {})


@pytest.mark.parametrize(("content", "said"), [
    ({"layer1.conv.weight": torch.zeros(3)}, "none of the layers Mconv1_stage0_L2_0 and conv5_1_CPM_L1"),
    ({"a.conv1_1.bias": torch.zeros(3), "b.conv1_1.bias": torch.zeros(3)}, "two entries are called conv1_1.bias"),
    ([1, 2], "no tensors by name"),
    ({"conv1_1.weight": torch.zeros(3), "epoch": 4}, "or other things beside them"),
    ({"model": {"x.weight": torch.zeros(2)}, "ema": {"x.weight": torch.zeros(2)}}, "no tensors by name"),
    (torch.nn.Linear(2, 2), "No code of a file is ever run"),
])  # fmt: skip
def test_other_files_of_pytorch_are_refused(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, path := tmp_path / "weights.pt")
    with pytest.raises(UserError, match=said):
        load_network(str(path))


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"name: 'net'\ninput: 'image'\n", bytes(100)])
def test_what_is_no_weights_at_all_is_refused(tmp_path: Path, data: bytes) -> None:
    (path := tmp_path / "pose_iter.caffemodel").write_bytes(data)
    with pytest.raises(UserError, match=r"neither a file of PyTorch nor a \.caffemodel"):
        load_network(str(path))
    with pytest.raises(UserError, match="no such file"):
        load_network(str(tmp_path / "nowhere.pth"))


def test_a_caffemodel_of_another_network_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "vgg.caffemodel").write_bytes(caffemodel(ARRAYS))
    with pytest.raises(UserError, match="no weights of OpenPose's body networks"):
        load_network(str(path))


@pytest.mark.slow  # 105 and 209 MB of weights, several times
@pytest.mark.parametrize("name", ["body25", "coco18"])
def test_every_form_of_a_whole_file_gives_the_same_network(tmp_path: Path, name: ModelName) -> None:
    state, given, _ = pose_golden.network(f"openpose_{name}")
    given = given[..., :32, :32]
    network = unallocated(name)
    network.load_state_dict(state, assign=True)
    expected = network(given)
    path = tmp_path / "weights"

    def same(kind: ModelName) -> None:
        found_name, found = load_network(str(path))
        assert found_name == kind
        assert not any(value.requires_grad for value in found.parameters())
        for ours, theirs in zip(found(given), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)

    layers = layers_of({key: value.numpy() for key, value in state.items()})
    for old in (False, True):
        path.write_bytes(caffemodel(layers, old=old))
        same(name)
    for content in (
        state,
        {f"module.model{len(key) % 7}_1.{key}": value for key, value in state.items()},
        {"epoch": 3, "state_dict": {f"poseNet.stage.{key}": value for key, value in state.items()}},
    ):
        torch.save(content, path)
        same(name)
