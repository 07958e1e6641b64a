"""A recognizer in training with its optimizer: one update of the weights after the other, on one or several workers.

Axes: N clips, C channels, T frames, H height, W width, K classes.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kinebert.preprocessing.errors import UserError
from kinebert.training.clips.calendar import Grid
from kinebert.training.clips.ordering import batch_seed, mix_rng
from kinebert.training.data.batches import Batch
from kinebert.training.data.mixing import mix_batch
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.distillation.lesson import Lesson
from kinebert.training.distillation.pictures import Pictures
from kinebert.training.distillation.students import Student
from kinebert.training.distributed.batch_norms import RunningStatistics
from kinebert.training.distributed.collective import from_all, world_sum
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.loop.device_clock import device_clock
from kinebert.training.loop.step import DeviceBatch, Gradients, accumulate, update
from kinebert.training.models import Recognizer
from kinebert.training.numerics import autocast_dtype, compile_networks, in_words, prepare, take_inputs
from kinebert.training.optim.ema import WeightAverage
from kinebert.training.optim.groups import freeze, parameter_groups, set_lr
from kinebert.training.optim.losses import LossSum, cross_entropy_sum, no_loss_sum
from kinebert.training.optim.registry import build_optimizer, facts_of, is_fused, load_optimizer
from kinebert.training.recipe.multigrid import base_grid
from kinebert.training.recipe.train import TrainRecipe

_SMALLEST_SCALE = 1.0
"""A gradient scaler below this has not found gradients too large for float16, but gradients that are no numbers."""
_MOST_NAMES = 12
_DDP_OPTIONS = inspect.signature(DistributedDataParallel).parameters
_NO_SYNC: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _DDP_OPTIONS else "broadcast_buffers": False
}
"""Statistics are shared once per step, and not before every forward pass; newer torch has another name for that."""


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """One update, over all workers."""

    loss: float
    """Mean over the clips of the global batch, before the update."""
    num_right: float
    """Clips of the global batch whose highest score is their label's."""
    num_clips: float
    """In the global batch."""
    waited_s: float
    """Seconds that the workers' devices stood idle for want of clips, added up over the workers."""
    grad_norm: float
    """Global L2 norm before it was limited."""
    left_out: str = ""
    """Why the weights were not updated; empty if they were."""
    distance: float | None = None
    """The part of the loss that a teacher is the measure of; None without one."""


