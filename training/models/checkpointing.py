"""Gradient checkpointing: what a stage computes inside is forgotten, and computed again when the gradients need it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_checkpointed(stage: nn.Module, *inputs: Any) -> Any:
    """Return ``stage(*inputs)``; results, gradients, and running statistics are those of the plain call."""
    return checkpoint(
        stage, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _without_statistics(stage))
    )


@contextmanager
def _without_statistics(stage: nn.Module) -> Iterator[None]:
    # The second computation must not move the running statistics of batch norms a second time.
    norms = [module for module in stage.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
