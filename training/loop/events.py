"""What a training says while it runs, for whoever shows or records it: an event of its own class for each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kinebert.training.run_folder import EpochRow

if TYPE_CHECKING:  # this module is imported where torch would be too slow
    from kinebert.training.loop.stages import Stage


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """What the two events say that begin something."""

    num_epochs: int
    """Epochs of the whole training."""
    steps_per_epoch: int
    """Updates of the weights in an epoch of the stage."""
    world_size: int
    """Processes that train together."""
    stage: int
    """Stage that begins, from 1."""
    num_stages: int
    """Of the training; 1 without progressive training."""
    clip_length: int
    """Images in a clip of the stage."""


@dataclass(frozen=True, kw_only=True)
class Started(StageFacts):
    """Training begins, or goes on. Comes once, before all others but :class:`Note`."""

    resumed: tuple[int, int] | None
    """Epochs, and steps of the next one, that were done earlier; None for a new training."""
    train_videos: int
    """Videos that are learnt from."""
    val_videos: int
    """Videos that are measured after every epoch."""
    num_classes: int
    """Classes that are told apart."""
    num_parameters: int
    """Parameters of the recognizer."""
    notes: list[str]
    """What is unusual about data and weights, in sentences."""
    device: str = "cpu"
    """Kind of device of each worker: ``cpu`` or ``cuda``."""
    loader_workers: int = 0
    """Processes that load clips for each worker; 0 if it does so itself."""
    computed_in: str = ""
    """Type of the numbers, and how they are computed: ``bfloat16, TF32 in convolutions, fastest algorithms``, say."""


@dataclass(frozen=True, kw_only=True)
class StageBegan(StageFacts):
    """A stage of progressive training begins, which is not the first one."""


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One update of the weights, or one that was left out."""

    epoch: int
    """From 1."""
    step: int
    """Steps of this epoch that are done."""
    num_epochs: int
    """Epochs of the whole training."""
    steps_per_epoch: int
    """Updates in an epoch of this stage."""
    global_step: int
    """Steps since the very start."""
    loss: float
    """Mean over the clips of the global batch, before the update."""
    top1: float
    """Share of these clips that were right."""
    lr: float
    """Learning rate of the update."""
    grad_norm: float
    """Global L2 norm before it was limited."""
    skipped: float
    """Updates of this epoch that were left out."""
    data_wait: float
    """Share of the step's time that devices stood idle for want of clips, 0 to 1."""
    clips_per_s: float
    """Over all processes."""
    eta_s: float
    """Seconds to the end of the training."""
    steps_left: float = 0.0
    """To the end of the training; those of later stages in steps of this one that would take as long."""
    shape: str = ""
    """Clips, images of a clip and pixels of a side (``64x8x158``), where batches are of several shapes."""
    gpu_gib: float | None = None
    """Most GPU memory that this process has held, in GiB; None without a GPU."""
    loss_labels: float | None = None
    """The part of the loss that is the labels'; None without a teacher."""
    loss_distill: float | None = None
    """The part of the loss that is the teacher's, weighted; None without one."""
    system: Mapping[str, float] = field(default_factory=dict)
    """How busy the machine is, under the names of MLflow's system metrics; now and then."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An update that was not made; :class:`StepDone` follows, with the number of them in the epoch."""

    epoch: int
    """From 1."""
    step: int
    """Of the epoch, from 1."""
    reason: str
    """What was broken, and in which clips."""


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """One epoch, after its validation."""

    row: EpochRow
    """Its numbers, as in the history."""
    num_epochs: int
    """Epochs of the whole training."""
    is_best: bool
    """Whether it is the best one so far."""
    best_epoch: int
    """Which one is."""
    best_top1: float
    """Validation top-1 of that one."""
    data_wait: float
    """Share of the steps' time that devices stood idle for want of clips, 0 to 1."""
    gpu_gib: float | None = None
    """Most GPU memory that this process has held, in GiB; None without a GPU."""

    def numbers(self) -> dict[str, float]:
        """Return the row with waiting and memory, by name: what is recorded of an epoch."""
        memory = {} if self.gpu_gib is None else {"gpu_gib": self.gpu_gib}
        row: Mapping[str, object] = self.row
        known = {name: value for name, value in row.items() if isinstance(value, (int, float))}
        return {**known, "data_wait": self.data_wait, **memory}


