"""Reading what anybody has written with ``torch.save``: no code of a file is run, and it takes what it holds."""

import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_GROWS = 2
_ROOM_BYTES = 16 * 2**20
"""A file may unpack to so many times its size, and this many bytes more. torch itself compresses nothing."""


class ExcessiveError(ValueError):
    """A file unpacks to, or claims, far more than it holds."""


def load_bytes(data: bytes, harmless: Sequence[Any] = ()) -> Any:
    """Return the tensors (on the CPU) and plain values of a file of PyTorch.

    Args:
        data: The file.
        harmless: Functions and classes that it may name beside those of tensors and plain values, as for
            ``torch.serialization.safe_globals``.

    Raises:
        ExcessiveError: If it would take far more memory than it is large.
        Exception: Of any class, if it is damaged or names anything else.
    """
    check_directory(data)
    with warnings.catch_warnings(), torch.serialization.safe_globals(list(harmless)):
        warnings.simplefilter("ignore")  # about what foreign pickles contain; they are refused just the same
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    _check_claims(content)
    return content


def check_directory(data: bytes) -> None:
    """Raise an ExcessiveError if the directory of a zip archive says that it unpacks to far more than it is large."""
    if data[:2] != b"PK":
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        total = sum(info.file_size for info in archive.infolist())
    if total > _GROWS * len(data) + _ROOM_BYTES:
        raise ExcessiveError(f"it would unpack to {total / 2**20:,.0f} MiB from {len(data) / 2**20:,.1f}")


def _check_claims(content: Any) -> None:
    """Raise an ExcessiveError for a tensor that claims more numbers than the file has for it, as views can."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.is_meta:
                raise ExcessiveError("it holds a tensor without numbers of its own")
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ExcessiveError(f"it holds a tensor of {tuple(value.shape)} that is not written out")
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, Mapping) else value
