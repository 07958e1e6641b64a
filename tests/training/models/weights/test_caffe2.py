"""Pickles of Caffe2: arrays come out as they went in, and nothing of the file is ever run."""

import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import build_recognizer, load_published
from kinebert.training.models.weights.caffe2 import read_blobs

BLOBS = {
    "conv1_w": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">i4"),
    "lr": np.float32(0.1),
    "model_iter": np.array([196]),
    "half": np.zeros((1, 2), np.float16),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [lambda blobs: {"blobs": blobs, "cfg": "DEPTH: 50"}, dict], ids=["blobs", "plain"])
def test_arrays_come_out_as_they_went_in(wrap: Callable[[Any], Any], protocol: int) -> None:
    found = read_blobs(pickle.dumps(wrap(BLOBS), protocol=protocol))
    assert list(found) == list(BLOBS)
    for name, array in found.items():
        assert np.array_equal(array, np.asarray(BLOBS[name])), name
        assert array.dtype.isnative, name
        assert array.dtype.kind == np.asarray(BLOBS[name]).dtype.kind, name


def test_files_of_python_2_are_read() -> None:
    """What Python 2 wrote of ``{"blobs": {"w": np.array([1, 2], "<f4")}}``: bytes as text, NumPy's old module names."""
    data = (
        b"\x80\x02}q\x00U\x05blobsq\x01}q\x02U\x01wq\x03cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05"
        b"K\x00\x85U\x01b\x87Rq\x06(K\x01K\x02\x85cnumpy\ndtype\nq\x07U\x02f4K\x00K\x01\x87Rq\x08(K\x03U\x01<NNNJ\xff\xff"
        b"\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tbss."
    )
    assert read_blobs(data)["w"].tolist() == [1, 2]


class Run:
    """Unpickled in the ordinary way it calls ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    "content",
    [
        lambda file: Run(os.system, f"touch {file}"),
        lambda file: {"blobs": {"w": BLOBS["conv1_w"], "x": Run(os.system, f"touch {file}")}},
        lambda file: {"blobs": {"w": np.array([Run(os.system, f"touch {file}")], dtype=object)}},
        lambda file: {"blobs": {"w": Run(eval, f"open({str(file)!r}, 'w')")}},
        lambda file: {"blobs": {"w": Run(getattr, np.zeros(1), "tofile")}},
        lambda file: {"blobs": {"w": Run(np.fromfile, str(file))}},
    ],
    ids=["alone", "among arrays", "in an array", "eval", "getattr", "a function of NumPy"],
)
def test_a_file_that_wants_to_run_something_is_refused(content: Callable[[Path], Any], tmp_path: Path) -> None:
    data = pickle.dumps(content(tmp_path / "was-run"))
    with pytest.raises((pickle.UnpicklingError, ValueError), match="no code of a file is ever run|are no weights"):
        read_blobs(data)
    file = tmp_path / "malicious.pkl"
    file.write_bytes(data)
    net = build_recognizer(backbone="slowfast_50", head="tgap", num_classes=2, width=0.125, size=32)
    with pytest.raises(UserError, match=r"malicious\.pkl: neither a PyTorch file nor a Caffe2 pickle of arrays"):
        load_published(net, file)
    assert not (tmp_path / "was-run").exists()


def test_the_makers_of_arrays_cannot_be_changed() -> None:
    change = b"cnumpy.core.multiarray\n_reconstruct\n(N}S'__doc__'\nS'changed'\nstb."
    assert [opcode.name for opcode, _, _ in pickletools.genops(change)][-2] == "BUILD"
    with pytest.raises(pickle.UnpicklingError, match="wants to change how arrays are made"):
        read_blobs(change)


@pytest.mark.parametrize(
    "content",
    [[1, 2], {}, {"blobs": {}}, {"blobs": {"w": "text"}}, {"blobs": {"w": [1.0]}}, {"blobs": {3: BLOBS["lr"]}}],
    ids=str,
)
def test_anything_but_arrays_by_name_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="expected an array|expected arrays by name"):
        read_blobs(pickle.dumps(content))


def test_damage_is_an_error_and_no_crash() -> None:
    whole = pickle.dumps({"blobs": BLOBS}, protocol=2)
    generator = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole[: generator.integers(1, len(whole))] if generator.random() < 0.3 else whole)
        for place in generator.integers(0, len(data), 3):
            data[place] = generator.integers(256)
        try:
            found = read_blobs(bytes(data))
        except (pickle.UnpicklingError, ValueError):
            continue
        assert all(isinstance(array, np.ndarray) for array in found.values())
