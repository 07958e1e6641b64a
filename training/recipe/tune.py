"""The table ``[tune]`` of a recipe: which of its fields are searched, how, and when a trial is given up."""

from dataclasses import dataclass
from typing import Any, Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.clips.ordering import MAX_SEED
from kinebert.training.recipe.settings import setting

Metric = Literal["val_top1", "val_top3", "val_top5", "val_mean_class", "val_loss"]
"""What a search may look at: numbers of every epoch of a training."""


@dataclass(frozen=True, kw_only=True)
class TuneRecipe:
    """A search. ``kinebert train`` passes it over; ``kinebert tune`` takes the rest of the recipe as its base."""

    space: dict[str, Any]
    """What is searched, by field: {uniform = [0, 1]}, {log_uniform = [1e-5, 1e-2]}, {int = [1, 4]}, {choice = [..]}
    or {grid = [..]}, of which random search visits every value in turn."""
    search: Literal["random", "grid", "tpe"] = "random"
    """How trials are chosen: random; grid: every combination of the values; tpe: Optuna's estimator, from what the
    trials before came to (needs `pip install kinebert[tune]`)."""
    scheduler: Literal["none", "asha", "median", "pbt"] = "asha"
    """Which trials are ended early: asha: those behind at a rung; median: those behind the median of the others; pbt:
    none, but the last of a population go on with weights and changed values of the first; none."""
    trials: int = setting(20, changeable=True)
    """Trials in all, the population with pbt. May be raised for a search that is done; a grid has its own number."""
    metric: Metric = "val_top1"
    """Number of an epoch that trials are compared by: the highest is best, but for val_loss the lowest."""
    seed: int = 0
    """Decides what is suggested, and with a trial's number the seed of its training."""
    concurrent: int = setting(0, changeable=True)
    """Most trials at a time; 0 is as many as fit. What tpe suggests repeats from run to run with 1 only."""
    grace_epochs: int = 1
    """Epochs that every trial is given by asha (its lowest rung) and median."""
    reduction: int = 3
    """With asha, rungs lie this factor apart, and one trial in so many goes on from each."""
    interval: int = 4
    """With pbt, epochs from one comparison of the population to the next."""
    quantile: float = 0.25
    """With pbt, share of the population that goes on from another's weights, and of those that are taken over."""
    keep: int = setting(3, changeable=True)
    """Trials whose checkpoints are kept, the best ones; the others' are deleted when they end."""

    def __post_init__(self) -> None:
        if not self.space:
            raise ConfigError('tune.space is empty. Name a field, such as "optim.lr" = {log_uniform = [1e-5, 1e-2]}.')
        for name in ("trials", "grace_epochs", "interval", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"tune.{name} must be at least 1, got {getattr(self, name)}.")
        if self.reduction < 2:
            raise ConfigError(f"tune.reduction must be at least 2, got {self.reduction}.")
        if self.concurrent < 0:
            raise ConfigError(f"tune.concurrent must be at least 0, got {self.concurrent}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"tune.seed must be at least 0 and at most {MAX_SEED}, got {self.seed}.")
        if not 0 < self.quantile <= 0.5:
            raise ConfigError(f"tune.quantile must lie above 0 and at most at 0.5, got {self.quantile}.")
        if self.scheduler == "pbt" and self.search != "random":
            raise ConfigError(f'tune.scheduler = "pbt" starts from random values, tune.search is {self.search!r}.')
        if self.scheduler == "pbt" and self.trials < 2:
            raise ConfigError("tune.trials is the population of pbt; it must be at least 2.")

    @property
    def sign(self) -> float:
        """1 where more of the metric is better, -1 where less is."""
        return -1.0 if self.metric == "val_loss" else 1.0
