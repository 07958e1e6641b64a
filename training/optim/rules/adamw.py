"""AdamW: Adam whose weight decay is decoupled from the gradient."""

import torch

from kinebert.training.optim.registry import Groups, fused, register_optimizer
from kinebert.training.recipe.optim import OptimRecipe


@register_optimizer()
def adamw(groups: Groups, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """Take ``betas`` and ``weight_decay`` of the recipe."""
    return torch.optim.AdamW(
        groups, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=fused(groups)
    )
