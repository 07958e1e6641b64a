"""The learning rate over time."""

import math
from collections.abc import Sequence
from typing import Any

from kinebert.training.recipe.optim import OptimRecipe


class Schedule:
    """The learning rate of every step: warm-up times plateau, steps or cosine.

    The plateau part follows ``torch.optim.lr_scheduler.ReduceLROnPlateau`` (``mode="min"`` for the loss, ``"max"`` for
    top-1) with its relative threshold of 1e-4; it is here because torch's cannot be combined with a warm-up.

    Args:
        recipe: Shape and numbers.
        steps_per_epoch: Updates of the weights in an epoch; or in each of the epochs, where they have not equally many.
        epochs: Passes in total; only cosine looks at it.
        lr: The rate to begin with; None for the recipe's.
    """

    def __init__(
        self, recipe: OptimRecipe, steps_per_epoch: int | Sequence[int], epochs: int, lr: float | None = None
    ) -> None:
        self._recipe, self._steps = recipe, steps_per_epoch
        self._warmup = recipe.warmup_steps or self._after(recipe.warmup_epochs)
        self._lr = recipe.lr if lr is None else lr
        self._total = max(1, int(self._after(epochs)))
        self._scale, self._bad_epochs = 1.0, 0
        self._best = math.inf if recipe.monitor == "loss" else -math.inf

    def lr(self, step: int) -> float:
        """Return the learning rate of ``step``, counted through all epochs from 0."""
        if step >= self._warmup:
            return self._planned(step)
        begin = self._lr * self._recipe.warmup_from
        if not begin:
            return self._planned(step, min(1.0, (step + 1) / self._warmup))
        return begin + (self._planned(self._warmup) - begin) * (step / self._warmup)

    def _planned(self, step: float, share: float = 1.0) -> float:
        """Return so large a share of the rate that a step has without a warm-up."""
        rate = self._lr * self._scale * share
        if self._recipe.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(self._angle(step)))
        passed = sum(step >= self._after(milestone) for milestone in self._recipe.milestones)
        return rate * self._recipe.factor**passed

    def _after(self, epochs: float) -> float:
        """Return how many steps so many epochs have."""
        if isinstance(self._steps, int):
            return epochs * self._steps
        whole = min(int(epochs), len(self._steps))
        rest = epochs - whole
        return sum(self._steps[:whole]) + (rest * self._steps[min(whole, len(self._steps) - 1)] if rest else 0)

    def _angle(self, step: float) -> float:
        """How far the cosine is, 0 to pi. What is left of a curve that got another end is stretched up to that."""
        angle, begin = 0.0, self._warmup if self._recipe.cosine_from == "warmup" else 0.0
        for after, planned in self._recipe.stretched:
            bend, end = self._after(after), self._after(planned)
            if step <= bend:
                return angle + (math.pi - angle) * (step - begin) / (end - begin)
            angle += (math.pi - angle) * (bend - begin) / (end - begin)
            begin = bend
        if step <= begin:
            return angle
        return angle + (math.pi - angle) * (min(step, self._total) - begin) / max(1, self._total - begin)

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
