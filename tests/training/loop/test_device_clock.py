"""Waiting for clips counts where the device has nothing left to do."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from kinebert.training.data.batches import Batch
from kinebert.training.loop.device_clock import DeviceClock, device_clock
from kinebert.training.loop.learner import Learner
from tests.training.loop.test_learner import batches_of, learner_of

WORK_S = 3.0
"""That the device computes for a micro-batch, in the test's time."""


class Device:
    """A device with a queue, in a time that only the test moves on."""

    def __init__(self) -> None:
        self.now_s = self.free_at_s = 0.0

    def clock(self) -> DeviceClock:
        return DeviceClock(lambda: max(self.now_s, self.free_at_s), lambda first, last: float(last - first))

    def work(self, *_: Any) -> None:
        self.free_at_s = max(self.now_s, self.free_at_s) + WORK_S

    def slowly(self, batches: Iterator[Batch], seconds: float) -> Iterator[Batch]:
        for batch in batches:
            self.now_s += seconds
            yield batch


def learner_on(device: Device) -> Learner:
    learner = learner_of(4)
    learner.clock = device.clock()
    learner.model.register_forward_hook(device.work)
    return learner


@pytest.mark.parametrize(
    ("loading_s", "expected"),
    [
        (1.0, 1.0),  # the second micro-batch comes while the first is computed
        (5.0, 5.0 + 5.0 - WORK_S),
    ],
)
def test_a_gpu_waits_only_once_it_has_computed_what_it_has(loading_s: float, expected: float) -> None:
    device = Device()
    done = learner_on(device).step(device.slowly(batches_of(4), loading_s), 0, 0, 0.1)
    assert done.waited_s == pytest.approx(expected)


def test_a_cpu_waits_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [7.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = device_clock(torch.device("cpu"))
    first = clock.mark()
    now[0] += 2.5
    assert clock.seconds(first, clock.mark()) == 2.5


def test_on_cuda_events_of_the_device_s_own_queue_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are recorded without waiting, and waited for when their time is asked for."""
    told: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            told.append(f"record on {stream}")

        def synchronize(self) -> None:
            told.append("wait")

        def elapsed_time(self, _: "Event") -> float:
            return 1500.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    clock = device_clock(torch.device("cuda:1"))
    first, last = clock.mark(), clock.mark()
    assert told == ["record on the stream of cuda:1"] * 2
    assert clock.seconds(first, last) == 1.5
    assert told[2:] == ["wait"]