class Learner:
    """A recognizer in training.

    Args:
        recipe: How it learns.
        model: As it starts; changed in place.
        worker: This process.
        videos: Names of the training videos, for the words about a batch that breaks.
        pictures: Which channels of a batch are its own; None for all.
        lesson: The teacher that it learns from as well, if any.

    Raises:
        UserError: If the recipe does not fit the network or the device.
    """

    def __init__(
        self,
        recipe: TrainRecipe,
        model: Recognizer,
        worker: WorkerContext,
        videos: Sequence[str],
        pictures: Pictures | None = None,
        lesson: Lesson | None = None,
    ) -> None:
        self.recipe, self.worker, self._videos = recipe, worker, videos
        self.pictures, self.lesson = pictures, lesson
        self.dtype = autocast_dtype(recipe.amp, worker.device)
        self.model = prepare(model, recipe, worker.device, worker.world_size)
        self._frozen = freeze(self.model, recipe.optim.frozen)
        self.average = WeightAverage(self.model, recipe.ema) if recipe.ema else None
        self.clock = device_clock(worker.device)
        passes = 1 if recipe.distill is None else recipe.distill.passes
        self.statistics = RunningStatistics(self.model, worker.rank, worker.world_size, passes)
        self.student: Student | None = None
        if lesson is not None:
            self.student = lesson.student(self.model)
            take_inputs(self.student, recipe)
        trained = self.student or self.model
        if recipe.compile:
            compile_networks([trained, self.judged])
        self._ddp: nn.Module = trained
        if worker.world_size > 1:
            self._ddp = DistributedDataParallel(trained, **_NO_SYNC)
        self.optimizer = build_optimizer(parameter_groups(self.model, recipe.optim, self.projected), recipe.optim)
        self.scaler = torch.amp.GradScaler(worker.device.type) if self.dtype is torch.float16 else None
        learns_labels = recipe.distill is None or recipe.distill.labels_count
        loss_sum = partial(cross_entropy_sum, label_smoothing=recipe.label_smoothing)
        self._loss_sum: LossSum = loss_sum if learns_labels else no_loss_sum

    @property
    def projected(self) -> list[nn.Parameter]:
        """Parameters that are trained with the recognizer and are no part of it: those of a projection."""
        return [] if self.student is None else self.student.projected

    @property
    def judged(self) -> Recognizer:
        """The network that is validated and saved: the average of the weights if there is one."""
        return self.model if self.average is None else self.average.recognizer

    @property
    def num_parameters(self) -> int:
        """Parameters of the recognizer, frozen ones included."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def facts(self) -> dict[str, float]:
        """Return what an epoch's row should say of the optimizer, by name."""
        return facts_of(self.optimizer, self.recipe.optim)

    def computed_in(self) -> str:
        """Return in what numbers and by which algorithms it learns, to be recorded."""
        kernels = f", fused {self.recipe.optim.name}" if is_fused(self.optimizer) else ""
        return in_words(self.recipe, self.worker.device) + kernels

    def start_epoch(self) -> None:
        """Put the network into training mode; what is frozen stays as it is."""
        self._ddp.train()
        for module in self._frozen:
            module.eval()

    def step(self, batches: Iterator[Batch], epoch: int, step: int, lr: float, grid: Grid | None = None) -> StepOutcome:
        """Take the next micro-batches and update the weights once.

        Args:
            batches: Micro-batches of this worker.
            epoch: From 0, for what is drawn.
            step: Update of the epoch, from 0, for what is drawn.
            lr: Learning rate.
            grid: Shape of the global batch; None for the recipe's.

        Raises:
            UserError: If loss or gradient is not finite on any worker and the recipe says stop. Every worker raises it,
                and no weight has changed.
        """
        recipe, worker = self.recipe, self.worker
        set_lr(self.optimizer, lr)
        grid = grid or base_grid(recipe)
        accumulation = grid.batch_size // (grid.micro_batch * worker.world_size)
        indices = range(worker.rank, accumulation * worker.world_size, worker.world_size)
        fetch = _Fetch(self, batches, epoch, step, indices)
        num_clips = accumulation * grid.micro_batch
        self.statistics.begin()
        try:
            done = accumulate(
                self._ddp,
                [fetch] * accumulation,
                self._loss_sum,
                num_clips=num_clips,
                autocast_dtype=self.dtype,
                scaler=self.scaler,
                seeds=[batch_seed(recipe.seed, epoch, step, index) for index in indices],
            )
        except BaseException:
            self.statistics.give_back_counts()
            raise
        losses = [float(done.loss) * num_clips, float(done.distance) * num_clips]
        mine = [*losses, float(done.num_right), num_clips, fetch.waited_s]
        loss, distance, right, clips, waited = world_sum(np.array(mine), worker.device).tolist()
        grad_norm, left_out = self._update(loss / clips)
        if left_out:
            self.statistics.undo()
            left_out = f"{left_out} {self._blame(done, fetch.taken)}"
            if recipe.non_finite == "stop":
                raise UserError(
                    f"epoch {epoch + 1}, step {step + 1}: {left_out}; the weights are as before it. The learning rate "
                    f'was {lr:g}; set a lower optim.lr, or a longer optim.warmup_epochs, or non_finite = "skip" to '
                    "leave such updates out. The last saved state is untouched."
                )
        else:
            self.statistics.finish()
            overflow = not math.isfinite(grad_norm)
            left_out = "float16 overflowed, the scale of the gradients was lowered" if overflow else ""
            if self.average is not None and not overflow:
                self.average.update(self.model)
        return StepOutcome(
            loss=loss / clips,
            num_right=right,
            num_clips=clips,
            waited_s=waited,
            grad_norm=grad_norm,
            left_out=left_out,
            distance=None if self.lesson is None else distance / clips,
        )

    def _update(self, loss: float) -> tuple[float, str]:
        """Update unless a number is broken; the same on every worker, since loss and gradients are those of all.

        Returns:
            The norm of the gradients, and what was broken.
        """
        if math.isfinite(loss):
            try:
                norm = float(update(self._ddp, self.optimizer, self.recipe.optim.max_grad_norm, self.scaler))
            except FloatingPointError as error:
                return math.nan, str(error)
            if self.scaler is None or math.isfinite(norm) or self.scaler.get_scale() >= _SMALLEST_SCALE:
                return norm, ""
            return norm, f"the gradient's norm is {norm}"
        self._ddp.zero_grad(set_to_none=True)
        return math.nan, f"the loss is {loss}"

    def _blame(self, done: Gradients, taken: list[Batch]) -> str:
        """Say which videos broke a step: those of the micro-batches with a broken loss, or else all of the batch."""
        broken = [not math.isfinite(float(loss)) for loss in done.losses]
        names = [[self._videos[i] for i in batch.videos.tolist()] for batch in taken]
        told = from_all((broken, names))
        chosen = [batch for flags, batches in told for flag, batch in zip(flags, batches, strict=True) if flag]
        chosen = chosen or [batch for _, batches in told for batch in batches]
        videos = list(dict.fromkeys(name for batch in chosen for name in batch))
        more = f" and {len(videos) - _MOST_NAMES} more" if len(videos) > _MOST_NAMES else ""
        return f"in the clips of {', '.join(videos[:_MOST_NAMES])}{more}"

    def state(self) -> dict[str, Any]:
        """Return what :meth:`load` needs, under the names of ``TrainState``."""
        return {
            "weights": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "projection": None if not self.projected else self.projected[0],
        }

    def load(self, state: Any) -> None:
        """Go on from a ``TrainState``."""
        self.model.load_state_dict(state.weights)
        load_optimizer(self.optimizer, state.optimizer)
        if self.scaler is not None and state.scaler is not None:
            self.scaler.load_state_dict(state.scaler)
        if self.average is not None:
            assert state.average is not None, "the recipe says that there is one"
            self.average.load_state_dict(state.average)
        for weight in self.projected:
            assert state.projection is not None, "the recipe says that there is one"
            with torch.no_grad():
                weight.copy_(state.projection)


