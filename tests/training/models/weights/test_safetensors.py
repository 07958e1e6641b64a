"""Files of safetensors, written by hand as the format has it."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import load_published
from kinebert.training.models.weights.files import read_content
from kinebert.training.models.weights.safetensors import read_safetensors
from tests.helpers.toy_weights import net, published_state, same

KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def written(state: dict[str, Tensor], **header: Any) -> bytes:
    """A file; ``header`` replaces what it says of a tensor."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for key, tensor in state.items():
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        place = [len(numbers), len(numbers) + len(raw)]
        entries[key] = {"dtype": KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        numbers += raw
    text = json.dumps({**entries, **header}).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + numbers


def test_every_type_comes_back_as_it_was() -> None:
    state = {
        str(kind): torch.arange(-3, 3).reshape(2, 3).to(kind) if kind != torch.uint8 else torch.arange(6).to(kind)
        for kind in KINDS
    }
    state |= {"scalar": torch.tensor(3.5), "none": torch.zeros(0, 4)}
    found = read_safetensors(written(state))
    assert list(found) == list(state)
    for key, tensor in state.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)


@pytest.mark.parametrize("prefix", ["", "module.", "net._orig_mod.module."])
def test_weights_are_loaded_from_it(prefix: str, tmp_path: Path) -> None:
    state, model = published_state(net()), net()
    (tmp_path / "model.safetensors").write_bytes(written({f"{prefix}{key}": one for key, one in state.items()}))
    load_published(model, tmp_path / "model.safetensors")
    assert same(model, state)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
            r"'a' is of shape \(3,\) in F32, which 8 bytes do not",
        ),
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}, "cut short"),
        ({"dtype": "F4", "shape": [2], "data_offsets": [0, 8]}, "'a' is of the type 'F4'"),
        ({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}, r"gives 'a' the shape \[-2\]"),
        ({"dtype": "F32", "shape": [2**40, 0], "data_offsets": [8, 0]}, "'a' is of shape"),
        ({"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}, "does not say where 'a' lies"),
        ({"dtype": "F32"}, "does not say where 'a' lies"),
        ([], "does not say where 'a' lies"),
    ],
)
def test_what_is_damaged_is_refused_in_a_line(entry: Any, expected: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(written({"a": torch.ones(2)}, a=entry))
    with pytest.raises(UserError, match=f"w: no weights: this is a safetensors file, and .*{expected}") as caught:
        read_content(str(tmp_path / "w"))
    assert "\n" not in str(caught.value)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    data = written({"a": torch.ones(40), "b": torch.ones(2, 3)})
    for length in (9, 40, len(data) // 2, len(data) - 1):
        (tmp_path / "w").write_bytes(data[:length])
        with pytest.raises(UserError):
            read_content(str(tmp_path / "w"))
