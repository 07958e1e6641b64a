"""What the processes of one training tell each other. Without ``torch.distributed`` there is only one."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

T = TypeVar("T")


def is_active() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_sum(numbers: NDArray[np.float64], device: torch.device) -> NDArray[np.float64]:
    """Add up the ``numbers`` of all processes; counts stay exact up to 2**53."""
    if not is_active():
        return numbers
    total = torch.from_numpy(np.array(numbers, np.float64)).to(device)
    dist.all_reduce(total)
    return total.cpu().numpy()


def from_first(make: Callable[[], T], rank: int) -> T:
    """Run ``make`` on rank 0 only and give its result, or raise its error, everywhere."""
    if not is_active():
        return make()
    answer: list[Any] = [None, None]
    if rank == 0:
        try:
            answer[0] = make()
        except Exception as error:  # raised again below, on every rank, so that none waits for ever
            answer[1] = error
    dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]  # type: ignore[no-any-return]


def share_buffers(model: nn.Module) -> None:
    """Give every process rank 0's buffers (running statistics), in place: gradients alone keep only weights equal."""
    if is_active():
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
