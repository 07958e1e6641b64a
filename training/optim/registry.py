"""Optimizers by name, found in :mod:`.rules`: how each is built from a recipe, and what it says of itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from kinebert.preprocessing.discovery import modules_of
from kinebert.preprocessing.lookup import find
from kinebert.preprocessing.private_folder import keep_compiled_code
from kinebert.training.recipe.optim import OPTIMIZERS, OptimRecipe

Groups = Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]]
"""Parameters, or what :func:`.parameter_groups` makes of them."""
Build = Callable[[Groups, OptimRecipe], torch.optim.Optimizer]
Facts = Callable[[Any], dict[str, float]]


def no_facts(_: torch.optim.Optimizer) -> dict[str, float]:
    """Say nothing."""
    return {}


@dataclass(frozen=True)
class OptimizerEntry:
    """One optimizer."""

    build: Build
    """Makes it for parameters or groups of them."""
    facts: Facts
    """Numbers of it for the history of a training, by name, besides the learning rate."""


FUSED_ON = ("cuda",)
"""Devices on which a rule's whole update is one kernel that torch has. A CPU has it too, with other roundings."""

_entries: dict[str, OptimizerEntry] = {}


def register_optimizer(*, facts: Facts = no_facts) -> Callable[[Build], Build]:
    """Make ``build(groups, recipe)`` the optimizer that is called like it, and like its file in :mod:`.rules`."""

    def register(build: Build) -> Build:
        file = build.__module__.rpartition(".")[2]
        if build.__name__ != file:
            raise ValueError(f"{build.__module__}: the optimizer {build.__name__!r} must be called {file!r}")
        _entries[file] = OptimizerEntry(build, facts)
        return build

    return register


def build_optimizer(groups: Groups, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """Build the recipe's optimizer for parameters, or for the groups that :func:`.parameter_groups` makes."""
    keep_compiled_code()
    return _entry(recipe).build(list(groups), recipe)  # type: ignore[arg-type]


def fused(groups: Groups) -> bool | None:
    """Return the argument ``fused`` of torch's optimizers for groups: True on a GPU, None for torch's own choice."""
    parameters = [one for group in groups for one in (group["params"] if isinstance(group, dict) else [group])]
    fits = all(one.device.type in FUSED_ON and one.is_floating_point() for one in parameters)
    return True if parameters and fits else None


def is_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Whether fused kernels make all updates of an optimizer."""
    return all(group.get("fused") for group in optimizer.param_groups)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from a saved state of an optimizer, by the kernels that it was saved with, so that its bits stay the same.

    States of earlier versions, and of CPUs, go on without fused kernels; those of GPUs do so on a CPU, whose own would
    round in another way.
    """
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        if group.get("fused") and not fused([group]):
            group["fused"] = None
    if hasattr(optimizer, "_step_supports_amp_scaling"):  # what torch's scaler asks, else true since the beginning
        optimizer._step_supports_amp_scaling = is_fused(optimizer)


def facts_of(optimizer: torch.optim.Optimizer, recipe: OptimRecipe) -> dict[str, float]:
    """Return what the history should say of an optimizer that :func:`build_optimizer` made, by name."""
    return _entry(recipe).facts(optimizer)


def _entry(recipe: OptimRecipe) -> OptimizerEntry:
    _import_all()
    return find(_entries, recipe.name, "optimizer")


@cache
def _import_all() -> None:
    modules_of(OPTIMIZERS)
