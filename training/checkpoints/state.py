"""All that a restart needs, in one file that appears whole or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from torch import Tensor

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import MOST_DEPTH
from kinebert.preprocessing.checked.values import Count, check_depth, shown, typed
from kinebert.preprocessing.config import differences, flatten
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.recognizer import DamagedError, load_plain, save_plain
from kinebert.training.checkpoints.stretching import ways_here
from kinebert.training.recipe.settings import changeable
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import BEFORE_FILE, DAMAGED_FILE, STATE_FILE, EpochRow
from kinebert.training.shards import Shards

_KIND, _FORMAT = "kinebert training state", 1
_WITH_TENSORS = {"weights", "optimizer", "average", "projection"}
"""Fields of a state that hold tensors."""


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
    epoch: Count
    """Epoch that comes next or is under way, from 0."""
    step: Count
    """Steps of that epoch that are done."""
    sums: list[float]
    """Sums over those steps: loss times clips, clips that were right, clips, updates that were left out."""
    best: EpochRow | None
    """The epoch with the best validation so far, as in ``history``."""
    history: list[EpochRow]
    """Numbers of the finished epochs."""
    stage: Count = 0
    """Stage that is under way, from 0."""
    average: dict[str, Tensor] | None = None
    """State dict of the average of the weights; None unless the recipe has one."""
    taught: list[float] = field(default_factory=list)
    """What a teacher has added to the first of the sums, one number; older states have none."""
    projection: Tensor | None = None
    """Weights of the layer from a student's features to its teacher's; None unless the recipe has one."""
    taken_over: Count = 0
    """Epochs of ``history`` that another training did, which keeps their recognizers."""


def about(shards: Shards) -> dict[str, Any]:
    """What a training remembers of its shard set, as plain values."""
    return {
        "modality": shards.modality,
        "digest": shards.digest,
        "content": shards.content,
        "classes": list(shards.classes),
    }


def save_state(output: str, state: TrainState) -> None:
    """Write ``state`` into the folder ``output``; the one before is kept as :data:`BEFORE_FILE`."""
    save_content(output, content_of(state))


def content_of(state: TrainState) -> dict[str, Any]:
    """Return what :func:`save_content` takes: the tensors themselves, not copies."""
    return {field.name: getattr(state, field.name) for field in fields(state)}


def save_content(output: str, content: dict[str, Any]) -> None:
    """Write the values of a state into the folder ``output``; the state before it is kept as :data:`.BEFORE_FILE`.

    At every moment a whole state is there, under one name or the other.
    """
    uri = storage.join(output, STATE_FILE)
    next_one = storage.join(output, f"{STATE_FILE}{storage.PARTIAL}")
    save_plain(next_one, content, _KIND, _FORMAT)
    with storage.explained(uri, "write the state"):
        if storage.exists(uri):
            storage.move_file(uri, storage.join(output, BEFORE_FILE))
        storage.move_file(next_one, uri)


def load_state(output: str) -> TrainState | None:
    """Read the state in the folder ``output``, or None if there is none; if it is damaged, the one before it.

    Raises:
        UserError: If both are damaged, or of another version of this program.
    """
    return find_state(output)[0]


def find_state(output: str) -> tuple[TrainState | None, str]:
    """Read the state in the folder ``output``, or the one before it if that is damaged.

    Returns:
        The state, or None if there is none; and a sentence about what is damaged, empty if nothing is.

    Raises:
        UserError: If both are damaged, or of another version of this program.
    """
    uri, before = storage.join(output, STATE_FILE), storage.join(output, BEFORE_FILE)
    with storage.explained(uri, "look for a training state"):
        there, there_before = storage.exists(uri), storage.exists(before)
    if not there:  # a writer that is killed between two names leaves the one before, which is whole
        return (_read(before), "") if there_before else (None, "")
    try:
        return _read(uri), ""
    except DamagedError as error:
        if not there_before:
            raise UserError(
                f"{uri}: the saved state is damaged, and there is none before it ({error}) Delete it to train from the "
                "first epoch."
            ) from None
    try:
        state = _read(before)
    except DamagedError:
        raise UserError(
            f"{uri}: the saved state is damaged, and so is {before}. Delete both to train from the first epoch."
        ) from None
    at = f"epoch {state.epoch + 1}, after {state.step} steps"
    return state, f"{uri}: the last saved state is damaged; going on from the one before it ({at})."


def recover_state(output: str) -> tuple[TrainState | None, str]:
    """Read the state in the folder ``output`` for a training that goes on from it.

    A damaged file is put aside as :data:`.DAMAGED_FILE`, so that it never takes the place of a good one.

    Returns:
        The state, or None if there is none; and a sentence about what is damaged, empty if nothing is.

    Raises:
        UserError: If the last two states are damaged, or of another version of this program.
    """
    state, problem = find_state(output)
    if problem:
        storage.move_file(storage.join(output, STATE_FILE), storage.join(output, DAMAGED_FILE))
    return state, problem


def _read(uri: str) -> TrainState:
    content = load_plain(uri, _KIND, _FORMAT)
    try:
        check_depth(content, MOST_DEPTH)
        if strange := content.keys() - {field.name for field in fields(TrainState)}:
            raise ConfigError(f"unknown key {shown(min(strange, key=str))}.")
        for name in content.keys() - _WITH_TENSORS:
            _check_plain(content[name], name)
        return cast(TrainState, typed(TrainState, content, ""))
    except RecursionError:
        raise DamagedError(f"{uri}: not a {_KIND}: it is nested too deeply.") from None
    except ConfigError as error:
        raise DamagedError(f"{uri}: not a {_KIND}: {error}") from None


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, Tensor):
        raise ConfigError(f"{where}: expected a plain value, got a tensor of shape {tuple(value.shape)}.")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")


def check_continues(state: TrainState, recipe: dict[str, Any], shards: dict[str, Any], output: str) -> None:
    """Make sure that ``state`` belongs to this recipe and these shards.

    Raises:
        UserError: If not; it names every difference.
    """
    found = [
        differences({"recipe": _settled(state, way), "shards": state.shards}, {"recipe": way, "shards": shards})
        for way in ways_here(recipe, state.epoch + (state.step > 0))
    ]
    if all(found):
        raise UserError(
            f"{output}: holds a training with other settings (there != here): {'; '.join(found[0])}. Choose another "
            f"output folder, or go back to its settings.{_why_epochs(state, recipe)}"
        )


def _settled(state: TrainState, recipe: dict[str, Any]) -> dict[str, Any]:
    before = flatten(state.recipe)
    for key in (
        changeable(TrainRecipe) - flatten(recipe).keys()
    ):  # an older version may have taken it for part of the run
        before.pop(key, None)
    return before


def _why_epochs(state: TrainState, recipe: dict[str, Any]) -> str:
    """Say why ``epochs`` may not change here, and what to do, if that is a part of what differs."""
    before, now = state.recipe.get("epochs"), recipe.get("epochs")
    if before is None or now is None or before == now:
        return ""
    if recipe.get("multigrid", {}).get("long_cycle"):
        return " epochs are shared out among the shapes of multigrid.long_cycle: with others, all would have moved."
    way = "add --stretch-schedule, and what is left of the curve ends at the new number"
    if state.epoch + (state.step > 0) >= min(before, now):
        way = "start there from these weights (model.weights = its last.pt), as nothing is left of the curve to stretch"
    return (
        f" epochs may change with every schedule but cosine, which falls to 0 by the last epoch: with {now} in place "
        f"of {before}, every learning rate would have been another. Train anew in another folder, or {way}."
    )
