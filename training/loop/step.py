"""The two halves of a step: gradients of a global batch, and the update by them.

Axes: N clips, C channels, T frames, H height, W width.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kinebert.training.optim.losses import LossSum

DeviceBatch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]
"""Normalised clips ``(N, C, T, H, W)``; labels ``(N,)`` or shares of classes ``(N, K)``; what a teacher gives for the
clips, where there is one. On the network's device."""


@dataclass(frozen=True)
class Gradients:
    """What the passes over the micro-batches of a step came to; the gradients themselves are in the parameters."""

    losses: list[Tensor]
    """Losses of the micro-batches: the sum over the clips of each, divided by the clips of the step."""
    num_right: Tensor
    """Clips of this process whose highest score is their label's, or that of their larger share."""
    distances: list[Tensor] = field(default_factory=list)
    """The part of the losses that a student's teacher is the measure of, as they are; empty without one."""

    @property
    def loss(self) -> Tensor:
        """Mean over the clips of this process."""
        return torch.stack(self.losses).sum()

    @property
    def distance(self) -> Tensor:
        """The teacher's part of :attr:`loss`; 0 without one."""
        return torch.stack(self.distances).sum() if self.distances else torch.zeros(())


def accumulate(
    model: nn.Module,
    batches: Sequence[DeviceBatch | Callable[[], DeviceBatch]],
    loss_sum: LossSum,
    *,
    num_clips: int,
    autocast_dtype: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
    seeds: Sequence[int] | None = None,
) -> Gradients:
    """Leave the gradient of the mean loss over ``batches`` in the parameters.

    It does not depend on how the clips are cut into batches: each clip weighs the same, also when the last batch is
    short. A model with batch normalisation is the exception, because its statistics are per batch. Processes exchange
    gradients once, after the last batch.

    Args:
        model: Maps clips to logits ``(N, num_classes)``, or clips and what a teacher gives to logits and the sum of a
            further loss (see :class:`.Student`); may be wrapped in ``DistributedDataParallel``.
        batches: Clips and labels already on the model's device, or functions that fetch them when they are needed
            (so that one micro-batch of floats is in memory, not all). Every process has as many clips.
        loss_sum: Sum, not mean, of the loss over the clips of one batch.
        num_clips: Clips in all ``batches`` together.
        autocast_dtype: Type of the forward pass, or ``None`` for full precision.
        scaler: Only for float16: the gradients are those of the scaled loss.
        seeds: One per batch; torch is seeded with it before the batch's forward pass, so that dropout and masks do not
            depend on what happened before. Changes torch's global random state.
    """
    model.zero_grad(set_to_none=True)
    device = next(model.parameters()).device
    losses: list[Tensor] = []
    distances: list[Tensor] = []
    num_right = torch.zeros((), dtype=torch.int64, device=device)
    seen = 0
    for i, batch in enumerate(batches):
        clips_NCTHW, labels, *taught = batch() if callable(batch) else batch
        seen += len(labels)
        last = i == len(batches) - 1
        hold = model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext()
        with hold:
            if seeds is not None:
                torch.manual_seed(seeds[i])
            with torch.autocast(device.type, autocast_dtype, enabled=autocast_dtype is not None):
                logits_NK, *further = model(clips_NCTHW, *taught) if taught else (model(clips_NCTHW),)
            logits_NK = logits_NK if logits_NK.dtype == torch.float64 else logits_NK.float()
            loss = loss_sum(logits_NK, labels) / num_clips
            for distance in further:
                distances.append(distance.detach() / num_clips)
                loss = loss + distance / num_clips
            (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        labels_N = labels.argmax(1) if labels.is_floating_point() else labels
        num_right += (logits_NK.detach().argmax(1) == labels_N).sum()
    assert seen == num_clips, f"the batches hold {seen} clips, not {num_clips}"
    return Gradients(losses, num_right, distances)


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    max_grad_norm: float,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """Update the weights by the gradients of :func:`accumulate` and return their global L2 norm, before it was limited.

    Args:
        model: Whose gradients these are.
        optimizer: Updated in place.
        max_grad_norm: Gradients are scaled down to this global L2 norm; 0 leaves them as they are.
        scaler: Only for float16: a step whose gradients overflow is left out, and the scale lowered.

    Raises:
        FloatingPointError: If the norm is not finite and there is no scaler. The weights stay as they were.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm or math.inf)
    if scaler is not None:
        scaler.step(optimizer)
        scaler.update()
    elif not torch.isfinite(grad_norm):
        model.zero_grad(set_to_none=True)
        raise FloatingPointError(f"the gradient's norm is {grad_norm.item()}")
    else:
        optimizer.step()
    return grad_norm
