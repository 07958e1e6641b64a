"""Which parameters learn, and in which groups."""

import difflib
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import Recognizer
from kinebert.training.recipe.optim import GroupRecipe, GroupsRecipe, OptimRecipe


def parameter_groups(model: Recognizer, recipe: OptimRecipe) -> list[dict[str, Any]]:
    """Sort the parameters that learn into groups that share learning rate and weight decay.

    Returns:
        Groups for :func:`.build_optimizer`, with ``lr_scale``; a single one unless the recipe tells parts apart.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = _part(model, name, recipe.groups)
            decay = recipe.weight_decay if part.weight_decay is None else part.weight_decay
            if not recipe.decay_norms and parameter.ndim <= 1:  # norms and biases, and nothing else
                decay = 0.0
            groups.setdefault((part.lr_scale, decay), []).append(parameter)
    return [
        {"params": params, "lr_scale": scale, "lr": recipe.lr * scale, "weight_decay": decay}
        for (scale, decay), params in groups.items()
    ]


def freeze(model: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """Take modules out of training, in place; the caller keeps those that are returned in eval mode.

    Raises:
        ConfigError: If there is no module of that name, or nothing is left to train.
    """
    modules, frozen = dict(model.named_modules()), []
    for name in names:
        if not name or name not in modules:
            near = difflib.get_close_matches(name, modules, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Parts are backbone, head and classifier."
            raise ConfigError(f"optim.frozen: the recognizer has no module {name!r}. {hint}")
        frozen.append(modules[name].requires_grad_(False))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("optim.frozen leaves nothing to train. Take a module out of it.")
    return frozen


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group in place: its ``lr_scale`` (1 if it has none) times ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def _part(model: Recognizer, name: str, groups: GroupsRecipe) -> GroupRecipe:
    if any(name.startswith(f"backbone.{reduced}.") for reduced in model.backbone.reduced):
        return groups.reduction
    found: GroupRecipe = getattr(groups, name.partition(".")[0])
    return found
