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


def parameter_groups(
    model: Recognizer, recipe: OptimRecipe, besides: Sequence[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Sort the parameters that learn into groups that share learning rate and weight decay.

    Args:
        model: Whose they are.
        recipe: What it says of them.
        besides: Further parameters that learn as the recipe says of all, in a group of their own, the last one.

    Returns:
        Groups for :func:`.build_optimizer`, with ``lr_scale``; a single one unless the recipe tells parts apart.

    Raises:
        ConfigError: If there is nothing that learns under the names of one of the recipe's layers, or no module of a
            name in ``lr_zero``.
    """
    at_rest = _parameters_of(model, recipe.lr_zero)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = _layers(trained, recipe.layers)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        part = layers.get(name) or _part(model, name, recipe.groups)
        decay = recipe.weight_decay if part.weight_decay is None else part.weight_decay
        if not recipe.decay_norms and parameter.ndim <= 1:  # norms and biases, and nothing else
            decay = 0.0
        scale = part.lr_scale * (1.0 if name in layers else _own_scale(model, name)) * (name not in at_rest)
        groups.setdefault((scale, decay), []).append(parameter)
    found = [(params, *key) for key, params in groups.items()]
    found += [(list(besides), 1.0, recipe.weight_decay)] if besides else []
    return [
        {"params": params, "lr_scale": scale, "lr": recipe.lr * scale, "weight_decay": decay}
        for params, scale, decay in found
    ]


def freeze(model: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """Take modules out of training, in place; the caller keeps those that are returned in eval mode.

    Args:
        model: The recognizer.
        names: Of modules, or patterns of such names as :mod:`fnmatch` has them (``backbone.layer[12]``).

    Raises:
        ConfigError: If there is no module of a name, or nothing is left to train.
    """
    frozen = [module.requires_grad_(False) for module in _modules(model, names, "optim.frozen").values()]
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("optim.frozen leaves nothing to train. Take a module out of it.")
    return frozen


def _modules(model: nn.Module, names: Iterable[str], key: str) -> dict[str, nn.Module]:
    """Return the modules of some names or patterns by their names.

    Raises:
        ConfigError: If there is none of a name.
    """
    modules, chosen = dict(model.named_modules()), dict[str, nn.Module]()
    for name in names:
        found = [name] if name in modules else fnmatch.filter(modules, name)
        if not name or not found:
            near = difflib.get_close_matches(name, modules, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else "Parts are backbone, head and classifier."
            raise ConfigError(f"{key}: the recognizer has no module {name!r}. {hint}")
        chosen |= {one: modules[one] for one in found}
    return chosen


def _parameters_of(model: nn.Module, names: Iterable[str]) -> set[str]:
    """Return the names of all parameters of the modules in ``lr_zero``."""
    chosen = _modules(model, names, "optim.lr_zero")
    return {f"{module}.{name}" for module, one in chosen.items() for name, _ in one.named_parameters()}


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
