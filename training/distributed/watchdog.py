"""Notices a process of a training that no longer gets anywhere, says where it stands, and ends it.

A rank that hangs keeps all others waiting in their next exchange, where nothing tells whose fault it is. So every rank
says where it stands (:class:`Pulse`), and whoever has stood still for too long reports that place, with the stacks of
its threads. Compared, the reports name the one that the others wait for (:func:`who_is_stuck`).
"""

import faulthandler
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

EXIT_STATUS = 75
"""Exit status of a process that was ended because it, or one that it waited for, hung."""
AFTER_TRAINING = sys.maxsize
"""In the place of an epoch: later than all of them."""
_ASK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Standstill:
    """What a process says that has not moved for too long. Plain enough to be sent anywhere."""

    rank: int
    place: str
    """What it was doing, in words."""
    at: tuple[int, ...]
    """Epoch, step and so on; of two ranks the smaller one is behind."""
    idle_s: float
    """Seconds since it got there."""
    host: str
    pid: int
    stacks: str
    """Stacks of all threads, as faulthandler writes them."""


class Pulse:
    """Where a process stands. Calling it says that it has moved on; costs next to nothing."""

    def __init__(self) -> None:
        self._now: tuple[float, str, tuple[int, ...]] = (time.monotonic(), "starting", ())

    def __call__(self, place: str, *at: int) -> None:
        """Say that ``place`` was reached.

        Args:
            place: What is done from now on, in words.
            at: Epoch, step and so on, the same on all ranks for the same place.
        """
        self._now = time.monotonic(), place, at

    def last(self) -> tuple[float, str, tuple[int, ...]]:
        """Return the seconds since the last call, and its arguments."""
        since, place, at = self._now
        return time.monotonic() - since, place, at


class PulseWatchdog:
    """A thread that watches a pulse while its context is open.

    The thread cannot run where a C library keeps Python's lock: then faulthandler's own clock, which needs no lock,
    ends the process a little later, with the stacks on its stderr.

    Args:
        pulse: What to watch.
        limit_s: Seconds without a beat after which it acts; 0 never.
        rank: Of this process.
        report: Called with what was found; must not take long. Errors are ignored.
        end: What ends the process.
        alarm: Whether any rank has reported; asked every few seconds. Then this one says again and again where it
            stands, moving or not, since who has nothing to say is taken for dead.
    """

    def __init__(
        self,
        pulse: Pulse,
        limit_s: float,
        rank: int,
        report: Callable[[Standstill], None],
        end: Callable[[int], Any] = os._exit,
        alarm: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pulse, self._limit_s, self._rank, self._report, self._end = pulse, limit_s, rank, report, end
        self._alarm = alarm
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "PulseWatchdog":
        if self._limit_s > 0:
            self._pulse("starting")
            self._arm()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._limit_s > 0:
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._done.wait(min(self._limit_s / 20, _ASK_S)):
            idle_s = self._pulse.last()[0]
            self._arm()
            if idle_s >= self._limit_s or self._alarmed():
                self._say()
            if idle_s < self._limit_s:
                continue
            # the others should come to say where they stand: the first end is the end of all
            if not self._done.wait(self._grace_s) and self._pulse.last()[0] >= self._limit_s:
                faulthandler.cancel_dump_traceback_later()
                self._end(EXIT_STATUS)
                return

    def _alarmed(self) -> bool:
        with suppress(Exception):  # whoever is asked may be gone
            return self._alarm()
        return False

    def _say(self) -> None:
        idle_s, place, at = self._pulse.last()
        with suppress(Exception):  # whatever becomes of the report, the process must not stay
            self._report(
                Standstill(
                    rank=self._rank,
                    place=place,
                    at=at,
                    idle_s=idle_s,
                    host=os.uname().nodename,
                    pid=os.getpid(),
                    stacks=stacks(),
                )
            )

    @property
    def _grace_s(self) -> float:
        return min(3 * _ASK_S, self._limit_s / 2)

    def _arm(self) -> None:
        with suppress(Exception):  # there may be no stderr with a file descriptor
            faulthandler.dump_traceback_later(self._limit_s + 2 * self._grace_s, exit=True)


def stacks() -> str:
    """Return the stacks of all threads of this process."""
    with tempfile.TemporaryFile("w+") as file:  # faulthandler writes to descriptors only
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


def who_is_stuck(reports: Mapping[int, Standstill], num_workers: int) -> tuple[list[int], str]:
    """Tell which ranks the others wait for.

    Args:
        reports: By rank, from those that could say something, moving or not.
        num_workers: Ranks that there are.

    Returns:
        The ranks, and a sentence.
    """
    silent = [rank for rank in range(num_workers) if rank not in reports]
    if silent:
        others = [report for _, report in sorted(reports.items())]
        waiting = f", while rank {others[0].rank} was {_where(others[0])}" if others else ""
        return silent, f"{_ranks(silent)} no longer answer{'s' * (len(silent) == 1)}{waiting}"
    least = min(report.at for report in reports.values())
    longest_s = max(report.idle_s for report in reports.values() if report.at == least)
    # of those at one place, some may still have moved when they were asked
    behind = sorted(r for r, report in reports.items() if report.at == least and report.idle_s >= longest_s / 2)
    first = reports[behind[0]]
    stood = f"stood still for {first.idle_s:.0f} s, {_where(first)} (process {first.pid} on {first.host})"
    if len(behind) == num_workers and num_workers > 1:
        return behind, f"all {num_workers} ranks {stood}: what they exchange with each other does not arrive"
    return behind, f"{_ranks(behind)} {stood}"


def _where(report: Standstill) -> str:
    counted = () if report.at[:1] == (AFTER_TRAINING,) else report.at
    numbers = [f"{name} {value + 1}" for name, value in zip(("epoch", "step"), counted, strict=False)]
    return f"{report.place} in {', '.join(numbers)}" if numbers else report.place


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
