"""What a training says while it runs: its numbers to MLflow, and sentences to whoever listens."""

import time
from collections.abc import Callable, Mapping
from typing import assert_never

from kinebert.orchestration import watched_metrics as watched
from kinebert.orchestration.audience import Audience
from kinebert.orchestration.progress import Ticker, duration
from kinebert.orchestration.tracking.metric_names import epoch_metrics, step_metrics, summary_of_validation
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.errors import UserError
from kinebert.training.loop.events import (
    Ended,
    EpochDone,
    Event,
    LeftOut,
    Note,
    Restarted,
    StageBegan,
    Started,
    StepDone,
    StoppedEarly,
)
from kinebert.training.loop.forecast import Forecast, Forecaster
from kinebert.training.run_folder import number_of

MOST_WAIT = 0.2
"""Share of the time that may go by waiting for clips before somebody is told what to change."""
_START_S = 60.0
"""A first epoch shorter than this may have waited for its loaders to start."""
RAN_ON = "ran_on"
"""Tag of a run: how many workers train, and on what."""
COMPUTED_IN = "computed_in"
"""Tag of a run: in which numbers, and by which algorithms."""
_STEP_METRICS = (
    *("loss", "loss_labels", "loss_distill", "top1", "lr", "grad_norm"),
    *("data_wait", "clips_per_s", "gpu_gib", "skipped"),
)


