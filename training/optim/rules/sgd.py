"""Stochastic gradient descent with momentum and an L2 penalty."""

import torch

from kinebert.training.optim.registry import Groups, fused, register_optimizer
from kinebert.training.recipe.optim import OptimRecipe


@register_optimizer()
def sgd(groups: Groups, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """Take ``momentum``, ``dampening`` and ``weight_decay`` of the recipe."""
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        dampening=recipe.dampening,
        weight_decay=recipe.weight_decay,
        fused=fused(groups),
    )
