"""Reading files of weights: tensors by name, whatever they are wrapped in. Never runs code that a file brings along."""

import argparse
import codecs
import pickle
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.torch_files import ExcessiveError, load_bytes
from kinebert.preprocessing.errors import UserError
from kinebert.training.models.inputs import Normalization, num_channels
from kinebert.training.models.weights.caffe2 import read_blobs
from kinebert.training.models.weights.foreign import as_text, foreign
from kinebert.training.models.weights.safetensors import is_safetensors, read_safetensors

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "net", "network", "weights", "params", "module")
"""Keys under which training programs keep the weights among other things; the first that holds some counts."""
_INSIDE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
"""Parts of keys that wrappers put in anywhere: torch.compile, sharding, recomputing, and Lightning's strategies."""
_AROUND = {"module", "model", "network", "net", "backbone", "encoder", "ema", "ema_model", "model_ema"}
"""First parts of keys that are names of a whole network, also where other keys lie beside it."""
_DEEPEST = 16
"""Wrappers in one another that are looked into."""
_COUNTER = "n_averaged"
"""What torch.optim.swa_utils.AveragedModel keeps beside the averages."""

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
    """Read a file of PyTorch, a safetensors file, or a Caffe2 pickle of arrays.

    :func:`unwrap` finds the weights in what it returns.

    Raises:
        UserError: If the file cannot be read, or holds more than tensors and plain values.
    """
    with storage.explained(uri, "read the weights"):
        data = storage.read_bytes(uri)
    if is_safetensors(data):
        try:
            return read_safetensors(data)
        except ValueError as error:
            raise UserError(f"{uri}: no weights: this is a safetensors file, and {error}. Download it again.") from None
    if found := foreign(data):
        raise UserError(f"{uri}: no weights: this is {found}.")
    if not _is_torch(data):
        try:
            return read_blobs(data)
        except Exception as error:  # what pickle raises for bytes of a stranger has no common class
            if found := as_text(data):
                raise UserError(f"{uri}: no weights: this is {found}.") from None
            has_words = isinstance(error, pickle.UnpicklingError | ValueError)
            reason = str(error).rstrip(".") if has_words else type(error).__name__
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
    seen: set[int] = set()
    while isinstance(content, Mapping) and id(content) not in seen:
        seen.add(id(content))
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor | np.ndarray)}
        if tensors and len(tensors) == len(content):
            return {key: torch.as_tensor(value) for key, value in tensors.items()}
        inside = next((content[key] for key in WRAPPERS if _wraps(content.get(key))), None)
        if inside is None:
            holding = [key for key, value in content.items() if _holds_tensors(value)]
            if len(holding) > 1:
                raise UserError(
                    f"{where}: holds weights under {', '.join(map(repr, holding))}. Save those alone that are wanted."
                )
            if tensors and not holding:  # beside an epoch's number or the like
                return {key: torch.as_tensor(value) for key, value in tensors.items()}
            inside = content[holding[0]] if holding else None
        if inside is None:
            break
        content = inside
    found = f"the keys {', '.join(map(repr, list(content)[:5]))}" if isinstance(content, Mapping) else type(content)
    raise UserError(f"{where}: holds no weights: expected tensors by name, perhaps in {WRAPPERS[0]!r}, found {found}.")


def aside(content: Any) -> list[str]:
    """Return the keys beside a usual one, such as ``state_dict``, under which a file holds weights as well."""
    if not isinstance(content, Mapping):
        return []
    taken = next((key for key in WRAPPERS if _wraps(content.get(key))), None)
    if taken is None:
        return []
    return [str(key) for key, value in content.items() if key != taken and _holds_tensors(value)]


def told_aside(content: Any) -> list[str]:
    """Return a sentence about each of the keys that :func:`aside` finds."""
    return [f"the file also holds weights under {key!r}, which are left aside" for key in aside(content)]


