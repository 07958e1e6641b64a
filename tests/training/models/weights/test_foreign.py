"""Files that are no weights are named for what they are, with the way out."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.models.weights.files import read_content
from kinebert.training.models.weights.foreign import foreign


def written(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("w.pth"), io.BytesIO())
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


WEIGHTS = written({"a": torch.ones(1000)})
HEADER = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
SAFE = struct.pack("<Q", len(HEADER)) + HEADER + bytes(4)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 46830571\n"
PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html><html><head><title>Virus \x1b[31m scan</title></head></html>"
FILES = {
    "lfs": (LFS, "Git LFS, which stands for 46,830,571 bytes.*git lfs pull"),
    "page": (PAGE, r"web page \('Virus \\\\x1b\[31m scan'\).*browser"),
    "bare page": (b"<html><body>404</body></html>", "web page, saved"),
    "store": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML.*AccessDenied.*Ask for access"),
    "json": (b'{"message": "Not Found"}', "JSON.*Not Found.*Download it again"),
    "words": (b"Entry not found", "text: 'Entry not found'"),
    "cut safetensors": (SAFE[:20] + b'"dtype"', "safetensors file, and it is cut short"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5 file, as Keras"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(99), "ONNX model"),
    "tensorflow": (bytes(40) + bytes.fromhex("57fb808b247547db"), "checkpoint of TensorFlow"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(99), "array of NumPy"),
    "npz": (npz(), "arrays of NumPy"),
    "mat": (b"MATLAB 5.0 MAT-file" + bytes(200), "file of MATLAB"),
    "gz": (gzip.compress(tarred()), r"archive \(gzip\). Unpack it"),
    "bz2": (bz2.compress(b"x"), "bzip2"),
    "xz": (lzma.compress(b"x"), "xz"),
    "tar": (tarred(), r"archive \(tar\)"),
    "zip": (zipped(w_dot_pth=WEIGHTS, README=b"x"), r"zip archive of other things \(w.pth, README\). Unpack it"),
    "empty zip": (zipped(), "nothing"),
    "script": (zipped(a__data_dot_pkl=b"", a__constants_dot_pkl=b"", a__code__x_dot_py=b""), "TorchScript.*state_dict"),
    "empty": (b"", "an empty file"),
    "zeros": (bytes(4096), "nothing but zeros"),
    "cut": (WEIGHTS[: len(WEIGHTS) // 2], "cut short"),
}


@pytest.mark.parametrize(("data", "expected"), FILES.values(), ids=FILES.keys())
def test_what_is_no_file_of_weights_is_named(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(data)
    with pytest.raises(UserError, match=expected) as caught:
        read_content(str(path))
    assert str(caught.value).startswith(f"{path}: no weights: this is ")
    assert "\n" not in str(caught.value)


def test_weights_are_not_foreign() -> None:
    assert foreign(WEIGHTS) == ""
    legacy = io.BytesIO()
    torch.save({"a": torch.ones(3)}, legacy, _use_new_zipfile_serialization=False)
    assert foreign(legacy.getvalue()) == ""
    assert foreign(b"(dp0\nS'blobs'\np1\n") == ""


@pytest.mark.parametrize(("data", "expected"), [(LFS, "Git LFS"), (PAGE, "a web page"), (SAFE, "safetensors")])
def test_what_is_no_checkpoint_is_named(data: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(data)
    with pytest.raises(UserError, match=f"not a kinebert checkpoint, but other data .*{expected}"):
        load_recognizer(str(tmp_path / "best.pt"))


def test_every_cut_of_every_file_ends_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for data, _ in FILES.values():
        for length in {0, 1, 2, 5, 9, len(data) // 3, len(data) - 1} - {-1}:
            path.write_bytes(data[:length])
            with pytest.raises(UserError) as caught:
                read_content(str(path))
            assert "\n" not in str(caught.value)
