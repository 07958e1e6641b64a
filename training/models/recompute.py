"""Gradient checkpointing: what a stage computes inside is forgotten, and computed again when the gradients need it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_checkpointed(stage: nn.Module, *inputs: Any) -> Any:
    """Return ``stage(*inputs)``; results, gradients, and running statistics are those of the plain call."""
    if torch.compiler.is_compiling():  # a graph's second computation changes nothing outside it, and draws the same
        return checkpoint(stage, *inputs, use_reentrant=False)
    return checkpoint(
        stage, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _without_statistics(stage))
    )


@contextmanager
def _without_statistics(stage: nn.Module) -> Iterator[None]:
    # The second computation must not move the running statistics of batch norms a second time. They are updated by
    # nothing then, rather than switched off: both computations must save the same tensors.
    norms = [module for module in stage.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    spare = _spare_count(norms)
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, spare if isinstance(norm, SyncBatchNorm) else None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _spare_count(norms: list[_BatchNorm]) -> Tensor | None:
    """Return a count that nobody reads: synchronised norms insist on having one."""
    counts = (norm.num_batches_tracked for norm in norms if isinstance(norm, SyncBatchNorm))
    first = next((count for count in counts if count is not None), None)
    return None if first is None else torch.zeros_like(first)
