"""Training from the first epoch to the last. Knows no cluster: who starts the processes calls :func:`train` in each.

Axes: N clips, C channels, T frames, H height, W width, K classes.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch

from kinebert.preprocessing import storage
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.state import TrainState, check_continues, recover_state
from kinebert.training.checkpoints.writer import TrainFiles
from kinebert.training.data.batches import Batch
from kinebert.training.data.loader import limit_threads
from kinebert.training.data.parts import check_videos
from kinebert.training.distillation.lesson import Lesson
from kinebert.training.distillation.pictures import Pictures, pictures_of
from kinebert.training.distributed.collective import from_first, is_active, world_sum
from kinebert.training.distributed.worker import WorkerContext as WorkerContext
from kinebert.training.evaluation.metrics import MetricSums
from kinebert.training.evaluation.scorer import score_clips
from kinebert.training.loop.events import Event, Note, Progress
from kinebert.training.loop.feeding import batches_of, fitting_loaders
from kinebert.training.loop.fits import check_fits, unfit
from kinebert.training.loop.initial import initial_recognizer, pinned
from kinebert.training.loop.learner import Learner
from kinebert.training.loop.reached import Reached
from kinebert.training.loop.stages import Stage, carry_weights, check_shapes, plan_stages
from kinebert.training.loop.system_metrics import MachineUse, unmeasured
from kinebert.training.numerics import Inference, computing, doubtful
from kinebert.training.optim.losses import cross_entropy_sum
from kinebert.training.optim.schedule import Schedule
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import BEST_FILE, LAST_FILE, STATE_FILE, EpochRow
from kinebert.training.shards import Ids, Shards


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """What a training came to; the same on every rank."""

    best: EpochRow
    """The numbers of the best epoch, as in ``history``."""
    history: list[EpochRow]
    """Numbers of every epoch, those before a restart included."""
    checkpoint: str
    """Where the best weights are."""
    num_parameters: int
    """Parameters of the recognizer."""
    notes: list[str]
    """What is unusual about the data, in sentences."""


def train(
    recipe: TrainRecipe,
    shards: Shards,
    worker: WorkerContext,
    output: str,
    emit: Callable[[Event], None],
    pause_after: int | None = None,
) -> TrainSummary:
    """Train a recognizer, or go on where an earlier run of the same recipe in ``output`` was ended.

    Every rank calls ``emit`` with the same events (see :mod:`.events`) at the same points: :class:`.Note` before all
    where something unusual was found, :class:`.Started` once, :class:`.StageBegan` when a further one begins,
    :class:`.StepDone` after every update, :class:`.LeftOut` before it where there was none, :class:`.EpochDone` after
    every validation, :class:`.StoppedEarly` when the recipe's patience has ended. The caller decides which rank speaks.

    Args:
        recipe: Its ``workers`` is taken from ``worker``.
        shards: The set that the recipe names, opened.
        worker: This process.
        output: Folder for ``state.pt`` (to go on), ``best.pt`` (the recognizer with the best validation top-1; of
            equal ones that with the lower loss) and ``last.pt`` (that of the last epoch, which nothing has chosen).
            Only rank 0 reads and writes it. Stages before the last one leave ``stage1_best.pt`` and so on.
        emit: Called between steps; time that it takes is time that training waits.
        pause_after: Return when so many epochs are done, as if killed then: the same call without it goes on.

    Raises:
        UserError: If data or recipe cannot be trained on, ``output`` belongs to another training, or the loss is no
            longer a number.
    """
    if is_active() != (worker.world_size > 1):
        raise AssertionError(f"{worker.world_size} workers, but torch.distributed is {is_active()=}")
    limit_threads(worker.num_threads)
    whole, output = pinned(recipe).on(worker.world_size), storage.resolve_uri(output)
    from_first(lambda: storage.check_writable(output), worker.rank)
    from_first(lambda: storage.sweep_partials(output), worker.rank)
    pictures = pictures_of(whole, shards)
    state, problem = from_first(lambda: recover_state(output), worker.rank)
    if problem:
        emit(Note(text=problem))
    for text in (unmeasured(worker.device), doubtful(recipe, worker.device)) if state is None else ():
        if text:
            emit(Note(text=text))
    if state is not None:
        check_continues(state, whole.identity(), pictures.about(), output)
    stages = plan_stages(whole, len(check_videos(pictures.read, whole.data, whole.data.train_part)[0]))
    first = 0 if state is None else state.stage
    with computing(recipe, worker.device), TrainFiles(output, worker.rank == 0, whole.keep_best) as files:
        best = state.best["epoch"] if state is not None and state.best else None
        from_first(partial(files.settle, stages[first].file(BEST_FILE), best), worker.rank)
        for stage in stages[first:]:
            training = _Training(whole, stage, pictures, worker, files, output, emit)
            summary = training.run(state, stage.number == first, pause_after)
            if stage.is_last or not training.ended:
                break
            state = training.begin_next(stages[stage.number + 1])
    return summary


class _Training:
    """One stage of a training."""

    def __init__(
        self,
        whole: TrainRecipe,
        stage: Stage,
        pictures: Pictures,
        worker: WorkerContext,
        files: TrainFiles,
        output: str,
        emit: Callable[[Event], None],
    ) -> None:
        self.files = files
        self.whole, self.stage, self.worker, self.output = whole, stage, worker, output
        self.pictures, self.shards = pictures, pictures.own
        self.recipe = recipe = stage.recipe
        self.train_videos, notes = check_videos(pictures.read, recipe.data, recipe.data.train_part)
        self.val_videos, more = check_videos(self.shards, recipe.data, recipe.data.val_part)
        self.notes = [*notes, *more]
        self.progress = Progress(emit, whole.epochs, stage, worker.world_size)
        torch.manual_seed(recipe.seed)
        model, about_weights = initial_recognizer(recipe, self.shards)
        check_shapes(model, recipe)
        self.notes += about_weights
        names = Ids(self.train_videos)
        lesson = None if recipe.distill is None else Lesson(recipe, pictures, names, worker)
        self.learner = Learner(recipe, model, worker, names, pictures, lesson)
        self.schedule = Schedule(
            recipe.optim,
            stage.calendar.steps if stage.several_shapes else stage.num_steps,
            recipe.epochs,
            recipe.optim.scaled_lr(recipe.batch_size),
        )
        self.num_loaders, fewer = fitting_loaders(stage, pictures.read, self.train_videos, worker)
        self.notes += [fewer] if fewer else []
        self.at = Reached(stage.first_epoch)
        self.machine = MachineUse(worker.device)
        self.saved_at = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the last epoch of the stage is over, or no better one is waited for."""
        return self.at.epoch >= self.stage.end_epoch or self._stalled()

    def run(self, state: TrainState | None, is_first: bool, pause_after: int | None) -> TrainSummary:
        if state is not None:
            self._go_on(state)
        if is_first:
            self.progress.start(
                resumed=None if state is None else (self.at.epoch, self.at.step),
                train_videos=len(self.train_videos),
                val_videos=len(self.val_videos),
                num_classes=len(self.shards.classes),
                num_parameters=self.learner.num_parameters,
                notes=self.notes,
                device=self.worker.device.type,
                loader_workers=self.num_loaders,
                computed_in=self.learner.computed_in(),
            )
        else:
            self.progress.next_stage()
        batches, num_validations = batches_of(
            self.stage,
            (self.pictures.read, self.shards),
            (self.train_videos, self.val_videos),
            self.worker,
            self.num_loaders,
            (self.at.epoch, self.at.step),
        )
        while not self.ended and (pause_after is None or self.at.epoch < pause_after):
            began = time.monotonic()
            clips_before = self.at.num_clips
            self._train_epoch(batches)
            num_clips = self.at.num_clips - clips_before
            self._end_epoch(itertools.islice(batches, num_validations), began, num_clips)
        assert self.at.best is not None, "there is at least one epoch"
        if self._stalled():
            self.progress.early_stop(self.at.epoch, self.at.best)
        if self.ended:
            self._save_recognizer([LAST_FILE], self.at.history[-1])
        return TrainSummary(
            best=self.at.best,
            history=self.at.history,
            checkpoint=storage.join(self.output, self.stage.file(BEST_FILE)),
            num_parameters=self.learner.num_parameters,
            notes=self.notes,
        )

    def _stalled(self) -> bool:
        """Whether the recipe's early stop has come; it follows from what is saved, so a restart stays stopped."""
        patience = self.recipe.early_stop
        return patience > 0 and self.at.best is not None and self.at.epoch - self.at.best["epoch"] >= patience

    def _train_epoch(self, batches: Iterator[Batch]) -> None:
        self.learner.start_epoch()
        num_steps = self.stage.steps_in(self.at.epoch)
        while self.at.step < num_steps:
            began = time.monotonic()
            grid, lr = self.stage.grid(self.at.epoch, self.at.step), self._lr(self.at.epoch, self.at.step)
            done = self.learner.step(batches, self.at.epoch, self.at.step, lr, grid)
            if done.left_out:
                self.progress.left_out(self.at.epoch, self.at.step + 1, done.left_out)
            self.at.add(done)
            self.progress.step(
                self.at.epoch,
                self.at.step,
                clips=done.num_clips,
                seconds=time.monotonic() - began,
                waited_s=done.waited_s,
                loss=done.loss,
                top1=done.num_right / done.num_clips,
                lr=lr,
                grad_norm=done.grad_norm,
                skipped=float(self.at.num_left_out),
                loss_distill=done.distance,
                shape=str(grid) if self.stage.several_shapes else "",
                gpu_gib=self.worker.gpu_gib(),
                system=self.machine(),
            )
            due = time.monotonic() - self.saved_at >= self.recipe.save_every_s
            if due and self.at.step < num_steps:
                self._save()
        if self.at.num_clips == 0:
            raise UserError(
                f"epoch {self.at.epoch + 1}: every update was left out, since loss or gradient was not finite. Set a "
                "lower optim.lr, or look at the data. The last saved state is untouched."
            )

    def _lr(self, epoch: int, step: int) -> float:
        """Return the learning rate of a step of an epoch: the schedule's, scaled with the step's batch."""
        return self.schedule.lr(self.stage.step(epoch, step)) * self.stage.grid(epoch, step).lr_scale

    def _validate(self, batches: Iterator[Batch]) -> MetricSums:
        model = self.learner.judged.eval()
        sums = MetricSums(len(self.shards.classes))
        pulse, end = self.worker.pulse, (self.at.epoch, self.stage.steps_in(self.at.epoch))
        pulse("validating", *end)
        shape = self.recipe.eval_batch if self.recipe.compile else 0
        computing = partial(Inference.of(self.recipe).on, self.worker.device)
        for logits_NK, batch in score_clips(model, batches, self.worker.device, computing, pad_to=shape):
            pulse("validating", *end)
            loss = float(cross_entropy_sum(logits_NK, batch.labels))
            sums.add(logits_NK.numpy(), batch.labels.numpy(), loss)
        pulse("adding up the validation", *end, 1)
        sums.vector = world_sum(sums.vector, self.worker.device)
        return sums

    def _end_epoch(self, val_batches: Iterator[Batch], began: float, num_clips: float) -> None:
        trained = time.monotonic() - began
        sums = self._validate(val_batches)
        metrics = sums.metrics()
        row = EpochRow(
            epoch=self.at.epoch + 1,
            train_loss=self.at.train_loss,
            train_top1=self.at.train_top1,
            val_loss=sums.loss,
            val_top1=metrics.top[1],
            val_top3=metrics.top[3],
            val_top5=metrics.top[5],
            val_mean_class=metrics.mean_class,
            val_ece=metrics.ece,
            lr=self._lr(self.at.epoch, self.stage.steps_in(self.at.epoch) - 1),
        )
        if self.learner.lesson is not None:
            row["train_loss_distill"] = self.at.train_distance
            row["train_loss_labels"] = self.at.train_loss - self.at.train_distance
        row.update(cast(EpochRow, self.learner.facts()))  # under names that only the optimizer knows
        row["skipped"] = self.at.num_left_out
        row["clips_per_s"] = float(num_clips / max(trained, 1e-9))
        row["seconds"] = time.monotonic() - began
        self.schedule.end_epoch(sums.loss, row["val_top1"])
        better = self.at.finish(row)
        rows = [row for row in self.at.history if row["epoch"] > max(self.stage.first_epoch, self.at.taken_over)]
        self._save_recognizer(self.files.names_of(rows), row)
        self._save()  # after the best: whoever is killed between the two does this epoch again, with the same result
        self.files.delete([self.stage.file(name) for name in self.files.retired(rows)])
        self.progress.epoch(row, row["seconds"] - trained, self.at.best or row, better, self.worker.gpu_gib())

    def _save_recognizer(self, names: list[str], row: EpochRow) -> None:
        called = [self.stage.file(name) for name in names]
        self.files.recognizer(called, self.learner.judged, self.shards, row, {"train": to_plain(self.recipe)})

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        self.files.state(
            self._state(
                schedule=self.schedule.state_dict(),
                **self.at.plain(),
                stage=self.stage.number,
                **self.learner.state(),
            )
        )

    def begin_next(self, stage: Stage) -> TrainState:
        """Save and return the state in which ``stage`` begins: with the weights of this one, and nothing else."""
        state = self._state(
            weights=dict(self.learner.judged.state_dict()),
            optimizer={},
            schedule={},
            scaler=None,
            **Reached(stage.first_epoch, history=self.at.history, taken_over=self.at.taken_over).plain(),
            stage=stage.number,
        )
        self.files.state(state)
        return state

    def _state(self, **values: Any) -> TrainState:
        return TrainState(
            recipe=self.whole.identity(),
            shards=self.pictures.about(),
            **values,
        )

    def _go_on(self, state: TrainState) -> None:
        if state.optimizer:
            uri = storage.join(self.output, STATE_FILE)
            check_fits(state, self.recipe, self.learner.model, uri, self.learner.projected)
            try:
                self.learner.load(state)
            except (KeyError, RuntimeError, TypeError, ValueError) as error:  # of the optimizer's own values
                raise unfit(uri, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}.") from error
            self.schedule.load_state_dict(state.schedule)
        else:
            self.learner.model.load_state_dict(carry_weights(state.weights, self.learner.model))
        self.at = Reached.of(state)
