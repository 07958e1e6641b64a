"""All that a restart needs, in one file that appears whole or not at all."""

import io
import pickle
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from preprocessing import storage
from preprocessing.config import differences
from preprocessing.errors import UserError

STATE_FILE = "state.pt"
_FORMAT = 1


@dataclass(kw_only=True)
class TrainState:
    """A training between two steps. Holds tensors, numbers, strings, lists and dictionaries only.

    There are no random states in it: what is drawn in a step follows from (seed, epoch, step).
    """

    recipe: dict[str, Any]
    """Plain values that decide the weights, see ``TrainRecipe.identity``."""
    shards: dict[str, Any]
    """Modality, recipe digest and classes of the shard set, and how many videos each part has."""
    weights: dict[str, Tensor]
    """State dict of the recognizer."""
    optimizer: dict[str, Any]
    """State dict of the optimizer."""
    schedule: dict[str, Any]
    """State dict of the schedule."""
    scaler: dict[str, Any] | None
    """State dict of the gradient scaler; None unless the forward pass is float16."""
    epoch: int
    """Epoch that comes next or is under way, from 0."""
    step: int
    """Steps of that epoch that are done."""
    sums: list[float]
    """Of those steps: loss times clips, clips that were right, clips."""
    best: dict[str, Any] | None
    """The epoch with the best validation so far, as in ``history``."""
    history: list[dict[str, Any]]
    """Numbers of the finished epochs."""


def save_state(output: str, state: TrainState) -> None:
    """Write ``state`` into the folder ``output``, over the one before."""
    uri = storage.join(output, STATE_FILE)
    plain = {field.name: getattr(state, field.name) for field in fields(state)}
    with storage.explained(uri, "write the training state"), storage.whole_file(uri) as path:
        torch.save({"format": _FORMAT, **plain}, path)


def read_state(output: str) -> bytes | None:
    """Return the bytes of the state in ``output``, or None if there is none."""
    uri = storage.join(output, STATE_FILE)
    with storage.explained(uri, "read the training state"):
        return storage.read_bytes(uri) if storage.exists(uri) else None


def load_state(data: bytes, output: str) -> TrainState:
    """Unpack the bytes of a state, on the CPU.

    Raises:
        UserError: If it is damaged, or of another version of this program.
    """
    uri = storage.join(output, STATE_FILE)
    try:
        plain = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise UserError(
            f"{uri}: not a training state, or damaged ({str(error).splitlines()[0]}). Delete it to start afresh."
        ) from error
    if not isinstance(plain, dict) or plain.pop("format", None) != _FORMAT:
        raise UserError(f"{uri}: a training state of another version of KineBERT. Choose another output folder.")
    return TrainState(**plain)


def check_continues(state: TrainState, recipe: dict[str, Any], shards: dict[str, Any], output: str) -> None:
    """Make sure that ``state`` belongs to this recipe and these shards.

    Raises:
        UserError: If not; it names every difference.
    """
    found = differences({"recipe": state.recipe, "shards": state.shards}, {"recipe": recipe, "shards": shards})
    if found:
        raise UserError(
            f"{output}: holds a training with other settings (there != here): {'; '.join(found)}. Choose another "
            "output folder, or go back to its settings."
        )
