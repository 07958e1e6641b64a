"""Work beside a batch: begun after what the device was told, waited for, and its failure told. CUDA is pretended."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.tvl1.gpu.beside import URGENT, Beside


class PretendedCuda:
    """Notes what is asked of streams and events, and by which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def note(self, call: str) -> None:
        self.calls.append((call, threading.current_thread() is threading.main_thread()))

    def stream(self, device: torch.device, priority: int) -> Any:
        assert priority == URGENT < 0
        return type("Stream", (), {
            "wait_event": lambda _, event: self.note("wait"),
            "synchronize": lambda _: self.note("synchronize"),
        })()  # fmt: skip

    def event(self) -> Any:
        return type("Event", (), {"record": lambda _: self.note("record")})()

    @contextmanager
    def current(self, what: object) -> Iterator[None]:
        yield


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> PretendedCuda:
    made = PretendedCuda()
    for name, what in {
        "Stream": made.stream,
        "Event": made.event,
        "stream": made.current,
        "device": made.current,
    }.items():
        monkeypatch.setattr(torch.cuda, name, what)
    return made


def noted(cuda: PretendedCuda, go: threading.Event) -> Callable[[], Tensor]:
    def work() -> Tensor:
        assert go.wait(20)
        cuda.note("work")
        return torch.ones(2)

    return work


def test_it_follows_what_was_told_and_is_finished_on_the_device(cuda: PretendedCuda) -> None:
    """Its inputs may be freed and its result be read on any stream as soon as the future is done."""
    beside, go = Beside(torch.device("cuda")), threading.Event()
    assert beside.is_free
    future = beside.start(noted(cuda, go))
    assert not beside.is_free
    assert not future.done()
    go.set()
    assert future.result(20).tolist() == [1, 1]
    assert beside.is_free
    assert cuda.calls == [("record", True), ("wait", False), ("work", False), ("synchronize", False)]


def test_a_failure_is_told_to_who_waits_and_the_next_work_is_done(cuda: PretendedCuda) -> None:
    beside, go = Beside(torch.device("cuda")), threading.Event()
    go.set()

    def fails() -> Tensor:
        raise RuntimeError("CUDA error: out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        beside.start(fails).result(20)
    assert beside.is_free
    assert beside.start(noted(cuda, go)).result(20).tolist() == [1, 1]


def test_without_cuda_the_caller_waits() -> None:
    threads = []

    def work() -> Tensor:
        threads.append(threading.current_thread())
        return torch.ones(1)

    beside = Beside(torch.device("cpu"))
    assert beside.start(work).done()
    assert beside.is_free
    assert threads == [threading.current_thread()]
