"""Reading files of weights: tensors by name, whatever they are wrapped in. Never runs code that a file brings along."""

import argparse
import codecs
import io
import pickle
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.models.inputs import Normalization, num_channels
from kinebert.training.models.weights.caffe2 import read_blobs

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "net")
"""Keys under which training programs keep the weights among other things."""

_SCALAR, _ARRAY = (value.__reduce__()[0] for value in (np.float64(0), np.zeros(1)))  # NumPy 2 moved the functions
_DTYPES = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
_HARMLESS: list[Any] = [
    argparse.Namespace,  # old training programs saved their command line and NumPy's numbers beside the weights
    codecs.encode,
    np.dtype,
    np.ndarray,
    *_DTYPES,
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""What a file may hold beside tensors and what Python itself writes: values without behaviour."""


def read_content(uri: str) -> Any:
    """Read a file of PyTorch, or a Caffe2 pickle of arrays; :func:`unwrap` finds the weights in what it returns.

    Raises:
        UserError: If the file cannot be read, or holds more than tensors and plain values.
    """
    with storage.explained(uri, "read the weights"):
        data = storage.read_bytes(uri)
    if not _is_torch(data):
        try:
            return read_blobs(data)
        except Exception as error:  # what pickle raises for bytes of a stranger has no common class
            reason = str(error) if isinstance(error, pickle.UnpicklingError | ValueError) else type(error).__name__
            raise UserError(
                f"{uri}: neither a PyTorch file nor a Caffe2 pickle of arrays ({len(data)} bytes): {reason}. "
                "Give another file."
            ) from error
    return _load_torch(uri, data)


def unwrap(content: Any, where: str) -> dict[str, Tensor]:
    """Return the tensors by name in ``content``: itself, or what a wrapper such as ``state_dict`` holds.

    Raises:
        UserError: If there are none.
    """
    while isinstance(content, Mapping):
        if content and all(isinstance(value, Tensor | np.ndarray) for value in content.values()):
            return {str(key): torch.as_tensor(value) for key, value in content.items()}
        inside = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inside is None:
            break
        content = inside
    found = f"the keys {', '.join(map(repr, list(content)[:5]))}" if isinstance(content, Mapping) else type(content)
    raise UserError(f"{where}: holds no weights: expected tensors by name, perhaps in {WRAPPERS[0]!r}, found {found}.")


def own_normalization(content: Any, modality: str) -> Normalization | None:
    """Return what a checkpoint of this program says of its input, per image; None for other files and modalities."""
    spec = content.get("spec") if isinstance(content, Mapping) else None
    if not isinstance(spec, Mapping) or spec.get("modality") != modality:
        return None
    channels = num_channels(modality)
    mean, std, value_range = (tuple(spec[name]) for name in ("mean", "std", "value_range"))
    return Normalization(mean=mean[:channels], std=std[:channels], value_range=(value_range[0], value_range[1]))


def strip_prefixes(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> list[dict[str, Tensor]]:
    """Return ``state`` and what is left of it when a prefix that every key has is taken off, as often as that goes."""
    stripped = [dict(state)]
    while True:
        last = stripped[-1]
        prefix = next((prefix for prefix in prefixes if last and all(key.startswith(prefix) for key in last)), None)
        if prefix is None:
            return stripped
        stripped.append({key.removeprefix(prefix): tensor for key, tensor in last.items()})


def _is_torch(data: bytes) -> bool:
    # A zip archive, or what PyTorch wrote before 1.6: a pickle that begins with this number.
    return data[:2] == b"PK" or torch.serialization.MAGIC_NUMBER.to_bytes(10, "little") in data[:64]


def _load_torch(uri: str, data: bytes) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
            warnings.simplefilter("ignore")  # about what foreign pickles contain; they are refused just the same
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises for bytes of a stranger has no common class
        wanted = re.search(r"(?:GLOBAL|got <class|Unsupported class|type) '?([\w.]+\.\w+)", str(error))
        what = f"wants to run {wanted[1]}, and no code of a file is ever run" if wanted else "is damaged, or other data"
        raise UserError(
            f"{uri}: {what} ({len(data)} bytes). Give a file that holds tensors and plain values only."
        ) from error
