"""What a file is that was taken for weights: a page, a pointer, an archive, another program's file, half a file."""

import io
import json
import re
import zipfile

from kinebert.preprocessing.plain_text import visible
from kinebert.training.models.weights.safetensors import is_safetensors

_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}
_OTHERS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras and TensorFlow write them",
    b"\x93NUMPY": "an array of NumPy",
    b"MATLAB": "a file of MATLAB",
    b"GGUF": "a GGUF file of a language model",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
    b"#!": "a script",
}
_TENSORFLOW_INDEX = bytes.fromhex("57fb808b247547db")
_AGAIN = "Download it again"
_EXPORT = "Read it with the library that wrote it, and save its tensors by name with torch.save"
_SHOWN = 80


def foreign(data: bytes) -> str:
    """Say what ``data`` is if it is surely no file of PyTorch's or Caffe2's, and what to do; else return nothing.

    A safetensors file is named as well: it holds weights, and no checkpoint.
    """
    if not data:
        return f"an empty file. {_AGAIN}"
    if not data.strip(b"\0"):
        return f"nothing but zeros, as a download leaves that was never finished. {_AGAIN}"
    if data[:2] == b"PK":
        return _zip(data)
    return _text(data) or _binary(data)


def as_text(data: bytes) -> str:
    """Show the beginning of what is plain text; nothing for other data. Old pickles are text as well."""
    try:
        words = data[:4096].decode()
    except UnicodeDecodeError:
        return ""
    return f"text: {_quoted(words)}. {_AGAIN}" if words.isprintable() or (words.split() and "\0" not in words) else ""


def _text(data: bytes) -> str:
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().decode(errors="replace")
    if head.startswith("version https://git-lfs"):
        size = re.search(r"^size (\d+)", head, re.MULTILINE)
        stands = f"stands for {int(size[1]):,} bytes" if size else "stands for a file"
        return f"a pointer of Git LFS, which {stands}. Fetch these with `git lfs pull` where it was cloned"
    low = head.lower()
    if low.startswith(("<!doctype html", "<html", "<head", "<body")) or (low.startswith("<!--") and "<html" in low):
        title = re.search(r"<title[^>]*>(.*?)</title>", head, re.IGNORECASE | re.DOTALL)
        called = f" ({_quoted(title[1])})" if title else ""
        return f"a web page{called}, saved in place of the file. Open its address in a browser, and download from there"
    if low.startswith(("<?xml", "<error")):
        return f"XML, as stores refuse a download: {_quoted(head)}. Ask for access, and download it again"
    if low.startswith(("{", "[")):
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            return ""
        return f"JSON, as servers say what went wrong: {_quoted(head)}. {_AGAIN}"
    return ""


def _binary(data: bytes) -> str:
    for magic, name in _ARCHIVES.items():
        if data.startswith(magic):
            return f"an archive ({name}). Unpack it, and give the file that was in it"
    if data[257:262] == b"ustar":
        return "an archive (tar). Unpack it, and give the file that was in it"
    for magic, name in _OTHERS.items():
        if data.startswith(magic):
            return f"{name}. {_EXPORT}"
    if is_safetensors(data):
        return "a safetensors file, which holds weights alone. Give it as weights to start from"
    if data[-8:] == _TENSORFLOW_INDEX:
        return f"a checkpoint of TensorFlow. {_EXPORT}"
    if b"saved_model" in data[:4096] or (b"tensorflow" in data[:4096] and data[:1] in b"\x08\x0a"):
        return f"a model of TensorFlow. {_EXPORT}"
    if data[:1] == b"\x08" and re.search(rb"onnx|pytorch|ai\.", data[:256]):
        return f"an ONNX model. {_EXPORT}"
    return ""


def _zip(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return f"cut short or damaged: the end of a PyTorch file (or another archive) is missing. {_AGAIN}"
    parts = [name.split("/") for name in names]
    if any(part[-1] == "constants.pkl" for part in parts) and any("code" in part[:-1] for part in parts):
        return "a TorchScript program. Save the tensors alone: torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
    if any(part[-1] == "data.pkl" for part in parts):
        return ""
    if names and all(name.endswith(".npy") for name in names):
        return f"arrays of NumPy (npz). {_EXPORT}"
    some = ", ".join(visible(name) for name in names[:3])
    return f"a zip archive of other things ({some or 'nothing'}). Unpack it, and give the file of weights in it"


def _quoted(text: str) -> str:
    words = " ".join(text.split())
    return repr(visible(words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"))
