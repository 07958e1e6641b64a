"""What a training says while it runs: plain dictionaries for whoever shows or records them."""

from collections.abc import Callable
from typing import Any

from kinebert.training.loop.stages import Stage

Event = dict[str, Any]


class Progress:
    """Builds the events of one process and hands them to ``emit``.

    Args:
        emit: Takes each event.
        num_epochs: Passes in total.
        stage: What is trained now.
        world_size: Processes that train together.
    """

    def __init__(self, emit: Callable[[Event], None], num_epochs: int, stage: Stage, world_size: int) -> None:
        self._emit, self._epochs, self._stage, self._world_size = emit, num_epochs, stage, world_size
        self._step_s: float | None = None
        self._validation_s = 0.0
        self._waited_s = self._stepped_s = 0.0

    def start(self, resumed: dict[str, int] | None, **facts: Any) -> None:
        """Say what is about to be trained, and from which epoch and step it goes on."""
        self._emit({"event": "start", **self._fixed(), "resumed": resumed, **facts})

    def next_stage(self) -> None:
        """Say that a further stage begins."""
        self._emit({"event": "stage", **self._fixed()})

    def _fixed(self) -> dict[str, Any]:
        stage = self._stage
        return {
            "num_epochs": self._epochs,
            "steps_per_epoch": stage.num_steps,
            "world_size": self._world_size,
            "stage": stage.number + 1,
            "num_stages": stage.num_stages,
            "clip_length": stage.recipe.data.clip_length,
        }

    def step(self, epoch: int, step: int, *, clips: float, seconds: float, waited_s: float, **numbers: float) -> None:
        """Say how one update went.

        Args:
            epoch: From 0.
            step: Updates of this epoch that are done.
            clips: In the global batch.
            seconds: That the step took.
            waited_s: Seconds of it that processes waited for clips, added up over all processes.
            numbers: Loss and so on.
        """
        waited_s /= self._world_size
        self._waited_s, self._stepped_s = self._waited_s + waited_s, self._stepped_s + seconds
        self._step_s = seconds if self._step_s is None else 0.9 * self._step_s + 0.1 * seconds
        done = self._stage.step(epoch, step)
        left = self._stage.step(self._stage.end_epoch, 0) - done + self._stage.later_steps
        self._emit(
            {
                "event": "step",
                "epoch": epoch + 1,
                "step": step,
                "num_epochs": self._epochs,
                "steps_per_epoch": self._stage.num_steps,
                "global_step": self._stage.first_step + done,
                **numbers,
                "data_wait": waited_s / max(seconds, 1e-9),
                "clips_per_s": clips / max(seconds, 1e-9),
                "eta_s": left * self._step_s + (self._epochs - epoch) * self._validation_s,
            }
        )

    def epoch(self, row: Event, validation_s: float, best: Event, is_best: bool, **facts: float) -> None:
        """Say how one epoch went: its ``row`` of the history, which epoch is the best so far, and ``facts`` of now."""
        self._validation_s = validation_s
        about = {"is_best": is_best, "best_top1": best["val_top1"], "best_epoch": best["epoch"]}
        data_wait = self._waited_s / max(self._stepped_s, 1e-9)  # of the steps of this process alone
        self._waited_s = self._stepped_s = 0.0
        self._emit(
            {"event": "epoch", **row, "num_epochs": self._epochs, **about, "data_wait": data_wait, **facts},
        )

    def left_out(self, epoch: int, step: int, reason: str) -> None:
        """Say that the weights were not updated; the event ``step`` follows, with the number of them in the epoch."""
        self._emit({"event": "left_out", "epoch": epoch + 1, "step": step, "reason": reason})

    def early_stop(self, num_epochs: int, best: Event) -> None:
        """Say that training ends after ``num_epochs``, since none after the best one was better."""
        self._emit({"event": "early_stop", "epoch": num_epochs, "best_epoch": best["epoch"]})