def _wraps(value: Any) -> bool:
    """Whether there are tensors in a mapping, however deep in wrappers: settings may lie under the same names."""
    for _ in range(_DEEPEST):
        if not isinstance(value, Mapping):
            return False
        if any(isinstance(one, Tensor | np.ndarray) for one in value.values()):
            return True
        held = [one for one in value.values() if _holds_tensors(one)]
        value = held[0] if held else next((value[key] for key in WRAPPERS if isinstance(value.get(key), Mapping)), None)
    return False


def _holds_tensors(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) and isinstance(one, Tensor | np.ndarray) for key, one in value.items())
    )


def own_normalization(content: Any, modality: str) -> Normalization | None:
    """Return what a checkpoint of this program says of its input, per image; None for other files and modalities."""
    spec = content.get("spec") if isinstance(content, Mapping) else None
    if not isinstance(spec, Mapping) or spec.get("modality") != modality:
        return None
    channels = num_channels(modality)
    mean, std, value_range = (tuple(spec[name]) for name in ("mean", "std", "value_range"))
    return Normalization(
        mean=mean[:channels],
        std=std[:channels],
        value_range=(value_range[0], value_range[1]),
        channel_order=spec.get("channel_order", "rgb"),
    )


def own_streams(content: Any) -> list[Normalization | None]:
    """Return what a checkpoint of this program says of each of several streams; nothing for other files."""
    spec = content.get("spec") if isinstance(content, Mapping) else None
    streams = spec.get("streams", ()) if isinstance(spec, Mapping) else ()
    return [own_normalization({"spec": stream}, stream["modality"]) for stream in streams]


def own_classes(content: Any) -> list[str]:
    """Return the classes that a checkpoint of this program knows, by label; none for other files."""
    known = content.get("classes") if isinstance(content, Mapping) and "spec" in content else None
    return list(known) if isinstance(known, list | tuple) else []


def strip_prefixes(state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return ``state``, and what is left of it as one part after the other that wrappers have put into its keys goes.

    Off come the parts that torch.compile and the like put in anywhere, and a first part that every key has or, if it is
    the usual name of a network (``module.``, ``model.``), more than half of them. No two keys become one.
    """
    states = [dict(state)]
    bare = {".".join(part for part in key.split(".") if part not in _INSIDE): one for key, one in state.items()}
    if len(bare) == len(state) and bare.keys() != state.keys():
        states.append(bare)
    while (shorter := _without_first(states[-1])) is not None:
        states.append(shorter)
    return states


def _without_first(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Take off the first part of keys, if it is a wrapper's."""
    own = [key for key in state if key != _COUNTER]
    if not own:
        return None
    (first, count), *_ = Counter(key.partition(".")[0] for key in own).most_common(1)
    whole = count == len(own)
    if not first or not (whole or (first in _AROUND and 2 * count > len(own))):
        return None
    if any(key == first for key in own):
        return None
    shorter = {key.removeprefix(f"{first}."): state[key] for key in own}
    return shorter if len(shorter) == len(own) else None


def _is_torch(data: bytes) -> bool:
    # A zip archive, or what PyTorch wrote before 1.6: a pickle that begins with this number.
    return data[:2] == b"PK" or torch.serialization.MAGIC_NUMBER.to_bytes(10, "little") in data[:64]


def _load_torch(uri: str, data: bytes) -> Any:
    try:
        return load_bytes(data, _HARMLESS)
    except ExcessiveError as error:
        raise UserError(f"{uri}: refused: {error}. Give a file as torch.save writes it.") from None
    except Exception as error:  # what torch raises for bytes of a stranger has no common class
        wanted = re.search(r"(?:GLOBAL|got <class|Unsupported class|type) '?([\w.]+\.\w+)", str(error))
        what = f"wants to run {wanted[1]}, and no code of a file is ever run" if wanted else "is damaged, or other data"
        raise UserError(
            f"{uri}: {what} ({len(data)} bytes). Give a file that holds tensors and plain values only."
        ) from error
