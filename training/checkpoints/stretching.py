"""Cosine schedules that get another end while they are followed. The recipe says where, so it repeats the training."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kinebert.preprocessing.errors import ConfigError

if TYPE_CHECKING:
    from kinebert.training.checkpoints.state import TrainState
    from kinebert.training.recipe.train import TrainRecipe


def ways_here(identity: dict[str, Any], epochs: int) -> Iterator[dict[str, Any]]:
    """Yield the identities of trainings that are the same for so many epochs: this one, then those before a stretch.

    Args:
        identity: What :meth:`.TrainRecipe.identity` says.
        epochs: That are done or begun.
    """
    yield identity
    stretched = identity.get("optim", {}).get("stretched", [])
    while stretched and stretched[-1][0] >= epochs:
        *stretched, (_, planned) = stretched
        identity = copy.deepcopy({**identity, "epochs": planned})
        identity["optim"].pop("stretched")
        if stretched:
            identity["optim"]["stretched"] = stretched
        yield identity


def stretch(recipe: "TrainRecipe", state: "TrainState", output: str) -> "TrainRecipe":
    """Return ``recipe`` with what is left of the cosine that ``state`` follows stretched to end with its epochs.

    It bends where the next epoch begins. A state that was saved after that bend gives the same recipe again.

    Raises:
        ConfigError: If the schedule has no end to move, or no epoch of it is left.
    """
    has = f"optim.schedule is {recipe.optim.schedule!r}" if recipe.optim.schedule != "cosine" else ""
    has = "the stages have schedules of their own" if recipe.stages else has
    has = "multigrid shares out the epochs from the beginning" if recipe.multigrid.on else has
    has = 'optim.cosine_from = "warmup" has no end to move' if recipe.optim.cosine_from == "warmup" else has
    if has:
        raise ConfigError(f"--stretch-schedule moves the end of a cosine; {has}. Leave it out.")
    planned = state.recipe.get("epochs")
    stretched = [(after, until) for after, until in state.recipe["optim"].get("stretched", [])]
    if planned is None:  # it followed another schedule, which is another training
        return recipe
    done = state.epoch + (state.step > 0)
    if planned != recipe.epochs:
        if done >= planned:
            raise ConfigError(
                f"{output}: the cosine of its {planned} epochs has come to 0, so nothing of it can be stretched. Train "
                "in another folder, from these weights if you like (model.weights = its last.pt)."
            )
        if recipe.epochs <= done:
            raise ConfigError(
                f"{output}: {done} epochs are done or begun: a cosine that is stretched from there needs more epochs "
                f"than that, epochs is {recipe.epochs}."
            )
        while stretched and stretched[-1][0] >= done:  # the curve after that bend was never followed
            planned = stretched.pop()[1]
        stretched.append((done, planned))
    return replace(recipe, optim=replace(recipe.optim, stretched=tuple(stretched)))
