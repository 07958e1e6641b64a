"""Where the time of a task goes: seconds per stage, over all of its threads. Off unless asked for."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

_NOTHING = nullcontext()


@dataclass(frozen=True)
class StageTime:
    """Time that one stage of a task took, over all threads that ran it."""

    cpu_s: float = 0.0
    """Seconds of processor time of the threads that ran it."""
    wall_s: float = 0.0
    """Seconds on the clock, waiting for a processor or a GPU included; of stages that overlap, each counts."""


@dataclass(frozen=True, kw_only=True)
class TaskTiming:
    """When one task ran, and what its stages took."""

    worker: str
    """Host and process."""
    start: float
    """Seconds since the epoch."""
    end: float
    """Seconds since the epoch."""
    stages: Mapping[str, StageTime]


class NoTiming:
    """Stands in for :class:`Timing` where nobody asked how long the stages take."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Run the block of the stage ``name`` without measuring it."""
        return _NOTHING


class Timing(NoTiming):
    """Measures the stages of one task. Threads may share it; a stage may run in several of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start = time.time()
        self._stages: dict[str, StageTime] = {}

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        try:
            yield
        finally:
            cpu_s, wall_s = time.thread_time() - cpu_s, time.perf_counter() - wall_s
            with self._lock:
                before = self._stages.get(name, StageTime())
                self._stages[name] = StageTime(before.cpu_s + cpu_s, before.wall_s + wall_s)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Run a block whose time counts as that of the stage ``name``."""
        return self._measured(name)

    def result(self, worker: str) -> TaskTiming:
        """Return what was measured until now, as that of ``worker`` (host and process)."""
        with self._lock:
            return TaskTiming(worker=worker, start=self._start, end=time.time(), stages=dict(self._stages))


OFF = NoTiming()
