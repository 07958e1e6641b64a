"""Caffe2's files of weights: Python pickles that hold NumPy arrays by name, under ``blobs``.

A pickle names functions that reading it calls. Here they are looked up in a table of stand-ins that make arrays, so
that a file can call nothing else, neither of Python nor of NumPy.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
"""Types of numbers, as NumPy writes them."""


def read_blobs(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a Caffe2 pickle by name, without running code of it.

    Raises:
        pickle.UnpicklingError: If it names anything but what arrays are made of.
        ValueError: If it is a pickle of something else, or its arrays are damaged.
    """
    try:
        content = _Reader(io.BytesIO(data), encoding="latin1").load()  # Python 2 wrote bytes as text
    except (AttributeError, EOFError, LookupError, MemoryError, OverflowError, TypeError) as error:
        raise pickle.UnpicklingError(f"damaged, or no pickle: {error}") from error
    blobs = content.get("blobs", content) if isinstance(content, dict) else None
    if not isinstance(blobs, dict) or not blobs:
        raise ValueError(f"expected arrays by name, perhaps in 'blobs', found {type(content).__name__}")
    for name, blob in blobs.items():
        if not isinstance(name, str) or not isinstance(blob, _Array) or blob.values is None:
            raise ValueError(f"expected an array for {name!r}, found {type(blob).__name__}")
    return {name: blob.values for name, blob in blobs.items()}


class _DType:
    """What the pickle says of the type of numbers. A pickle gives the byte order later, as the state."""

    __slots__ = ("kind", "order")

    def __init__(self, kind: object, *_: object) -> None:
        if kind not in _KINDS:
            raise ValueError(f"arrays of {kind!r} are no weights")
        self.kind, self.order = str(kind), "|"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"there is no byte order {order!r}")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.kind)


class _Array:
    """An array: empty at first, filled by the state that a pickle gives."""

    __slots__ = ("values",)

    def __init__(self, values: NDArray[Any] | None = None) -> None:
        self.values = values

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.values = _array(data, dtype, shape, "F" if fortran else "C")


class _Builder:
    """Calls one function, and cannot be changed by the pickle that calls it."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("the file wants to change how arrays are made")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(dtype, _DType):
        raise ValueError("an array without a type of numbers")
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    native = dtype.numpy().newbyteorder("=")
    return np.frombuffer(raw, dtype.numpy()).astype(native).reshape(tuple(shape), order="F" if order == "F" else "C")


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"the file wants to encode as {encoding!r}")
    return text.encode("latin1")


def _table() -> Mapping[tuple[str, str], _Builder]:
    kinds = {
        ("multiarray", "_reconstruct"): _Builder(lambda *_: _Array()),
        ("multiarray", "scalar"): _Builder(lambda dtype, data: _Array(_array(data, dtype, (), "C"))),
        ("numeric", "_frombuffer"): _Builder(lambda *arguments: _Array(_array(*arguments))),
    }
    return {
        ("numpy", "ndarray"): _Builder(_Array),  # named as what to reconstruct
        ("numpy", "dtype"): _Builder(_DType),
        ("_codecs", "encode"): _Builder(_encode),
        **{
            (f"numpy.{core}.{module}", name): build  # NumPy 2 moved them
            for (module, name), build in kinds.items()
            for core in ("core", "_core")
        },
    }


class _Reader(pickle.Unpickler):
    _known = _table()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"the file wants to run {module}.{name}, and no code of a file is ever run")
        return self._known[module, name]
