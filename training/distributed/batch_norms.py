"""Running statistics of batch norms that do not depend on the number of workers."""

from itertools import chain

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm


class RunningStatistics:
    """Keeps running means and variances as one process would that is fed all micro-batches of a step in turn.

    A batch norm's update, ``r = (1 - m) r + m s``, is linear. So each worker follows the whole turn with its own
    micro-batches only, letting r decay where another one's stands, all but the first worker begin with r = 0, and the
    sum over the workers is what one process has. Frozen norms and synchronised ones are left alone: they are equal
    everywhere.

    All norms are handled by one operator call at a time, since a network has hundreds of these small tensors and a GPU
    waits for each call. Between :meth:`begin` and :meth:`finish` or :meth:`undo`, norms that take turns do not have
    their counters of batches, so that torch need not add to each of them in every forward pass.

    Args:
        model: The network whose statistics are kept; changed in place.
        rank: Of this worker.
        world_size: Workers that take turns, see :func:`kinebert.training.clips.ordering.worker_positions`.
        passes: Forward passes that each micro-batch makes.
    """

    def __init__(self, model: nn.Module, rank: int, world_size: int, passes: int = 1) -> None:
        self._model, self._rank, self._world_size, self._passes = model, rank, world_size, passes
        self._norms: list[_BatchNorm] = []
        self._running: list[Tensor] = []
        self._counts: list[Tensor | None] = []
        self._synced: list[Tensor] = []
        self._kept: list[Tensor] = []
        self._num_batches = 0

    @torch.no_grad()
    def begin(self) -> None:
        """Call before the first forward pass of a step."""
        learning = [norm for norm in self._model.modules() if isinstance(norm, _BatchNorm) and _learns(norm)]
        self._norms = [norm for norm in learning if not isinstance(norm, SyncBatchNorm)]
        self._running = [value for norm in self._norms for value in _running(norm)]
        self._synced = [value for norm in learning if isinstance(norm, SyncBatchNorm) for value in norm.buffers()]
        self._kept = _copies([*self._running, *self._synced])
        self._num_batches = 0
        self._counts = [norm.num_batches_tracked for norm in self._norms]
        for norm in self._norms:
            norm.num_batches_tracked = None
        if self._rank and self._running:
            torch._foreach_zero_(self._running)

    def before_batch(self) -> None:
        """Call before the forward passes of every micro-batch."""
        self._decay(self._rank if self._num_batches == 0 else self._world_size - 1)
        self._num_batches += 1

    @torch.no_grad()
    def finish(self) -> None:
        """Call after the last forward pass; all workers do, or all call :meth:`undo` instead."""
        self._decay(self._world_size - 1 - self._rank)
        counts = self.give_back_counts()
        if counts:
            torch._foreach_add_(counts, self._num_batches * self._world_size * self._passes)
        if self._world_size == 1 or not self._running:
            return
        flat = torch.cat(self._running)
        dist.all_reduce(flat)
        torch._foreach_copy_(self._running, list(torch.split(flat, [len(value) for value in self._running])))

    @torch.no_grad()
    def undo(self) -> None:
        """Put back what there was at :meth:`begin`: a batch with broken numbers leaves no trace."""
        self.give_back_counts()
        if self._kept:
            torch._foreach_copy_([*self._running, *self._synced], self._kept)

    def give_back_counts(self) -> list[Tensor]:
        """Give the norms their counters back, and return these: all that is left to do after a step that broke off."""
        for norm, count in zip(self._norms, self._counts, strict=True):
            norm.num_batches_tracked = count
        return [count for count in self._counts if count is not None]

    @torch.no_grad()
    def _decay(self, num_batches: int) -> None:
        if num_batches and self._running:
            shares = [(1 - _momentum(norm)) ** (num_batches * self._passes) for norm in self._norms]
            torch._foreach_mul_(self._running, list(chain.from_iterable((share, share) for share in shares)))


def _learns(norm: _BatchNorm) -> bool:
    return norm.training and norm.running_mean is not None


def _momentum(norm: _BatchNorm) -> float:
    assert norm.momentum is not None, "no network here averages over all batches"
    return norm.momentum


def _running(norm: _BatchNorm) -> list[Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return [norm.running_mean, norm.running_var]


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    """Return copies of tensors, which are parts of one block for each of their types."""
    blocks = {dtype: [value.flatten() for value in tensors if value.dtype == dtype] for dtype in _types(tensors)}
    parts = {dtype: iter(torch.split(torch.cat(flat), [len(one) for one in flat])) for dtype, flat in blocks.items()}
    return [next(parts[value.dtype]).view_as(value) for value in tensors]


def _types(tensors: list[Tensor]) -> list[torch.dtype]:
    return list(dict.fromkeys(value.dtype for value in tensors))
