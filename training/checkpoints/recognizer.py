"""Checkpoint files: a network with everything that says what it is for.

A file is what ``torch.save`` makes of a plain dictionary of tensors and plain values, so that
``torch.load(path, weights_only=True)`` reads it without running any code. Its keys: ``kind`` and ``format``, ``config``
(arguments of :func:`.build_recognizer`), ``spec`` (the fields of ``InputSpec``), ``state_dict``,
``classes`` (by label), ``recipe`` and ``digest`` (of the shard set that it was trained on), ``epoch``, ``metrics`` and
``extra``.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.torch_files import ExcessiveError, check_directory, load_bytes
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import differences, to_plain
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.modalities import streams_of
from kinebert.training.models import InputSpec, Recognizer, build_recognizer
from kinebert.training.models.sizes.unallocated import unallocated
from kinebert.training.models.weights.foreign import foreign
from kinebert.training.shards import Shards


class DamagedError(UserError):
    """A file is not what was once written: cut, changed, or of something else."""


KIND = "kinebert checkpoint"
FORMAT_VERSION = 1
"""Changes whenever this code cannot read old checkpoints."""


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What a checkpoint holds beside the weights."""

    config: dict[str, Any]
    """Arguments of ``build_recognizer``."""
    spec: InputSpec
    """What the network's input must look like."""
    classes: tuple[str, ...]
    """Names of the classes by label."""
    recipe: dict[str, Any]
    """Extraction recipe of the shard set that it was trained on."""
    digest: str
    """Digest of that recipe."""
    epoch: int
    """Epochs of training that it has seen."""
    metrics: dict[str, Any]
    """What was measured when it was saved, by name."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Whatever else the writer wants to keep: plain values and tensors."""


