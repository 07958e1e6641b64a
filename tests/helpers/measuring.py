"""What the benchmarks share: one core, clocks, memory, and tables of plain text."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keep this process and the threads that it starts on the last ``count`` of its cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_ms(work: Callable[..., T], *args: object) -> tuple[float, T]:
    """Run ``work(*args)`` and return what it cost this thread, in ms of the processor: neighbours hardly disturb it."""
    start = time.thread_time()
    result = work(*args)
    return 1e3 * (time.thread_time() - start), result


def wall_s(work: Callable[..., object], *args: object) -> float:
    """Run ``work(*args)`` and return the seconds that passed."""
    start = time.perf_counter()
    work(*args)
    return time.perf_counter() - start


def peak_growth_bytes(work: Callable[[], object]) -> int:
    """Run ``work`` and return how far the memory of this process rose above what it was before (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status_bytes("VmRSS")
    work()
    return _status_bytes("VmHWM") - before


def _status_bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key + ":")).split()[1])


def processor() -> str:
    """Name of the processor and the number of cores that this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{name or platform.machine()}, {len(os.sched_getaffinity(0))} core(s)"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]], words: int) -> None:
    """Print aligned columns; the first ``words`` of them are words, the others numbers."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    print(f"\n{title}")
    print(lines[0].rstrip())
    print("-" * len(lines[0]))
    print(*(line.rstrip() for line in lines[1:]), sep="\n", flush=True)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
