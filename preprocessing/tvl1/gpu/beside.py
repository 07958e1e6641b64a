"""The few pairs of a batch that take long, solved to the end while the others go on.

Unrelated pictures, as at a scene cut, run every iteration there is, eleven times the usual. On each level of the
pyramid everybody would wait for them.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

URGENT = -1
"""Priority of their kernels on a CUDA device, the highest there is: they are small, and find a place at once."""


class Beside:
    """Does one piece of work at a time beside its caller's: with CUDA in a thread and on a stream of its own.

    Args:
        device: A CUDA device, or the CPU, where there is nothing to gain and the caller waits.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._running: Future[Tensor] | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device, priority=URGENT)  # type: ignore[no-untyped-call]
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="tvl1")

    @property
    def is_free(self) -> bool:
        """Whether nothing is being done."""
        return self._running is None or self._running.done()

    def start(self, work: Callable[[], Tensor]) -> Future[Tensor]:
        """Begin ``work`` after what the device was told so far; the future has its result, ready on the device."""
        if self._device.type != "cuda":
            self._running = Future()
            self._running.set_result(work())
            return self._running
        told = torch.cuda.Event()  # type: ignore[no-untyped-call]
        told.record()
        self._running = self._thread.submit(self._work, work, told)
        return self._running

    def _work(self, work: Callable[[], Tensor], told: torch.cuda.Event) -> Tensor:
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            self._stream.wait_event(told)
            result = work()
            self._stream.synchronize()  # what it read may be freed now, and anybody may read the result
            return result