def save_recognizer(
    uri: str,
    recognizer: Recognizer,
    shards: Shards,
    *,
    epoch: int,
    metrics: Mapping[str, float],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint, whole or not at all. Its folder must exist.

    Args:
        uri: File to write; local or on any filesystem that pyarrow opens.
        recognizer: The network; its weights may lie on any device.
        shards: The set that it is trained on.
        epoch: Epochs of training that it has seen.
        metrics: Numbers by name.
        extra: Further plain values and tensors.

    Raises:
        UserError: If the file cannot be written.
        TypeError: If a value is neither plain nor a tensor.
    """
    save_plain(
        uri, recognizer_content(recognizer, shards, epoch=epoch, metrics=metrics, extra=extra), KIND, FORMAT_VERSION
    )


def recognizer_content(
    recognizer: Recognizer,
    shards: Shards,
    *,
    epoch: int,
    metrics: Mapping[str, float],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what :func:`save_recognizer` writes: the weights themselves, not a copy."""
    return {
        "config": recognizer.config,
        "spec": to_plain(recognizer.spec),
        "classes": list(shards.classes),
        "recipe": dict(shards.recipe),
        "digest": shards.digest,
        "epoch": epoch,
        "metrics": dict(metrics),
        "extra": dict(extra or {}),
        "state_dict": dict(recognizer.state_dict()),
    }


_RENAMED = {"backbone.conv1.": "backbone.stem.0.", "backbone.bn1.": "backbone.stem.1."}
"""Parameters of 2D ResNets, as the first checkpoints of this format named them."""


def _today(name: str) -> str:
    for before, now in _RENAMED.items():
        if name.startswith(before):
            return now + name.removeprefix(before)
    return name


def load_recognizer(uri: str) -> tuple[Recognizer, CheckpointInfo]:
    """Read a checkpoint: the network on the CPU in eval mode, and what else the file says.

    Raises:
        UserError: If there is no such file, or it is not a checkpoint, or of another version.
    """
    content = load_plain(uri, KIND, FORMAT_VERSION)
    weights = content.pop("state_dict", None)
    info = from_mapping(CheckpointInfo, content, uri)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{uri}: the checkpoint has no weights. Take another one.")
    weights = {_today(name): value for name, value in weights.items()}
    with unallocated():  # a network that the file has no weights for takes no memory before it is refused
        _with_weights(uri, info.config, weights, assign=True)
    recognizer = _with_weights(uri, info.config, weights)
    recognizer.spec = info.spec  # what the weights were trained on, whatever this version's defaults are
    return recognizer.eval(), info


_UNBUILT = (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError, LookupError, MemoryError)
"""What networks and torch raise for arguments that nobody has checked: of wrong types, or far too large."""


def _with_weights(uri: str, config: dict[str, Any], weights: dict[str, Tensor], *, assign: bool = False) -> Recognizer:
    """Build a checkpoint's network and give it its weights, as copies or, with ``assign``, themselves."""
    try:
        recognizer = build_recognizer(**config)
    except (UserError, *_UNBUILT) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{uri}: this version cannot build the checkpoint's network: {reason}") from error
    try:
        recognizer.load_state_dict(weights, strict=True, assign=assign)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{uri}: the checkpoint's weights do not fit its own network: {reason}") from None
    return recognizer


def check_shards(uri: str, info: CheckpointInfo, shards: Shards) -> None:
    """Make sure that the checkpoint read from ``uri`` may be used on a shard set.

    Raises:
        UserError: If modality, classes or recipe differ; it says how.
    """
    if info.spec.modality != shards.modality:
        raise UserError(
            f"{uri}: the checkpoint takes {info.spec.modality}, the shard set {shards.uri} holds {shards.modality}. "
            f"Give {_wanted(info.spec.modality)}."
        )
    ours, theirs = list(info.classes), list(shards.classes)
    if len(ours) != len(theirs):
        raise UserError(
            f"{uri}: the checkpoint has {len(ours)} classes, the shard set {shards.uri} has {len(theirs)}. "
            "Give the set that it was trained on, or train a network for this one."
        )
    for label, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if our != their:
            num = sum(a != b for a, b in zip(ours, theirs, strict=True))
            raise UserError(
                f"{uri}: the checkpoint knows other classes than the shard set {shards.uri}: class {label} is {our!r} "
                f"in the checkpoint and {their!r} in the set ({num} of {len(ours)} differ). Give the set that it was "
                "trained on, or train a network for this one."
            )
    if info.digest != shards.digest:
        raise UserError(
            f"{uri}: the checkpoint was trained on shards of another recipe than those of {shards.uri} "
            f"(checkpoint != set): {recipe_difference(info, shards)}. Extract with the checkpoint's recipe, or train "
            "on this set."
        )


def recipe_difference(info: CheckpointInfo, shards: Shards) -> str:
    """Say in what the recipe of a checkpoint's shards differs from that of a set."""
    return "; ".join(differences(info.recipe, shards.recipe) or [f"digest: {info.digest!r} != {shards.digest!r}"])


def _wanted(modality: str) -> str:
    first, *others = [one.name for one in streams_of(modality)]
    beside = f", and of {' and '.join(others)} beside it (--beside)" if others else ""
    return f"a set of {first} shards{beside}"


def save_plain(uri: str, content: Mapping[str, Any], kind: str, version: int) -> None:
    """Write a dictionary of tensors and plain values, whole or not at all.

    Args:
        uri: File to write; its folder must exist.
        content: String keys; nested lists, tuples and dictionaries of tensors, numbers, texts and None.
        kind: Word that :func:`load_plain` must be given again.
        version: Version of the format that this program reads.

    Raises:
        UserError: If the file cannot be written.
        TypeError: If a value is neither plain nor a tensor.
    """
    buffer = io.BytesIO()
    torch.save(_plain({**content, "kind": kind, "format": version}, "content"), buffer)
    with storage.explained(uri, "write the checkpoint"):
        storage.write_bytes(uri, buffer.getvalue())


def load_plain(uri: str, kind: str, version: int) -> dict[str, Any]:
    """Read what :func:`save_plain` wrote, without ``kind`` and ``format``; tensors come to the CPU.

    Raises:
        UserError: If the file is missing, damaged, of another kind or of another version.
    """
    with storage.explained(uri, "read the checkpoint"):
        data = storage.read_bytes(uri)
    try:
        check_directory(data)
        _check_sums(data)
        content = load_bytes(data)
    except ExcessiveError as error:
        raise UserError(f"{uri}: refused: {error}. Give a file that this program wrote.") from None
    except Exception as error:  # what torch raises for bytes of a stranger has no common class
        broken = data[:2] == b"PK"
        what = "a damaged file, or a PyTorch file with more than tensors and plain values" if broken else "other data"
        told = foreign(data)
        it_is = f": {told}. Or give" if told else ". Give"
        raise DamagedError(f"{uri}: not a {kind}, but {what} ({len(data)} bytes){it_is} another file.") from error
    if not isinstance(content, dict) or content.get("kind") != kind:
        found = content.get("kind") if isinstance(content, dict) else None
        what = f"a {found}" if isinstance(found, str) else "a PyTorch file of another program"
        raise UserError(f"{uri}: not a {kind}, but {what}. Give another file.")
    if content.get("format") != version:
        raise UserError(
            f"{uri}: a {kind} of format {content.get('format')}, this version reads {version}. "
            "Use the version that wrote it, or train again."
        )
    return {key: value for key, value in content.items() if key not in ("kind", "format")}


def snapshot(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested tensors and plain values on the CPU, which what is trained further does not change.

    Raises:
        TypeError: If a value is neither plain nor a tensor.
    """
    copied: dict[str, Any] = _plain(content, "content", copy=True)
    return copied


def _check_sums(data: bytes) -> None:
    """Compare the checksums of a file's records, which torch writes and does not read."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wrong = archive.testzip()
        if wrong is not None:
            raise ValueError(f"the checksum of {wrong} is wrong")


def _plain(value: Any, where: str, copy: bool = False) -> Any:
    """Return ``value`` with tensors detached and on the CPU and mappings as dictionaries."""
    if isinstance(value, Tensor):
        there = value.detach().cpu()
        return there.clone() if copy and there.data_ptr() == value.data_ptr() else there
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, Mapping):
        wrong = [key for key in value if type(key) not in (str, int)]
        if wrong:
            raise TypeError(f"{where}: the key {wrong[0]!r} is neither a text nor a number")
        return {key: _plain(item, f"{where}.{key}", copy) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item, f"{where}[{i}]", copy) for i, item in enumerate(value))
    raise TypeError(f"{where}: {type(value).__name__} cannot be read back safely; give a number, a text or a tensor")
