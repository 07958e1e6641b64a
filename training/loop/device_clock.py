"""How long a device stood idle: it computes on by itself while this process waits for something else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class DeviceClock:
    """Marks moments in the time of a device, which runs behind that of the process that gives it work."""

    mark: Callable[[], Any]
    """Marks the moment at which the device has done all that it was given so far; does not wait for it."""
    seconds: Callable[[Any, Any], float]
    """Seconds from one mark to a later one; waits until the device has passed them."""


def device_clock(device: torch.device) -> DeviceClock:
    """Return the clock of a device. A CPU does its work at once, so that its time is everybody's."""
    if device.type != "cuda":
        return DeviceClock(time.monotonic, lambda first, last: float(last - first))

    def mark() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        return event

    def seconds(first: torch.cuda.Event, last: torch.cuda.Event) -> float:
        last.synchronize()
        return float(first.elapsed_time(last)) / 1000

    return DeviceClock(mark, seconds)
