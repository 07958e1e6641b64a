"""Files of the format safetensors: a length, a header in JSON that says where each tensor lies, and the numbers.

The format is read here, without its library: https://github.com/huggingface/safetensors, "Format".
"""

import json
from math import prod
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LONGEST_HEADER = 100 * 10**6  # bytes, as the format has it
_ABOUT = "__metadata__"


def is_safetensors(data: bytes) -> bool:
    """Whether ``data`` begins as such a file does, whole or not."""
    length = int.from_bytes(data[:8], "little")
    head = data[:4096]
    return data[8:9] == b"{" and 2 <= length <= _LONGEST_HEADER and (b'"dtype"' in head or _ABOUT.encode() in head)


def read_safetensors(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises:
        ValueError: If it is cut short or damaged, or holds numbers of an unknown type; it says what is wrong.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    if len(data) < begin:
        raise ValueError("it is cut short")
    try:
        header = json.loads(data[8:begin])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise ValueError("its header names no tensors")
    return {name: _tensor(name, entry, data, begin) for name, entry in header.items() if name != _ABOUT}


def _tensor(name: str, entry: Any, data: bytes, begin: int) -> Tensor:
    try:
        kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, first, last]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"its header does not say where {name!r} lies") from None
    if kind not in _DTYPES:
        raise ValueError(f"{name!r} is of the type {kind!r}, which is none of {', '.join(_DTYPES)}")
    dtype = _DTYPES[kind]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"its header gives {name!r} the shape {shape} and the bytes {first} to {last}")
    if last - first != prod(shape) * dtype.itemsize:
        raise ValueError(f"{name!r} is of shape {tuple(shape)} in {kind}, which {last - first} bytes do not hold")
    if begin + last > len(data):
        raise ValueError("it is cut short")
    if first == last:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data[begin + first : begin + last]), dtype=dtype).reshape(shape)
