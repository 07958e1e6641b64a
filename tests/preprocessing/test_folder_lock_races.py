"""Of those that ask for a folder at the same moment, one gets in."""

import multiprocessing
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from kinebert.preprocessing import folder_lock, storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import RUNNING_FILE, held
from tests.helpers.locked_folders import root

__all__ = ["root"]
PAIRS = 30


def _ask(folder: str, barrier: Barrier, decided: Barrier, inside: "multiprocessing.Queue[tuple[int, bool]]") -> None:
    for pair in range(PAIRS):
        place = f"{folder}/{pair}"
        barrier.wait(60)
        try:
            with held(place, "train"):
                inside.put((pair, True))
                decided.wait(60)
        except UserError:
            inside.put((pair, False))
            decided.wait(60)


@pytest.mark.parametrize("left", ["nothing", "the mark of a killed one"])
def test_of_two_processes_that_start_at_once_one_gets_in(tmp_path: Path, left: str) -> None:
    """Each pair decides before either of them ends."""
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    for pair in range(PAIRS):
        (tmp_path / str(pair)).mkdir()
        if left != "nothing":
            mark = folder_lock._Mark(pid=killed.pid, started="1")
            mark.write(str(tmp_path / str(pair) / RUNNING_FILE))
    spawn = multiprocessing.get_context("spawn")
    barrier, decided, inside = spawn.Barrier(2), spawn.Barrier(2), spawn.Queue()
    both = [spawn.Process(target=_ask, args=(str(tmp_path), barrier, decided, inside)) for _ in range(2)]
    for process in both:
        process.start()
    answers = [inside.get(timeout=120) for _ in range(2 * PAIRS)]
    for process in both:
        process.join(60)
    let_in = Counter(pair for pair, got_in in answers if got_in)  # the queue may keep one's answer back for a while
    assert let_in == dict.fromkeys(range(PAIRS), 1)


def race(folder: str, threads: int) -> list[bool]:
    """Let ``threads`` ask for a folder at once, and wait inside until all were answered."""
    barrier, decided = threading.Barrier(threads), threading.Barrier(threads)
    inside: list[bool] = []

    def ask() -> None:
        barrier.wait(60)
        try:
            with held(folder, "train"):
                inside.append(True)
                decided.wait(60)
        except UserError:
            inside.append(False)
            decided.wait(60)

    everybody = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in everybody:
        thread.start()
    for thread in everybody:
        thread.join(60)
    return inside


def test_of_two_threads_that_start_at_once_one_gets_in(root: str) -> None:
    for pair in range(PAIRS):
        folder = storage.join(root, str(pair))
        storage.make_folder(folder)
        assert sorted(race(folder, 2)) == [False, True]


def test_of_many_that_start_at_once_one_gets_in(root: str) -> None:
    assert sorted(race(root, 6)) == [False] * 5 + [True]


def test_a_slow_store_lets_nobody_else_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every request takes a while of its own: what one has read is old when it acts on it."""
    root = f"mock:///{tmp_path.name}-slow"
    for name in ("write_bytes", "read_bytes", "list_files"):
        plain: Callable[..., object] = getattr(storage, name)

        def late(*arguments: object, plain: Callable[..., object] = plain) -> object:
            time.sleep(hash(threading.get_ident() ^ time.monotonic_ns()) % 20 / 1000)
            result = plain(*arguments)
            time.sleep(hash(threading.get_ident() ^ time.monotonic_ns()) % 20 / 1000)
            return result

        monkeypatch.setattr(storage, name, late)
    for pair in range(10):
        storage.make_folder(f"{root}/{pair}")
        assert sorted(race(f"{root}/{pair}", 2)) == [False, True]
