"""What keeps one video from holding up a job: markers that outlive a process, and a watchdog."""

import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.extraction import guard
from kinebert.preprocessing.extraction.guard import (
    ATTEMPTS_FOLDER,
    Attempts,
    Limits,
    TimeIsUp,
    Watchdog,
    die_of,
    sweep,
    sweep_after_stopping,
)


@pytest.fixture(params=["disk", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on a disk, and one in pyarrow's filesystem in memory."""
    uri = str(tmp_path) if request.param == "disk" else f"mock:///{tmp_path.name}"
    storage.make_folder(uri)
    return uri


def test_an_attempt_that_ends_leaves_nothing(root: str) -> None:
    with Attempts(root, "job").attempt("a/b"):
        assert len(storage.list_files(storage.join(root, ATTEMPTS_FOLDER, "job"))) == 1
    with pytest.raises(KeyError), Attempts(root, "job").attempt("a/b"):
        raise KeyError("an error is no death")
    assert storage.list_files(storage.join(root, ATTEMPTS_FOLDER, "job")) == []
    assert not Attempts(root, "job").suspects("a/b")


def test_deaths_are_counted_by_video(root: str) -> None:
    unfinished = [Attempts(root, "job").attempt("a") for _ in range(guard.MAX_ATTEMPTS)]
    for deaths, attempt in enumerate(unfinished, start=1):
        attempt.__enter__()  # and never left, as by a process that was killed
        found = Attempts(root, "job")
        assert found.suspects("a")
        assert (found.given_up("a") is None) == (deaths < guard.MAX_ATTEMPTS)
        assert not found.suspects("b")
    assert found.given_up("a") == "crash: its worker process died 3 times at this video"


def test_a_marker_that_was_not_written_whole_is_no_death(root: str) -> None:
    folder = storage.join(root, ATTEMPTS_FOLDER, "job")
    storage.make_folder(folder)
    storage.write_bytes(storage.join(folder, f"{guard._key('a')}.0123{storage.PARTIAL}"), b"")
    assert not Attempts(root, "job").suspects("a")


def test_a_verdict_outlives_its_process_and_its_reason_is_kept(root: str) -> None:
    Attempts(root, "job").condemn("ä/b", "time: no image came for 3 s (stall_limit_s)")
    found = Attempts(root, "job")
    assert found.suspects("ä/b")
    assert found.given_up("ä/b") == "time: no image came for 3 s (stall_limit_s)"
    assert Attempts(root, "another").given_up("ä/b") is None


def test_sweeping_forgets_all_jobs_and_keeps_shards(root: str) -> None:
    Attempts(root, "job").condemn("a", "why")
    for name in (f".shard.parquet.0{storage.PARTIAL}", "shard.parquet"):
        storage.write_bytes(storage.join(root, name), b"x")
    sweep(root)
    assert storage.list_files(root) == ["shard.parquet"]
    assert Attempts(root, "job").given_up("a") is None
    sweep(root)


def test_what_a_stopped_worker_writes_late_goes_too(tmp_path: Path) -> None:
    def write_late() -> None:
        time.sleep(0.4)
        Attempts(str(tmp_path), "job").condemn("a", "why")
        (tmp_path / f".shard.parquet.0{storage.PARTIAL}").write_bytes(b"x")

    worker = threading.Thread(target=write_late)
    worker.start()
    sweep_after_stopping(str(tmp_path))
    worker.join()
    assert list(tmp_path.iterdir()) == []


def test_whoever_gives_images_is_left_alone() -> None:
    hung: list[str] = []
    with Watchdog(Limits(stall_limit_s=0.4), hung.append) as watchdog:
        for _ in range(12):
            time.sleep(0.05)
            watchdog.beat()
    time.sleep(0.6)  # it has ended with its block
    assert hung == []


def test_a_video_without_images_is_reported_once() -> None:
    hung: list[str] = []
    with Watchdog(Limits(stall_limit_s=0.1), hung.append):
        time.sleep(0.6)
    assert hung == ["time: no image came for 0.1 s (stall_limit_s)"]


def test_a_slow_video_is_ended_from_inside() -> None:
    hung: list[str] = []
    with Watchdog(Limits(time_limit_s=0.1, stall_limit_s=60), hung.append) as watchdog:
        watchdog.beat()
        time.sleep(0.2)
        with pytest.raises(TimeIsUp, match=r"^time: not done after 0\.1 s \(time_limit_s\)$"):
            watchdog.beat()
    assert hung == []


def test_whoever_never_says_a_word_has_a_little_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_GRACE_S", 0.2)
    hung, told = [], threading.Event()

    def tell(reason: str) -> None:
        hung.append(reason)
        told.set()

    start = time.monotonic()
    with Watchdog(Limits(time_limit_s=0.1, stall_limit_s=60), tell):
        assert told.wait(20)
    assert time.monotonic() - start > 0.3
    assert hung == ["time: not done after 0.1 s (time_limit_s)"]


def _hang(output: str) -> None:
    with Watchdog(Limits(stall_limit_s=0.2), die_of(Attempts(output, "job"), "v")):
        time.sleep(3600)


def test_a_hang_ends_the_process_after_the_verdict_is_written(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_hang, args=(str(tmp_path),))
    process.start()
    process.join(60)
    assert process.exitcode == 70
    assert Attempts(str(tmp_path), "job").given_up("v") == "time: no image came for 0.2 s (stall_limit_s)"


def test_time_in_which_the_process_was_suspended_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-Z and fg an hour later: the clock jumps between two looks."""
    hung: list[str] = []
    shift_s, plain = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: plain() + shift_s[0])
    with Watchdog(Limits(time_limit_s=1800, stall_limit_s=2), hung.append) as watchdog:
        shift_s[0] = 3600.0
        time.sleep(1.2)
        assert hung == []
        watchdog.beat()
        time.sleep(4)
        assert len(hung) == 1  # and from then on it does
