"""Numbers of a ``.caffemodel``: a protobuf message NetParameter, of which only the layers' names and blobs are read.

Field numbers are those of Caffe's ``caffe.proto``, for layers as written now and before 2014 (V1).
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NAMES = ("weight", "bias")
"""What the blobs of a layer are, in their order. The only blob of a PReLU layer holds its slopes."""


class _LayerFields(NamedTuple):
    name: int
    blobs: int


_LAYERS = {100: _LayerFields(name=1, blobs=7), 2: _LayerFields(name=4, blobs=6)}
"""Fields of NetParameter that hold layers, and fields inside."""
_OLD_SHAPE = (1, 2, 3, 4)
"""Fields of a blob from when each had four axes: num, channels, height, width."""
_FLOATS, _SHAPE, _DOUBLES = 5, 7, 8


def read_caffemodel(data: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a network as ``layer.weight`` and ``layer.bias``.

    Raises:
        ValueError: If ``data`` is no such file, a part of one, or does not add up; it says where.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for number, value in _fields(memoryview(data)):
        if number in _LAYERS and isinstance(value, memoryview):
            name, blobs = _layer(value, _LAYERS[number])
            if len(blobs) > len(_NAMES):
                raise ValueError(f"the layer {name!r} has {len(blobs)} blobs, where two at most were expected")
            for kind, blob in zip(_NAMES, blobs, strict=False):
                if f"{name}.{kind}" in found:
                    raise ValueError(f"there are two layers {name!r} with numbers")
                found[f"{name}.{kind}"] = blob
    return found


def _layer(data: memoryview, fields: _LayerFields) -> tuple[str, list[NDArray[np.float32]]]:
    name, blobs = "", []
    for number, value in _fields(data):
        if number == fields.name and isinstance(value, memoryview):
            name = bytes(value).decode("utf-8", "replace")
        elif number == fields.blobs and isinstance(value, memoryview):
            blobs.append(value)
    return name, [_blob(blob, name) for blob in blobs]


def _blob(data: memoryview, layer: str) -> NDArray[np.float32]:
    parts: dict[int, list[bytes]] = {_FLOATS: [], _DOUBLES: []}
    shape: list[int] | None = None
    old: dict[int, int] = {}
    for number, value in _fields(data):
        if number in parts and isinstance(value, memoryview):
            parts[number].append(bytes(value))
        elif number in _OLD_SHAPE and isinstance(value, int):
            old[number] = value
        elif number == _SHAPE and isinstance(value, memoryview):
            shape = _dimensions(value)
    values = np.frombuffer(b"".join(parts[_FLOATS]), "<f4")
    if not values.size:
        values = np.frombuffer(b"".join(parts[_DOUBLES]), "<f8")
    if shape is None and old:
        shape = [old.get(number, 1) for number in _OLD_SHAPE]
        shape = shape[3:] if shape[:3] == [1, 1, 1] else shape  # biases and slopes had four axes as well
    if shape is not None and math.prod(shape) != values.size:
        raise ValueError(f"the layer {layer!r} has {values.size} numbers for the shape {tuple(shape)}")
    return values.astype(np.float32).reshape(values.size if shape is None else shape)


def _dimensions(data: memoryview) -> list[int]:
    """Read a BlobShape, whose numbers may be packed."""
    found: list[int] = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            found.append(value)
        elif number == 1 and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                dimension, at = _varint(value, at)
                found.append(dimension)
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Go through the fields of a message: their numbers, and an integer or the bytes of any other kind."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"byte {at} begins a field of kind {kind}, which protobuf does not have")
        if number == 0 or size > len(data) - at:
            raise ValueError(f"the field {number} would take {size:,} bytes, and {len(data) - at:,} are left")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("it ends within a number")
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has more than 10 bytes")
