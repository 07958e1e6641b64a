"""A search on Ray Tune: Tune places the legs and hears them, the planner decides what comes next."""

import contextlib
import json
import logging
import os
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import
from kinebert.orchestration.printing import warn
from kinebert.preprocessing.machine import available_cores
from kinebert.training.run_folder import SCRATCH_FOLDER

# isort: split
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # what they would write is in our own files
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # which would print a banner even if told to be silent
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends this program as it ends any other of ours
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")  # our own files are what a restart goes on from

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from kinebert.orchestration.ray_train.workers import wanted_cpus
from kinebert.orchestration.search.planner import Planner
from kinebert.orchestration.search.population import Exchange
from kinebert.orchestration.search.records import Record, trial_folder
from kinebert.orchestration.search.space import Space
from kinebert.orchestration.search.trials import END, ROW, Job, packed, run_leg, unpacked
from kinebert.orchestration.silent_workers import give_signs, watched
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.state import load_state, save_state
from kinebert.training.checkpoints.takeover import take_over
from kinebert.training.loop.initial import pinned
from kinebert.training.recipe.train import TrainRecipe

MAX_LOSSES = 2
"""Times that a leg whose process was lost is begun again, from its last saved state."""
_NO_REASON = "no reason is known"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each trial of a search holds of the cluster."""

    cpus_per_worker: float | None = None
    """Logical CPUs of each worker; by default one for itself and one for each process that loads clips for it."""
    gpus_per_worker: float | None = None
    """GPUs of each worker, which may be a part of one; by default 1 where the cluster has GPUs, else 0."""


def search(
    job: Job, space: Space, records: list[Record], resources: Resources, changed: Callable[[Record, bool], None]
) -> list[Record]:
    """Run trials until all have ended, and return them all.

    Args:
        job: What they have in common; what its workers hold is taken from ``resources``.
        space: What is searched.
        records: Trials of earlier calls.
        resources: What a trial holds.
        changed: Called with every trial that has news, and whether it is at work.

    Raises:
        UserError: If the cluster has no room for a single trial.
    """
    with _cluster.cluster(max(available_cores(), job.base.workers)) as found:
        cpus, gpus, most = room(job.base, resources, found)
        planner = Planner(job.base, space, records, job.output, most, _exchange(job), changed)
        if planner.done:
            return planner.records
        job = replace(job, cpus_per_worker=cpus, gpus_per_worker=gpus)
        for name in ("ray.tune", "ray.train", "ray.air"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is lost, we say in a line, and Tune in thirty
        with _scratch(job.output) as scratch, watched() as watch:
            _tuner(job, planner, cpus, gpus, scratch, watch.roll).fit()
        if not planner.done:  # Tune ended before we did: a mistake of ours, which must not look like an end
            raise RuntimeError(f"{job.output}: the search stopped with trials left; run it again to continue")
        return planner.records


def room(base: TrainRecipe, resources: Resources, found: _cluster.Cluster) -> tuple[float, float, int]:
    """Return CPUs and GPUs of a worker, and how many trials fit at a time.

    Raises:
        UserError: If not even one does.
    """
    workers, wanted = base.workers, resources.gpus_per_worker
    gpus = (1.0 if found.num_gpus else 0.0) if wanted is None else wanted
    cpus = resources.cpus_per_worker or _cpus(base, gpus, found)
    if gpus and not found.num_gpus:
        raise UserError(f"gpus_per_worker = {gpus:g}, but the cluster has no GPU. Leave it out to train on CPUs.")
    if workers > 1 and gpus != (1.0 if found.num_gpus else 0.0):
        raise UserError(
            f"gpus_per_worker = {gpus:g} with workers = {workers}: workers of one training take a whole GPU each where "
            "the cluster has any. Leave it out."
        )
    fits = [int(found.num_cpus / (workers * cpus) + 1e-6)]
    if gpus:
        each = int(1 / gpus + 1e-6) if gpus < 1 else 0  # parts of a GPU are parts of one
        fits.append(found.num_gpus * each if each else int(found.num_gpus / (workers * gpus)))
    if not min(fits):
        raise UserError(
            f"a trial has {workers} workers with {cpus:g} CPUs and {gpus:g} GPUs each, the cluster has "
            f"{found.num_cpus} CPUs and {found.num_gpus} GPUs. Ask for less."
        )
    assert base.tune is not None, "a search was checked before"
    return cpus, gpus, min(min(fits), base.tune.concurrent or min(fits))


def _cpus(base: TrainRecipe, gpus: float, found: _cluster.Cluster) -> float:
    """CPUs of a worker that has so much of a GPU: its share of them, but no more than let a trial run at all."""
    share = int(found.num_cpus / found.num_gpus * gpus) if gpus and found.num_gpus else None
    return float(min(wanted_cpus(base.loader_workers, share), max(1, found.num_cpus // base.workers)))


def _exchange(job: Job) -> Callable[[Exchange], None]:
    def exchange(item: Exchange) -> None:
        donor, taker = item.donor, item.taker
        source = trial_folder(job.output, donor.number, donor.generation)
        state = load_state(source)
        if state is None or (state.epoch, state.step) != (taker.epoch, 0):
            found = "there is none" if state is None else f"it is of epoch {state.epoch}, step {state.step}"
            raise UserError(
                f"{source}: trial {taker.number} should go on from the state of trial {donor.number} after epoch "
                f"{taker.epoch}, but {found}. Put the file back if you have it; else search in another folder."
            )
        folder = trial_folder(job.output, taker.number, taker.generation + 1)
        storage.make_folder(folder)
        save_state(folder, take_over(state, pinned(job.recipe(item.values, taker.seed))))

    return exchange


def _tuner(job: Job, planner: Planner, cpus: float, gpus: float, scratch: str, roll: Any) -> Any:
    def trainable(config: dict[str, str]) -> None:
        give_signs(roll, ray.get_runtime_context().current_actor)
        run_leg(job, config)

    legs = _Legs()
    # workers of a trial's own hold its CPUs and GPUs; a bundle must not be empty, so it asks for a byte
    alone: dict[str, float] = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
    own = alone if job.base.workers == 1 else {"CPU": 0.0, "memory": 1.0}
    return tune.Tuner(
        tune.with_resources(trainable, own),
        tune_config=tune.TuneConfig(
            search_alg=_Suggestions(planner, legs),
            scheduler=_Decisions(planner, legs, ends_itself=job.base.workers > 1),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: f"trial-{unpacked(trial.config).number:04d}",
            trial_dirname_creator=lambda trial: f"{unpacked(trial.config).number:04d}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="legs", storage_path=scratch, verbose=0, failure_config=tune.FailureConfig(max_failures=MAX_LOSSES)
        ),
    )


class _Legs:
    """What the two ends at which Ray Tune talks to us know together, by Tune's names for legs."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        """Numbers of the trials of legs that were handed out and have not ended."""
        self.trials: dict[str, Any] = {}
        """What Tune knows of each leg that it has taken."""
        self.losses: dict[str, str] = {}
        """Why the process of a leg was lost, the last time that it was."""


