"""Which parameters learn, and in which groups."""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import Recognizer
from kinebert.training.recipe.optim import GroupRecipe, GroupsRecipe, LayerRecipe, OptimRecipe


def parameter_groups(model: Recognizer, recipe: OptimRecipe) -> list[dict[str, Any]]:
    """Sort the parameters that learn into groups that share learning rate and weight decay.

    Returns:
        Groups for :func:`.build_optimizer`, with ``lr_scale``; a single one unless the recipe tells parts apart.

    Raises:
        ConfigError: If there is nothing that learns under the names of one of the recipe's layers.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = _layers(trained, recipe.layers)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        part = layers.get(name) or _part(model, name, recipe.groups)
        decay = recipe.weight_decay if part.weight_decay is None else part.weight_decay
        if not recipe.decay_norms and parameter.ndim <= 1:  # norms and biases, and nothing else
            decay = 0.0
        scale = part.lr_scale * (1.0 if name in layers else _own_scale(model, name))
        groups.setdefault((scale, decay), []).append(parameter)
    return [
        {"params": params, "lr_scale": scale, "lr": recipe.lr * scale, "weight_decay": decay}
        for (scale, decay), params in groups.items()
    ]


def freeze(model: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """Take modules out of training, in place; the caller keeps those that are returned in eval mode.

    Args:
        model: The recognizer.
        names: Of modules, or patterns of such names as :mod:`fnmatch` has them (``backbone.layer[12]``).

    Raises:
        ConfigError: If there is no module of a name, or nothing is left to train.
    """
    modules, frozen = dict(model.named_modules()), []
    for name in names:
        found = [name] if name in modules else fnmatch.filter(modules, name)
        if not name or not found:
            near = difflib.get_close_matches(name, modules, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Parts are backbone, head and classifier."
            raise ConfigError(f"optim.frozen: the recognizer has no module {name!r}. {hint}")
        frozen += [modules[one].requires_grad_(False) for one in found]
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("optim.frozen leaves nothing to train. Take a module out of it.")
    return frozen


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group in place: its ``lr_scale`` (1 if it has none) times ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def _layers(trained: Iterable[str], layers: Sequence[LayerRecipe]) -> dict[str, LayerRecipe]:
    """Return the layer of each parameter that has one, by the parameter's name."""
    names, found = list(trained), dict[str, LayerRecipe]()
    for layer in layers:
        matching = fnmatch.filter(names, layer.match)
        if not matching:
            near = difflib.get_close_matches(layer.match, names, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"The first of them is {names[0]!r}."
            raise ConfigError(
                f"optim.layers: no parameter that is trained has a name like {layer.match!r}. {hint} A whole module is "
                "its name and .*, such as backbone.layer4.*"
            )
        found |= dict.fromkeys(matching, layer)
    return found


def _own_scale(model: Recognizer, name: str) -> float:
    """Return the factor with which the backbone is published to learn a parameter."""
    scales = model.backbone.lr_scales.items()
    return next((scale for part, scale in scales if name.startswith(f"backbone.{part}.")), 1.0)


def _part(model: Recognizer, name: str, groups: GroupsRecipe) -> GroupRecipe:
    if any(name.startswith(f"backbone.{reduced}.") for reduced in model.backbone.reduced):
        return groups.reduction
    found: GroupRecipe = getattr(groups, name.partition(".")[0])
    return found
