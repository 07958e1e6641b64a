"""A process that stands still is noticed, says where, and is ended; the one that the others wait for is named."""

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from kinebert.training.distributed.watchdog import EXIT_STATUS, Pulse, PulseWatchdog, Standstill, who_is_stuck
from tests.helpers.paths import ROOT


def still(rank: int, *at: int, place: str = "computing", idle_s: float = 30.0) -> Standstill:
    return Standstill(rank=rank, place=place, at=at, idle_s=idle_s, host="node", pid=7, stacks="")


@pytest.mark.parametrize(
    ("reports", "ranks", "sentence"),
    [
        (
            [still(0, 1, 4, 3), still(1, 1, 4, 2, place="waiting for clips"), still(2, 1, 4, 3)],
            [1],
            "rank 1 stood still for 30 s, waiting for clips in epoch 2, step 5 (process 7 on node)",
        ),
        (
            [still(0, 0, 2, 1), still(1, 0, 2, 1), still(2, 0, 2, 1)],
            [0, 1, 2],
            "all 3 ranks stood still for 30 s, computing in epoch 1, step 3 (process 7 on node): what they exchange "
            "with each other does not arrive",
        ),
        (
            [still(rank, 0, 9, place="validating", idle_s=30.0 if rank == 1 else 0.4) for rank in range(3)],
            [1],
            "rank 1 stood still for 30 s, validating in epoch 1, step 10 (process 7 on node)",
        ),
        (
            [still(0, 0, 2, 1), still(2, 0, 2, 1)],
            [1],
            "rank 1 no longer answers, while rank 0 was computing in epoch 1",
        ),
    ],
)
def test_who_is_waited_for(reports: list[Standstill], ranks: list[int], sentence: str) -> None:
    found, text = who_is_stuck({report.rank: report for report in reports}, 3)
    assert found == ranks
    assert text.startswith(sentence)


def watch(limit_s: float, beats_every_s: float, seconds: float) -> tuple[list[Standstill], list[int]]:
    pulse = Pulse()
    reports: list[Standstill] = []
    ends: list[int] = []
    with PulseWatchdog(pulse, limit_s, 3, reports.append, ends.append):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if beats_every_s:
                pulse("computing", 1, 2)
            time.sleep(beats_every_s or 0.05)
    return reports, ends


def test_whoever_moves_is_left_alone() -> None:
    assert watch(2.0, 0.02, 2.5) == ([], [])
    assert watch(0.0, 0.0, 0.2) == ([], [])
    assert not [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_whoever_stands_still_says_where_and_is_ended() -> None:
    (report,), ends = watch(0.3, 0.0, 1.2)
    assert ends == [EXIT_STATUS]
    assert (report.rank, report.place) == (3, "starting")
    assert "in watch" in report.stacks


def test_who_still_moves_says_so_when_another_does_not() -> None:
    """One rank hangs in its own work while the other has work for longer than anybody waits: the right one is named."""
    heard: dict[int, Standstill] = {}
    ends: list[int] = []

    def hear(found: Standstill) -> None:
        heard[found.rank] = found

    stuck, busy = Pulse(), Pulse()
    options: dict[str, Any] = {"report": hear, "alarm": lambda: bool(heard), "end": ends.append}
    with PulseWatchdog(stuck, 1.0, 1, **options), PulseWatchdog(busy, 1.0, 0, **options):
        stuck("validating", 0, 9)
        while not ends:
            busy("validating", 0, 9)
            time.sleep(0.01)
        ranks, sentence = who_is_stuck(heard, 2)
    assert (ranks, sentence.partition(", validating")[0]) == ([1], "rank 1 stood still for 1 s")


def test_a_process_whose_c_code_keeps_the_lock_is_ended_as_well() -> None:
    code = """
import ctypes, sys
from kinebert.training.distributed.watchdog import Pulse, PulseWatchdog
with PulseWatchdog(Pulse(), 0.5, 0, print):
    ctypes.PyDLL(None).sleep(60)  # keeps the interpreter's lock, as a bad extension does
"""
    began = time.monotonic()
    done: Any = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert time.monotonic() - began < 40
    assert "Timeout" in done.stderr