class _Fetch:
    """Brings the micro-batches of a step to the device, one at each call, and remembers them."""

    def __init__(self, learner: Learner, batches: Iterator[Batch], epoch: int, step: int, indices: Sequence[int]):
        self._learner, self._batches, self._at, self._indices = learner, batches, (epoch, step), indices
        self.taken: list[Batch] = []
        self._waits: list[tuple[Any, Any]] = []

    @property
    def waited_s(self) -> float:
        """Seconds that the device had nothing to do while clips were waited for; waits for the device."""
        return sum(self._learner.clock.seconds(*wait) for wait in self._waits)

    def __call__(self) -> DeviceBatch:
        learner, recipe, device = self._learner, self._learner.recipe, self._learner.worker.device
        began, turn = learner.clock.mark(), len(self.taken)
        learner.worker.pulse("waiting for clips", *self._at, 2 * turn)
        batch = next(self._batches)
        self._waits.append((began, learner.clock.mark()))
        learner.worker.pulse("computing", *self._at, 2 * turn + 1)
        index = self._indices[turn]
        self.taken.append(batch)
        learner.statistics.before_batch()
        codes, own = batch.clips, batch.clips
        if learner.pictures is not None:
            codes = learner.pictures.codes(batch.clips, device)
            own = learner.pictures.students(codes)
        x_NCTHW = to_device_batch(own, learner.model.spec, device)
        labels_N = batch.labels.to(device, non_blocking=True)
        num_classes = learner.model.config["num_classes"]

        def mixed(clips_NCTHW: Tensor) -> DeviceBatch:
            if not recipe.mixing.on:
                return clips_NCTHW, labels_N
            rng = mix_rng(recipe.seed, *self._at, index)  # the same for a teacher, who sees the same mixture
            return mix_batch(clips_NCTHW, labels_N, num_classes, recipe.mixing, rng)

        if learner.lesson is None:
            return mixed(x_NCTHW)
        x_NCTHW, labels, *_ = mixed(x_NCTHW)
        return x_NCTHW, labels, learner.lesson(batch, codes, lambda clips_NCTHW: mixed(clips_NCTHW)[0])
