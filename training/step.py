"""One optimizer step.

Axes: N clips, C channels, T frames, H height, W width.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from preprocessing.errors import ConfigError
from training.losses import LossSum

Batch = tuple[Tensor, Tensor]
"""Normalised clips ``(N, C, T, H, W)`` and labels ``(N,)`` on the model's device."""


@dataclass(frozen=True)
class StepResult:
    """Zero-dimensional tensors on the training device: reading one waits for the device, so read them rarely."""

    loss: Tensor
    """Mean over the clips of this process."""
    grad_norm: Tensor
    """Global L2 norm before it was limited."""
    num_right: Tensor
    """Clips of this process whose highest score is their label's."""


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch | Callable[[], Batch]],
    loss_sum: LossSum,
    *,
    num_clips: int,
    max_grad_norm: float,
    autocast_dtype: torch.dtype | None = None,
    scaler: torch.amp.GradScaler | None = None,
    seeds: Sequence[int] | None = None,
) -> StepResult:
    """Accumulate gradients over ``batches`` and update the weights once.

    The result does not depend on how the clips are cut into batches: each clip weighs the same, also when the
    last batch is short. A model with batch normalisation is the exception, because its statistics are per batch.

    Args:
        model: Maps clips to logits ``(N, num_classes)``; may be wrapped in ``DistributedDataParallel``.
        optimizer: Updated in place.
        batches: ``(clips, labels)`` pairs already on the model's device, or functions that fetch one when it is needed
            (so that one micro-batch of floats is in memory, not all). Every process has as many clips.
        loss_sum: Sum, not mean, of the loss over the clips of one batch.
        num_clips: Clips in all ``batches`` together.
        max_grad_norm: Gradients are scaled down to this global L2 norm; 0 leaves them as they are.
        autocast_dtype: Type of the forward pass, or ``None`` for full precision.
        scaler: Only for float16: a step whose gradients overflow is left out, and the scale lowered.
        seeds: One per batch; torch is seeded with it before the batch's forward pass, so that dropout and masks do not
            depend on what happened before. Changes torch's global random state.

    Raises:
        FloatingPointError: If the gradient norm is not finite and there is no scaler. The weights stay as they were.
    """
    optimizer.zero_grad(set_to_none=True)
    device = next(model.parameters()).device
    total, num_right = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
    seen = 0
    for i, batch in enumerate(batches):
        clips_NCTHW, labels_N = batch() if callable(batch) else batch
        seen += len(labels_N)
        last = i == len(batches) - 1
        hold = model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext()
        with hold:
            if seeds is not None:
                torch.manual_seed(seeds[i])
            with torch.autocast(device.type, autocast_dtype, enabled=autocast_dtype is not None):
                logits_NK = model(clips_NCTHW)
            loss = loss_sum(logits_NK.float(), labels_N) / num_clips
            (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
        num_right += (logits_NK.detach().argmax(1) == labels_N).sum()
    assert seen == num_clips, f"the batches hold {seen} clips, not {num_clips}"
    if scaler is not None:
        scaler.unscale_(optimizer)
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm or math.inf)
    if scaler is not None:
        scaler.step(optimizer)
        scaler.update()
    elif not torch.isfinite(grad_norm):
        optimizer.zero_grad(set_to_none=True)
        raise FloatingPointError(f"gradient norm is {grad_norm.item()}, loss is {total.item()}; weights unchanged")
    else:
        optimizer.step()
    return StepResult(total, grad_norm, num_right)


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """Return the type of the forward pass that a recipe's ``amp`` means on ``device``; None for full precision."""
    if amp == "fp16" and device.type != "cuda":
        raise ConfigError('amp = "fp16" needs a CUDA device. Take "auto", "bf16" or "off".')
    if amp == "auto":
        return torch.bfloat16 if device.type == "cuda" else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[amp]
