"""One leg of a trial, in the process that Ray Tune gives it: trained here, or by workers that it starts."""

import contextlib
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kinebert.orchestration import cluster  # noqa: F401 - first: it says what Ray reads at its import

# isort: split
import torch
from ray import tune

from kinebert.orchestration.search.planner import Leg
from kinebert.orchestration.search.records import load_record, trial_folder
from kinebert.orchestration.search.space import recipe_with
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.aligned import open_shards
from kinebert.training.checkpoints.state import load_state
from kinebert.training.loop.events import EpochDone, Event, Started
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.out_of_memory import memory_explained, out_of_memory
from kinebert.training.recipe.train import TrainRecipe

ERROR_FILE = "error.txt"
_LET_GO_S = 600
"""Seconds in which a trial that was stopped has written its files and ended its loaders; Ray would wait for 2."""
LEG, ROW, END = "leg", "row", "end"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all trials of a search have in common."""

    base: TrainRecipe
    """Recipe, with absolute locations."""
    output: str
    """Folder of the search."""
    cpus_per_worker: float
    """Logical CPUs of each worker."""
    gpus_per_worker: float = 0.0
    """GPUs, or the part of one, of each worker."""
    where: str
    """The recipe's file, for errors."""

    def recipe(self, values: Mapping[str, Any], seed: int) -> TrainRecipe:
        """Return the recipe of a trial: the base's with ``values``, by field, and ``seed``, and absolute locations."""
        recipe = recipe_with(self.base, {"seed": seed, **values}, self.where)
        return recipe.with_absolute_shards()


def packed(leg: Leg) -> dict[str, str]:
    """Return a leg as the config that Ray Tune gives a trial: its fields as JSON under one key."""
    return {LEG: json.dumps(asdict(leg))}


def unpacked(config: Mapping[str, str]) -> Leg:
    """Return the leg that :func:`packed` has made a config of."""
    return Leg(**json.loads(config[LEG]))


def run_leg(job: Job, config: Mapping[str, str]) -> None:
    """Train a leg and report its epochs to Ray Tune, those first that were trained but not heard of.

    What goes wrong is reported as well, with its reason, and not raised: it is the trial's outcome.
    """
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", str(_LET_GO_S))  # read when the next trial comes here
    leg = unpacked(config)
    folder = trial_folder(job.output, leg.number, leg.generation)
    startup_s: float | None = None
    if _is_over(job, leg):  # stopped, and its process was lost before it had ended
        _report_end(False, None)
        return

    def emit(event: Event) -> None:
        nonlocal startup_s
        if isinstance(event, Started) and startup_s is None:
            startup_s = time.time() - leg.asked_at
        elif isinstance(event, EpochDone):
            _report_row(event.numbers(), startup_s)

    try:
        recipe = job.recipe(leg.values, leg.seed)
        storage.make_folder(folder)
        state = load_state(folder)
        for row in [] if state is None else state.history[leg.heard :]:
            _report_row(row, None)
        _train(job, leg, recipe, folder, emit)
        if _is_over(job, leg):
            _report_end(False, None)
            return
        state = load_state(folder)
        assert state is not None, "a training saves its state after every epoch"
        complete = leg.until is None or leg.until >= recipe.epochs or state.epoch < leg.until
        _report_end(complete, None)
    except Exception as error:
        failure = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        storage.write_bytes(storage.join(folder, ERROR_FILE), traceback.format_exc().encode())
        first = next((line for line in failure.splitlines() if line.strip()), "without a word")
        _report_end(False, first)


def _train(job: Job, leg: Leg, recipe: TrainRecipe, folder: str, emit: Callable[[Event], None]) -> None:
    if recipe.workers > 1:
        _train_by_group(job, leg, recipe, folder, emit)
        return
    device = torch.device("cuda" if job.gpus_per_worker else "cpu")  # Ray shows this process its GPU and no other
    threads = max(1, int(job.cpus_per_worker))
    worker = WorkerContext(device=device, num_threads=threads, cores=int(job.cpus_per_worker))
    try:
        with memory_explained(out_of_memory(recipe)):
            train(recipe, open_shards(recipe.data.shards, recipe.data.beside), worker, folder, emit, leg.until)
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()  # the process may be given another trial, and share the GPU with others


def _train_by_group(job: Job, leg: Leg, recipe: TrainRecipe, folder: str, emit: Callable[[Event], None]) -> None:
    """Train with workers, and end them where the trial was stopped.

    Ray Tune can end this process only: the workers' resources would stay taken, as nobody gave them back.
    """
    from kinebert.orchestration.ray_train.fit import fit  # seconds that only trials with a worker group have to wait
    from kinebert.orchestration.ray_train.hearing import StoppedError

    def hear(event: Event) -> None:
        emit(event)
        if isinstance(event, EpochDone) and _is_over(job, leg):  # the search has decided before a report returns
            raise StoppedError(f"trial {leg.number} was stopped")

    with contextlib.suppress(StoppedError):
        fit(recipe, folder, hear, job.cpus_per_worker, pause_after=leg.until)


def _is_over(job: Job, leg: Leg) -> bool:
    """Whether the trial was stopped; a leg without a group is ended by Ray Tune, and need not ask."""
    return job.base.workers > 1 and load_record(job.output, leg.number).ended


def _report_row(row: Mapping[str, Any], startup_s: float | None) -> None:
    tune.report({ROW: json.dumps([dict(row), startup_s])})  # as text, or Tune would flatten it


def _report_end(complete: bool, failure: str | None) -> None:
    tune.report({END: json.dumps({"complete": complete, "failure": failure})})
