"""Trainings of programs and functions in the test's own process, where what Ray Train does for them is not tested."""

from collections.abc import Callable

import pytest

from kinebert.orchestration.jobs import training
from kinebert.orchestration.ray_train.fit import FitResult, train_and_score
from kinebert.training.loop.events import Ended, Event
from kinebert.training.loop.loop import WorkerContext
from kinebert.training.recipe.train import TrainRecipe


def fit_here(
    recipe: TrainRecipe,
    output: str,
    hear: Callable[[Event], None],
    cpus_per_worker: float | None = None,
    pause_after: int | None = None,
    device: str = "cpu",
) -> FitResult:
    """What ``fit`` does with one worker on a CPU, in this process and without the ten seconds that Ray Train takes."""
    assert recipe.workers == 1
    result, best_epoch = train_and_score(recipe, output, WorkerContext(num_threads=1), hear, pause_after)
    hear(Ended(best_epoch=best_epoch))
    return result


def train_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``kinebert train`` and ``kinebert.train`` do so."""
    monkeypatch.setattr(training, "fit", fit_here)
