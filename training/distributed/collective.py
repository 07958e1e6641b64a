"""What the processes of one training tell each other. Without ``torch.distributed`` there is only one."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

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


def from_all(value: T) -> list[T]:
    """Give every process the values of all, by rank."""
    if not is_active():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


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
