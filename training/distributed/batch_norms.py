"""Running statistics of batch norms that do not depend on the number of workers."""

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

    Args:
        model: The network whose statistics are kept; changed in place.
        rank: Of this worker.
        world_size: Workers that take turns, see :func:`kinebert.training.clips.ordering.worker_positions`.
    """

    def __init__(self, model: nn.Module, rank: int, world_size: int) -> None:
        self._model, self._rank, self._world_size = model, rank, world_size
        self._norms: list[_BatchNorm] = []
        self._kept: list[list[Tensor]] = []
        self._num_batches = 0

    @torch.no_grad()
    def begin(self) -> None:
        """Call before the first forward pass of a step."""
        self._norms = [norm for norm in self._model.modules() if isinstance(norm, _BatchNorm) and _learns(norm)]
        self._kept = [[buffer.clone() for buffer in norm.buffers()] for norm in self._norms]
        self._num_batches = 0
        if self._rank:
            for norm in self._taking_turns():
                for value in _running(norm):
                    value.zero_()

    def before_batch(self) -> None:
        """Call before the forward pass of every micro-batch."""
        self._decay(self._rank if self._num_batches == 0 else self._world_size - 1)
        self._num_batches += 1

    @torch.no_grad()
    def finish(self) -> None:
        """Call after the last forward pass; all workers do, or all call :meth:`undo` instead."""
        self._decay(self._world_size - 1 - self._rank)
        values = [value for norm in self._taking_turns() for value in _running(norm)]
        if self._world_size == 1 or not values:
            return
        flat = torch.cat(values)
        dist.all_reduce(flat)
        for value, whole in zip(values, torch.split(flat, [len(value) for value in values]), strict=True):
            value.copy_(whole)
        for norm in self._taking_turns():
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += self._num_batches * (self._world_size - 1)

    @torch.no_grad()
    def undo(self) -> None:
        """Put back what there was at :meth:`begin`: a batch with broken numbers leaves no trace."""
        for norm, kept in zip(self._norms, self._kept, strict=True):
            for buffer, value in zip(norm.buffers(), kept, strict=True):
                buffer.copy_(value)

    def _taking_turns(self) -> list[_BatchNorm]:
        return [norm for norm in self._norms if not isinstance(norm, SyncBatchNorm)]

    @torch.no_grad()
    def _decay(self, num_batches: int) -> None:
        if num_batches:
            for norm in self._taking_turns():
                assert norm.momentum is not None, "no network here averages over all batches"
                for value in _running(norm):
                    value.mul_((1 - norm.momentum) ** num_batches)


def _learns(norm: _BatchNorm) -> bool:
    return norm.training and norm.running_mean is not None


def _running(norm: _BatchNorm) -> list[Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return [norm.running_mean, norm.running_var]
