"""All that a restart needs, in one file that appears whole or not at all."""

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from preprocessing import storage
from preprocessing.config import differences
from preprocessing.errors import UserError
from training.checkpoints import load_plain, save_plain
from training.data import Shards

STATE_FILE = "state.pt"
_KIND, _FORMAT = "kinebert training state", 1


@dataclass(kw_only=True)
class TrainState:
    """A training between two steps. Holds tensors, numbers, strings, lists and dictionaries only.

    There are no random states in it: what is drawn in a step follows from (seed, epoch, step).
    """

    recipe: dict[str, Any]
    """Plain values that decide the weights, see ``TrainRecipe.identity``."""
    shards: dict[str, Any]
    """Modality, digests of recipe and content, and classes of the shard set."""
    weights: dict[str, Tensor]
    """State dict of the recognizer."""
    optimizer: dict[str, Any]
    """State dict of the optimizer; empty where a stage is to begin from the weights of the one before."""
    schedule: dict[str, Any]
    """State dict of the schedule."""
    scaler: dict[str, Any] | None
    """State dict of the gradient scaler; None unless the forward pass is float16."""
    epoch: int
    """Epoch that comes next or is under way, from 0."""
    step: int
    """Steps of that epoch that are done."""
    sums: list[float]
    """Of those steps: loss times clips, clips that were right, clips, updates that were left out."""
    best: dict[str, Any] | None
    """The epoch with the best validation so far, as in ``history``."""
    history: list[dict[str, Any]]
    """Numbers of the finished epochs."""
    stage: int = 0
    """Stage that is under way, from 0."""
    average: dict[str, Tensor] | None = None
    """State dict of the average of the weights; None unless the recipe has one."""


def about(shards: Shards) -> dict[str, Any]:
    """What a training remembers of its shard set, as plain values."""
    return {
        "modality": shards.modality,
        "digest": shards.digest,
        "content": shards.content,
        "classes": list(shards.classes),
    }


def save_state(output: str, state: TrainState) -> None:
    """Write ``state`` into the folder ``output``, in place of the one before."""
    content = {field.name: getattr(state, field.name) for field in fields(state)}
    save_plain(storage.join(output, STATE_FILE), content, _KIND, _FORMAT)


def load_state(output: str) -> TrainState | None:
    """Read the state in the folder ``output``, or None if there is none.

    Raises:
        UserError: If it is damaged, or of another version of this program.
    """
    uri = storage.join(output, STATE_FILE)
    with storage.explained(uri, "look for a training state"):
        if not storage.exists(uri):
            return None
    return TrainState(**load_plain(uri, _KIND, _FORMAT))


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
