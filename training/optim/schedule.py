"""The learning rate over time."""

import math
from typing import Any

from kinebert.training.recipe.optim import OptimRecipe


class Schedule:
    """The learning rate of every step: warm-up times plateau, steps or cosine.

    The plateau part follows ``torch.optim.lr_scheduler.ReduceLROnPlateau`` (``mode="min"`` for the loss, ``"max"`` for
    top-1) with its relative threshold of 1e-4; it is here because torch's cannot be combined with a warm-up.

    Args:
        recipe: Shape and numbers.
        steps_per_epoch: Updates of the weights in an epoch.
        epochs: Passes in total; only cosine looks at it.
        lr: The rate to begin with; None for the recipe's.
    """

    def __init__(self, recipe: OptimRecipe, steps_per_epoch: int, epochs: int, lr: float | None = None) -> None:
        self._recipe, self._warmup = recipe, recipe.warmup_epochs * steps_per_epoch
        self._lr = recipe.lr if lr is None else lr
        self._per_epoch, self._total = steps_per_epoch, max(1, steps_per_epoch * epochs)
        self._scale, self._bad_epochs = 1.0, 0
        self._best = math.inf if recipe.monitor == "loss" else -math.inf

    def lr(self, step: int) -> float:
        """Return the learning rate of ``step``, counted through all epochs from 0."""
        rate = self._lr * self._scale
        if step + 1 < self._warmup:
            rate *= (step + 1) / self._warmup
        if self._recipe.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(self._angle(step)))
        epoch = step // self._per_epoch
        return rate * self._recipe.factor ** sum(epoch >= milestone for milestone in self._recipe.milestones)

    def _angle(self, step: int) -> float:
        """How far the cosine is, 0 to pi. What is left of a curve that got another end is stretched up to that."""
        angle, begin = 0.0, 0
        for after, planned in self._recipe.stretched:
            bend = after * self._per_epoch
            if step <= bend:
                return angle + (math.pi - angle) * (step - begin) / (planned * self._per_epoch - begin)
            angle += (math.pi - angle) * (bend - begin) / (planned * self._per_epoch - begin)
            begin = bend
        return angle + (math.pi - angle) * (min(step, self._total) - begin) / (self._total - begin)

    def end_epoch(self, val_loss: float, val_top1: float = 0.0) -> None:
        """Take note of an epoch's validation; plateau may lower the rate from now on."""
        if self._recipe.schedule != "plateau":
            return
        if self._recipe.monitor == "loss":
            value, better = val_loss, val_loss < self._best * (1 - 1e-4)
        else:
            value, better = val_top1, val_top1 > self._best * (1 + 1e-4)
        if better:
            self._best, self._bad_epochs = value, 0
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
