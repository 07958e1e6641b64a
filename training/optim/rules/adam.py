"""Adam with an L2 penalty."""

import torch

from kinebert.training.optim.registry import Groups, fused, register_optimizer
from kinebert.training.recipe.optim import OptimRecipe


@register_optimizer()
def adam(groups: Groups, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """Take ``betas`` and ``weight_decay`` of the recipe."""
    return torch.optim.Adam(
        groups, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=fused(groups)
    )