class TrainingLog:
    """Takes the events of a training. What was told before a restart is not told again.

    Args:
        tracker: The MLflow run.
        audience: Hears of steps, epochs and whatever is unusual.
        last_step: The last step that MLflow knows of, -1 if none.
        export: Takes numbers for whoever watches from outside.
    """

    def __init__(
        self, tracker: Tracker, audience: Audience, last_step: int, export: watched.Exporter | None = None
    ) -> None:
        self._export: Callable[[Mapping[watched.WatchedMetric, float]], None] = export or (lambda _: None)
        self._tracker, self._audience, self._last_step = tracker, audience, last_step
        self._line = audience.line()
        self._forecaster = Forecaster()
        self._waits_for, self._since = "workers", time.monotonic()
        self._ticker: Ticker | None = None
        self._loader_workers, self._is_first, self._told_waiting = 0, True, False

    def __enter__(self) -> "TrainingLog":
        self._ticker = Ticker(
            self._line, lambda: f"waiting for {self._waits_for}: {duration(time.monotonic() - self._since)}"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        self._ticker = None

    def __call__(self, event: Event) -> None:
        """Tell one event on."""
        if isinstance(event, StepDone | EpochDone):
            self._end_waiting()
        self._tell(event)
        if (forecast := self._forecaster(event)) is not None:
            self._audience.say(_expected(forecast))

    def _tell(self, event: Event) -> None:
        match event:
            case Started():
                self._start(event)
            case StepDone():
                self._step(event)
            case EpochDone():
                self._epoch(event)
            case StageBegan():
                self._audience.say(f"stage {event.stage} of {event.num_stages}: clips of {event.clip_length}")
            case LeftOut():
                self._audience.warn(f"epoch {event.epoch}, step {event.step} left out: {event.reason}")
            case StoppedEarly():
                self._audience.say(
                    f"no epoch since {event.best_epoch} was better: training ends after epoch {event.epoch}"
                )
            case Restarted():
                self._export({watched.RESTARTS: 1})
                what = event.reason if event.hung else f"a worker was lost ({event.reason})"
                self._audience.warn(f"{what}; going on from the last saved state")
            case Note():
                self._audience.warn(f"note: {event.text}")
            case Ended():
                pass
            case _:
                assert_never(event)

    def _start(self, event: Started) -> None:
        self._loader_workers, self._is_first = event.loader_workers, True
        self._waits_for, self._since = "the first step", time.monotonic()
        gone = ""
        if event.resumed is not None:
            epochs, steps = event.resumed
            gone = f", going on at epoch {epochs + 1}, step {steps + 1}"
        self._audience.say(
            f"{event.train_videos} training and {event.val_videos} validation videos, {event.num_classes} "
            f"classes, {event.num_parameters / 1e6:.2f} M parameters, {event.steps_per_epoch} steps per epoch, "
            f"{event.world_size} workers{gone}"
        )

        self._record_machines(event)

    def _record_machines(self, event: Started) -> None:
        """Note in MLflow on what is trained, and since when that is other than before."""
        what = f"{event.world_size} worker{'s'[: event.world_size != 1]} on {event.device}"
        epochs, steps = event.resumed or (0, 0)
        try:
            tags = {RAN_ON: what, COMPUTED_IN: event.computed_in}
            changed = self._tracker.params({}, tags, f"from epoch {epochs + 1}, step {steps + 1}")
        except UserError as error:  # what is recorded is worth less than the training
            self._tracker.lacks_something()
            self._audience.warn(f"MLflow did not take the tag {RAN_ON}: {error}")
            return
        for change in changed:
            self._audience.say(f"note: recorded in MLflow as changed: {change}")

    def _step(self, event: StepDone) -> None:
        if event.global_step > self._last_step:
            self._last_step = event.global_step
            numbers = {name: getattr(event, name) for name in _STEP_METRICS}
            self._tracker.metrics({**step_metrics(numbers), **event.system}, event.global_step)
        self._export(
            {
                watched.STEPS: 1,
                watched.STEPS_LEFT: event.steps_left,
                watched.EPOCH: event.epoch,
                watched.CLIPS_PER_S: event.clips_per_s,
                watched.DATA_WAIT: event.data_wait,
                watched.LOSS: event.loss,
            }
        )
        self._line.show(
            lambda: (
                f"epoch {event.epoch}/{event.num_epochs} step {event.step}/{event.steps_per_epoch}: "
                f"{duration(event.eta_s)} left, loss {event.loss:.3f}{_taught(event.loss_distill)}, "
                f"{event.clips_per_s:.1f} clips/s, "
                f"{_gpu(event)}{event.data_wait:.0%} waiting for data{f', {event.shape}' * bool(event.shape)}"
            )
        )

    def _epoch(self, event: EpochDone) -> None:
        row = event.row
        summary = summary_of_validation(row) if event.is_best else {}
        self._tracker.metrics({**summary, **epoch_metrics(event.numbers())}, row["epoch"])
        self._line.close(
            f"epoch {row['epoch']}/{event.num_epochs}: train loss {row['train_loss']:.3f}"
            f"{_taught(number_of(row, 'train_loss_distill'))}, top-1 "
            f"{row['train_top1']:.1%}; validation loss {row['val_loss']:.3f}, top-1 {row['val_top1']:.1%}"
            f"{' (best)' if event.is_best else ''}; {row['clips_per_s']:.1f} clips/s, {event.data_wait:.0%} "
            f"waiting for data, {_gpu(event)}{duration(row['seconds'])}"
        )
        only_began, self._is_first = self._is_first and row["seconds"] < _START_S, False
        if event.data_wait > MOST_WAIT and not only_began and not self._told_waiting:
            self._told_waiting = True
            self._audience.say(f"note: {_starving(event, self._loader_workers)}")


def _expected(forecast: Forecast) -> str:
    """Say how long a training will take."""
    ends = time.localtime(time.time() + forecast.left_s)
    day = "" if ends.tm_yday == time.localtime().tm_yday else f"{time.strftime('%A', ends)}, "
    known = "after the first epoch" if forecast.is_measured else "after the first steps"
    return (
        f"{known}: about {duration(forecast.epoch_s)} an epoch with its validation, {duration(forecast.left_s)} to "
        f"the end ({day}{time.strftime('%H:%M', ends)})"
    )


def _starving(event: EpochDone, loader_workers: int) -> str:
    """Say that training waits for clips, and what can be done about it."""
    needed = event.row["clips_per_s"] / max(0.01, 1 - event.data_wait)
    how = f"loader_workers = {loader_workers}" + " (the workers load clips themselves)" * (loader_workers == 0)
    return (
        f"{event.data_wait:.0%} of the time went by waiting for clips, with {how}. `kinebert bench-data RECIPE "
        f"--clips-per-s {needed:.0f}` says how many loader processes that takes. Set loader_workers, on nodes with as "
        "many cores for each worker; or extract smaller pictures, or use a nearer storage. The same run goes on."
    )


def _taught(loss: float | None) -> str:
    return "" if loss is None else f" ({loss:.3g} of it the teacher's)"


def _gpu(event: StepDone | EpochDone) -> str:
    return "" if event.gpu_gib is None else f"{event.gpu_gib:.1f} GiB of GPU memory, "
