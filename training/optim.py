"""Optimizers and the learning rate over time."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from training.recipe import OptimRecipe


def build_optimizer(parameters: Iterable[nn.Parameter], recipe: OptimRecipe) -> torch.optim.Optimizer:
    """Build the optimizer; all parameters share one learning rate and weight decay, as published."""
    if recipe.name == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        dampening=recipe.dampening,
        weight_decay=recipe.weight_decay,
    )


class Schedule:
    """The learning rate of every step: warm-up times cosine or plateau.

    The plateau part follows ``torch.optim.lr_scheduler.ReduceLROnPlateau(mode="min")`` with its relative threshold of
    1e-4; it is here because torch's cannot be combined with a warm-up.

    Args:
        recipe: Shape and numbers.
        steps_per_epoch: Updates of the weights in an epoch.
        epochs: Passes in total; only cosine looks at it.
    """

    def __init__(self, recipe: OptimRecipe, steps_per_epoch: int, epochs: int) -> None:
        self._recipe, self._warmup = recipe, recipe.warmup_epochs * steps_per_epoch
        self._total = max(1, steps_per_epoch * epochs)
        self._scale, self._best, self._bad_epochs = 1.0, math.inf, 0

    def lr(self, step: int) -> float:
        """Return the learning rate of ``step``, counted through all epochs from 0."""
        rate = self._recipe.lr * self._scale
        if step + 1 < self._warmup:
            rate *= (step + 1) / self._warmup
        if self._recipe.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(step, self._total) / self._total))
        return rate

    def end_epoch(self, val_loss: float) -> None:
        """Take note of an epoch's validation loss; plateau may lower the rate from now on."""
        if self._recipe.schedule != "plateau":
            return
        if val_loss < self._best * (1 - 1e-4):
            self._best, self._bad_epochs = val_loss, 0
        else:
            self._bad_epochs += 1
        if self._bad_epochs > self._recipe.patience:
            self._scale, self._bad_epochs = self._scale * self._recipe.factor, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs, as plain numbers."""
        return {"scale": self._scale, "best": self._best, "bad_epochs": self._bad_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._scale, self._best, self._bad_epochs = state["scale"], state["best"], state["bad_epochs"]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group in place."""
    for group in optimizer.param_groups:
        group["lr"] = lr
