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
    return _entry(recipe).build(groups, recipe)


def facts_of(optimizer: torch.optim.Optimizer, recipe: OptimRecipe) -> dict[str, float]:
    """Return what the history should say of an optimizer that :func:`build_optimizer` made, by name."""
    return _entry(recipe).facts(optimizer)


def _entry(recipe: OptimRecipe) -> OptimizerEntry:
    _import_all()
    return find(_entries, recipe.name, "optimizer")


@cache
def _import_all() -> None:
    modules_of(OPTIMIZERS)