class _Suggestions(Searcher):
    """The planner, as Ray Tune asks for what to try next. Nothing of it is saved: our own records are."""

    def __init__(self, planner: Planner, legs: _Legs) -> None:
        super().__init__()
        self._planner, self._legs, self._given_up = planner, legs, Counter[int]()

    def suggest(self, trial_id: str) -> Any:
        self._look_for_given_up()
        if self._planner.done:
            return Searcher.FINISHED
        leg = self._planner.next_leg()
        if leg is None:
            return None
        self._legs.open[trial_id] = leg.number
        return packed(leg)

    def _look_for_given_up(self) -> None:
        """Hand legs out again that Tune has given up without telling anybody, or the search would wait for ever.

        It does so where a process does not let go of one trial, and so cannot be given the next.
        """
        for trial_id, number in list(self._legs.open.items()):
            trial = self._legs.trials.get(trial_id)
            if trial is None or not trial.is_finished():
                continue
            del self._legs.open[trial_id]
            reason = _last_error(trial)
            self._given_up[number] += 1
            if self._given_up[number] > MAX_LOSSES:
                self._planner.ended(number, _lost_for_good(reason), False)
                continue
            warn(f"trial {number}: Ray gave it up ({reason}); beginning it again")
            self._planner.lost(number)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Take note of a leg that Tune has given up; what else may come of one is told by :class:`_Decisions`."""
        if error and trial_id in self._legs.open:
            reason = self._legs.losses.get(trial_id, _NO_REASON)
            self._planner.ended(self._legs.open.pop(trial_id), _lost_for_good(reason), False)

    def __reduce__(self) -> Any:
        return Searcher, ()  # Tune writes us into a file that nobody reads

    def save(self, checkpoint_path: str) -> None:
        """Nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""

    def save_to_dir(self, *_: Any, **__: Any) -> None:
        """Nothing."""


class _Decisions(FIFOScheduler):
    """The planner, as Ray Tune tells what was reported.

    Args:
        planner: Decides.
        legs: What is known of each.
        ends_itself: Whether a leg of a trial that was stopped finds out for itself, as those with workers do.
    """

    def __init__(self, planner: Planner, legs: _Legs, ends_itself: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._planner, self._legs, self._ends_itself = planner, legs, ends_itself

    def __reduce__(self) -> Any:
        return FIFOScheduler, ()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._legs.trials[trial.trial_id] = trial

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if trial.trial_id not in self._legs.open:  # Tune repeats the last words of a function that has returned
            return TrialScheduler.CONTINUE
        number = self._legs.open[trial.trial_id]
        if ROW in result:
            row, startup_s = json.loads(result[ROW])
            if self._planner.heard(number, row, startup_s) and not self._ends_itself:
                del self._legs.open[trial.trial_id]
                return TrialScheduler.STOP
        elif END in result:
            del self._legs.open[trial.trial_id]
            self._planner.ended(number, **json.loads(result[END]))
        return TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Say why a process was lost; Tune calls this also if it begins the leg again."""
        reason = _last_error(trial)
        self._legs.losses[trial.trial_id] = reason
        if trial.should_recover():
            number = unpacked(trial.config).number
            warn(f"trial {number}: its process was lost ({reason}); going on from its last state")


def _lost_for_good(reason: str) -> str:
    return f"its process was lost {MAX_LOSSES + 1} times: {reason}"


def _last_error(trial: Any) -> str:
    try:
        with open(trial.pickled_error_file, "rb") as file:
            error = pickle.load(file)
    except (OSError, TypeError, pickle.UnpicklingError):
        return _NO_REASON
    return next((line.rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextlib.contextmanager
def _scratch(output: str) -> Iterator[str]:
    """A folder for what Ray Tune writes, which nobody needs afterwards."""
    if storage.is_local(output):
        folder = storage.join(output, SCRATCH_FOLDER)
        storage.delete_folder(folder)
        storage.make_folder(folder)
        try:
            yield folder
        finally:
            storage.delete_folder(folder)
        return
    with tempfile.TemporaryDirectory(prefix="kinebert-", ignore_cleanup_errors=True) as folder:
        yield folder