@dataclass(frozen=True, kw_only=True)
class StoppedEarly:
    """A stage has ended, since none of its epochs after the best one was better."""

    epoch: int
    """Last one, from 1."""
    best_epoch: int
    """Best one."""


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """Workers were lost or hung; what is there goes on from the last saved state."""

    reason: str
    """Which of them, and why."""
    left: int
    """Further times that it is tried without progress."""
    hung: bool
    """Whether they had stopped moving, and were ended."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something unusual, in a sentence."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """All events have arrived. Said by trainings on a cluster."""

    best_epoch: int
    """Epoch of the checkpoint that was validated at the end."""


Event = Started | StageBegan | StepDone | LeftOut | EpochDone | StoppedEarly | Restarted | Note | Ended
"""Anything that a training says."""


class Progress:
    """Builds the events of one process and hands them to ``emit``.

    Args:
        emit: Takes each event.
        num_epochs: Passes in total.
        stage: What is trained now.
        world_size: Processes that train together.
    """

    def __init__(self, emit: Callable[[Event], None], num_epochs: int, stage: "Stage", world_size: int) -> None:
        self._emit, self._epochs, self._stage, self._world_size = emit, num_epochs, stage, world_size
        self._step_s: float | None = None
        self._validation_s = 0.0
        self._waited_s = self._stepped_s = 0.0

    def start(
        self,
        resumed: tuple[int, int] | None,
        *,
        train_videos: int,
        val_videos: int,
        num_classes: int,
        num_parameters: int,
        notes: list[str],
        device: str,
        loader_workers: int = 0,
        computed_in: str = "",
    ) -> None:
        """Say what is about to be trained, and after how many epochs and steps it goes on."""
        self._emit(
            Started(
                **self._facts(),
                resumed=resumed,
                train_videos=train_videos,
                val_videos=val_videos,
                num_classes=num_classes,
                num_parameters=num_parameters,
                notes=notes,
                device=device,
                loader_workers=loader_workers,
                computed_in=computed_in,
            )
        )

    def next_stage(self) -> None:
        """Say that a further stage begins."""
        self._emit(StageBegan(**self._facts()))

    def _facts(self) -> dict[str, int]:
        stage = self._stage
        return {
            "num_epochs": self._epochs,
            "steps_per_epoch": stage.num_steps,
            "world_size": self._world_size,
            "stage": stage.number + 1,
            "num_stages": stage.num_stages,
            "clip_length": stage.recipe.data.clip_length,
        }

    def step(
        self,
        epoch: int,
        step: int,
        *,
        clips: float,
        seconds: float,
        waited_s: float,
        loss: float,
        top1: float,
        lr: float,
        grad_norm: float,
        skipped: float,
        loss_distill: float | None = None,
        shape: str = "",
        gpu_gib: float | None = None,
        system: Mapping[str, float] | None = None,
    ) -> None:
        """Say how one update went.

        Args:
            epoch: From 0.
            step: Updates of this epoch that are done.
            clips: In the global batch.
            seconds: That the step took.
            waited_s: Seconds of it that devices stood idle for want of clips, added up over all processes.
            loss: See :class:`StepDone`, as all that follow.
            top1: Share of the clips that were right.
            lr: Learning rate.
            grad_norm: Norm of the gradients.
            skipped: Updates of this epoch that were left out.
            loss_distill: The part of the loss that is a teacher's.
            shape: Of the batch.
            gpu_gib: GPU memory.
            system: How busy the machine is.
        """
        waited_s /= self._world_size
        self._waited_s, self._stepped_s = self._waited_s + waited_s, self._stepped_s + seconds
        self._step_s = seconds if self._step_s is None else 0.9 * self._step_s + 0.1 * seconds
        done = self._stage.step(epoch, step)
        left = self._stage.step(self._stage.end_epoch, 0) - done + self._stage.later_steps
        self._emit(
            StepDone(
                epoch=epoch + 1,
                step=step,
                num_epochs=self._epochs,
                steps_per_epoch=self._stage.steps_in(epoch),
                global_step=self._stage.first_step + done,
                loss=loss,
                top1=top1,
                lr=lr,
                grad_norm=grad_norm,
                skipped=skipped,
                loss_labels=None if loss_distill is None else loss - loss_distill,
                loss_distill=loss_distill,
                data_wait=waited_s / max(seconds, 1e-9),
                clips_per_s=clips / max(seconds, 1e-9),
                eta_s=left * self._step_s + (self._epochs - epoch) * self._validation_s,
                steps_left=left,
                shape=shape,
                gpu_gib=gpu_gib,
                system=system or {},
            )
        )

    def epoch(
        self, row: EpochRow, validation_s: float, best: EpochRow, is_best: bool, gpu_gib: float | None = None
    ) -> None:
        """Say how one epoch went: its ``row`` of the history, and which epoch is the best so far."""
        self._validation_s = validation_s
        data_wait = self._waited_s / max(self._stepped_s, 1e-9)  # of the steps of this process alone
        self._waited_s = self._stepped_s = 0.0
        self._emit(
            EpochDone(
                row=row,
                num_epochs=self._epochs,
                is_best=is_best,
                best_epoch=best["epoch"],
                best_top1=best["val_top1"],
                data_wait=data_wait,
                gpu_gib=gpu_gib,
            )
        )

    def left_out(self, epoch: int, step: int, reason: str) -> None:
        """Say that the weights were not updated in ``step`` (from 1) of ``epoch`` (from 0)."""
        self._emit(LeftOut(epoch=epoch + 1, step=step, reason=reason))

    def early_stop(self, num_epochs: int, best: EpochRow) -> None:
        """Say that training ends after ``num_epochs``, since none after the best one was better."""
        self._emit(StoppedEarly(epoch=num_epochs, best_epoch=best["epoch"]))
