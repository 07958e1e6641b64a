"""Going on from another training's weights with other values, as population based training does."""

import copy
from dataclasses import replace
from typing import Any

from kinebert.preprocessing.config import flatten
from kinebert.training.checkpoints.state import TrainState
from kinebert.training.recipe.train import TrainRecipe

_OF_GROUPS = ("weight_decay", "momentum", "dampening", "betas")
"""Keys of ``optim`` that an optimizer keeps in its groups; the learning rate is set anew in every step."""


def take_over(state: TrainState, recipe: TrainRecipe) -> TrainState:
    """Return ``state`` as one that a training of ``recipe`` goes on from.

    Weights, running averages of the optimizer, epoch and history stay. What ``recipe`` says of the optimizer takes the
    place of what the state's own recipe said; a group that said something else (norms without decay, say) keeps it.
    There is no best epoch yet: the first one from here on is kept.

    Args:
        state: Of another training, at the end of an epoch.
        recipe: Builds the same network; its ``model.weights`` are pinned, see :func:`.pinned`.
    """
    ours = recipe.identity()
    before, now = flatten(state.recipe), flatten(ours)
    optimizer = copy.copy(state.optimizer)
    groups: list[dict[str, Any]] = [dict(group) for group in optimizer["param_groups"]]
    for name in _OF_GROUPS:
        old, new = before.get(f"optim.{name}"), now.get(f"optim.{name}")
        for group in groups:
            if name in group and _same(group[name], old):
                group[name] = type(group[name])(new)
    optimizer["param_groups"] = groups
    return replace(state, recipe=ours, optimizer=optimizer, best=None, taken_over=state.epoch)


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal; a list of a recipe is a tuple of an optimizer."""
    return (list(a) if isinstance(a, tuple) else a) == (list(b) if isinstance(b, tuple) else b)
