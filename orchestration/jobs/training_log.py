"""What a training says while it runs: its numbers to MLflow, and sentences to whoever listens."""

from kinebert.orchestration.audience import Audience
from kinebert.orchestration.progress import duration
from kinebert.orchestration.reports.history import epoch_metrics
from kinebert.orchestration.tracking import Tracker
from kinebert.training.loop.events import Event

_STEP_METRICS = ("loss", "top1", "lr", "grad_norm", "data_wait", "clips_per_s", "gpu_gib", "skipped")


class TrainingLog:
    """Takes the events of a training. What was told before a restart is not told again.

    Args:
        tracker: The MLflow run.
        audience: Hears of steps, epochs and whatever is unusual.
        last_step: The last step that MLflow knows of, -1 if none.
    """

    def __init__(self, tracker: Tracker, audience: Audience, last_step: int) -> None:
        self._tracker, self._audience, self._last_step = tracker, audience, last_step
        self._line = audience.line()

    def __call__(self, event: Event) -> None:
        """Tell one event on."""
        kind = event["event"]
        if kind == "start":
            self._start(event)
        elif kind == "step":
            self._step(event)
        elif kind == "epoch":
            self._epoch(event)
        elif kind == "stage":
            self._audience.say(f"stage {event['stage']} of {event['num_stages']}: clips of {event['clip_length']}")
        elif kind == "left_out":
            self._audience.warn(f"epoch {event['epoch']}, step {event['step']} left out: {event['reason']}")
        elif kind == "early_stop":
            self._audience.say(
                f"no epoch since {event['best_epoch']} was better: training ends after epoch {event['epoch']}"
            )
        elif kind == "restart":
            what = event["reason"] if event.get("hung") else f"a worker was lost ({event['reason']})"
            self._audience.warn(f"{what}; going on from the last saved state")
        elif kind == "note":
            self._audience.warn(f"note: {event['text']}")

    def _start(self, event: Event) -> None:
        where = event["resumed"]
        gone = f", going on at epoch {where['epoch'] + 1}, step {where['step'] + 1}" if where else ""
        self._audience.say(
            f"{event['train_videos']} training and {event['val_videos']} validation videos, {event['num_classes']} "
            f"classes, {event['num_parameters'] / 1e6:.2f} M parameters, {event['steps_per_epoch']} steps per epoch, "
            f"{event['world_size']} workers{gone}"
        )

    def _step(self, event: Event) -> None:
        if event["global_step"] > self._last_step:
            self._last_step = event["global_step"]
            told = {f"step/{name}": event[name] for name in _STEP_METRICS if name in event}
            told |= {name: value for name, value in event.items() if name.startswith("system/")}
            self._tracker.metrics(told, event["global_step"])
        self._line.show(
            lambda: (
                f"epoch {event['epoch']}/{event['num_epochs']} step {event['step']}/{event['steps_per_epoch']}: loss "
                f"{event['loss']:.3f}, {event['clips_per_s']:.1f} clips/s, {event['data_wait']:.0%} waiting for data, "
                f"{_gpu(event)}{duration(event['eta_s'])} left"
            )
        )

    def _epoch(self, event: Event) -> None:
        self._tracker.metrics(epoch_metrics(event), event["epoch"])
        self._line.close(
            f"epoch {event['epoch']}/{event['num_epochs']}: train loss {event['train_loss']:.3f}, top-1 "
            f"{event['train_top1']:.1%}; validation loss {event['val_loss']:.3f}, top-1 {event['val_top1']:.1%}"
            f"{' (best)' if event['is_best'] else ''}; {event['clips_per_s']:.1f} clips/s, {event['data_wait']:.0%} "
            f"waiting for data, {_gpu(event)}{duration(event['seconds'])}"
        )


def _gpu(event: Event) -> str:
    return f"{event['gpu_gib']:.1f} GiB of GPU memory, " if "gpu_gib" in event else ""
