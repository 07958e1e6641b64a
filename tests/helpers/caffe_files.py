"""Caffe's files of weights, written byte by byte: what ``caffe.proto`` says, by hand."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np


def caffemodel(layers: Mapping[str, Sequence[np.ndarray]], *, old: bool = False, packed: bool = True) -> bytes:
    """Return a NetParameter whose layers hold these arrays.

    Args:
        layers: Weight and bias, or slopes, by the layer's name.
        old: As before 2014: V1 layers, and shapes of four axes.
        packed: Numbers follow one another; else each has a tag of its own.
    """
    net = field(1, b"a net") + b"".join(
        field(2 if old else 100, _layer(name, arrays, old, packed)) for name, arrays in layers.items()
    )
    return net + field(3, b"image")


def layers_of(state: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Return the arrays of a state dict by layer, weight before bias."""
    found: dict[str, list[np.ndarray]] = {}
    for key, value in state.items():
        found.setdefault(key.rpartition(".")[0], []).append(value)
    return found


def field(number: int, value: bytes | int) -> bytes:
    """Return one field: a number, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _layer(name: str, arrays: Sequence[np.ndarray], old: bool, packed: bool) -> bytes:
    blobs = [_blob(array, old, packed) for array in arrays]
    if old:
        return b"".join(
            [
                field(2, b"below"),
                field(3, b"above"),
                field(4, name.encode()),
                field(5, 4),
                *(field(6, b) for b in blobs),
            ]
        )
    return b"".join(
        [field(1, name.encode()), field(2, b"Convolution"), field(3, b"below"), *(field(7, b) for b in blobs)]
    )


def _blob(array: np.ndarray, old: bool, packed: bool) -> bytes:
    if packed:
        data = field(5, array.astype("<f4").tobytes())
    else:
        data = b"".join(varint(5 << 3 | 5) + struct.pack("<f", value) for value in array.ravel().tolist())
    if old:
        four = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(number, size) for number, size in enumerate(four, 1)) + data
    return data + field(7, field(1, b"".join(varint(size) for size in array.shape)))
