"""A private cluster that does not start, or loses a process that it cannot do without."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from kinebert.orchestration import cluster as _cluster
from kinebert.orchestration import ray_processes
from kinebert.orchestration.ray_processes import GivenWatch, Watch, end_processes, marked
from kinebert.preprocessing.errors import UserError

# isort: split
import ray

_SLEEP = "import time; time.sleep(600)"
_WITH_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {_SLEEP!r}]); {_SLEEP}"
Sleeper = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    """Start a process that does nothing."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str = _SLEEP) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen([sys.executable, "-c", code]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it ends within seconds, and not by itself; its status is not known, as somebody else has asked for it."""
    process.wait(10)
    return True


def test_marked_processes_end_with_their_children_and_no_others(tmp_path: Path, sleeper: Sleeper) -> None:
    before = sleeper()
    with marked(str(tmp_path)):
        parent = sleeper(_WITH_CHILD)
    after = sleeper()
    assert "KINEBERT_CLUSTER" not in os.environ
    wait_for(lambda: psutil.Process(parent.pid).children())
    (child,) = psutil.Process(parent.pid).children()
    with marked(f"{tmp_path}-of-another"):
        other = sleeper()
    end_processes(str(tmp_path))
    assert has_ended(parent)
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert [process.poll() for process in (before, after, other)] == [None, None, None]


def test_a_block_that_waits_for_a_lost_process_ends_in_one_line(
    tmp_path: Path, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_processes, "_INTERRUPT_AFTER_S", 1.0)
    noisy, shut = logging.getLogger("ray.noisy"), []
    with marked(str(tmp_path)):
        raylet, gcs = sleeper(), sleeper()
    handler = signal.getsignal(ray_processes._SIGNAL)
    watch = Watch(str(tmp_path), {"gcs_server": gcs, "raylet": raylet}, lambda: shut.append(has_ended(gcs)))

    def wait_for_ray() -> None:
        with watch:
            raylet.kill()
            while not noisy.disabled:
                time.sleep(0.01)
            noisy.error("pages of state")
            time.sleep(60)

    with pytest.raises(UserError, match=r"^the raylet of this program's own Ray .* same command again to continue"):
        wait_for_ray()
    assert shut == [True]  # what is left is killed first, so that nobody waits for it
    assert "pages" not in capfd.readouterr().err
    assert signal.getsignal(ray_processes._SIGNAL) == handler
    assert not noisy.disabled


def test_an_error_that_comes_before_the_loss_is_seen_is_told_as_the_loss(tmp_path: Path, sleeper: Sleeper) -> None:
    with marked(str(tmp_path)):
        gcs = sleeper()

    def fail() -> None:
        with Watch(str(tmp_path), {"gcs_server": gcs}, lambda: None):
            gcs.kill()
            raise RuntimeError("a stack of Ray")

    with pytest.raises(UserError, match="the gcs_server of"):
        fail()


def test_other_errors_and_results_pass(tmp_path: Path, sleeper: Sleeper) -> None:
    with marked(str(tmp_path)):
        process = sleeper()
    with pytest.raises(KeyError), Watch(str(tmp_path), {"raylet": process}, lambda: None):
        raise KeyError("ours")
    assert has_ended(process)  # whatever shutting down leaves
    with marked(str(tmp_path)):
        process = sleeper()
    with Watch(str(tmp_path), {"raylet": process}, lambda: None):
        process.kill()
        process.wait()
        done = True
    assert done  # it was finished without what was lost


def test_a_program_that_cannot_be_interrupted_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "kb"
    folder.mkdir()
    code = f"""
import signal, subprocess, sys, threading, time
from kinebert.orchestration import ray_processes
ray_processes._INTERRUPT_AFTER_S = ray_processes._END_AFTER_S = 0.3
with ray_processes.marked({str(folder)!r}):
    process = subprocess.Popen([sys.executable, "-c", {_SLEEP!r}])
    other = subprocess.Popen([sys.executable, "-c", {_SLEEP!r}])
with ray_processes.Watch({str(folder)!r}, {{"gcs_server": process}}, lambda: None):
    signal.pthread_sigmask(signal.SIG_BLOCK, [ray_processes._SIGNAL])
    process.kill()
    print(other.pid, flush=True)
    time.sleep(600)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: the gcs_server of this program's own Ray was killed or has crashed")
    assert ended.stderr.count("\n") == 1
    assert not folder.exists()
    assert not psutil.pid_exists(int(ended.stdout)) or psutil.Process(int(ended.stdout)).status() == "zombie"


@contextmanager
def _folders(made: list[str], folder: Path) -> Iterator[str]:
    made.append(str(folder / str(len(made))))
    try:
        yield made[-1]
    finally:
        made.append("removed")


@pytest.mark.parametrize("failures", [1, 2])
def test_a_start_that_fails_is_tried_once_more(
    failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sleeper: Sleeper
) -> None:
    made: list[str] = []
    left: list[subprocess.Popen[bytes]] = []

    def start(**options: Any) -> None:
        assert options["_temp_dir"] == f"{made[-1]}/r"
        left.append(sleeper())
        if len(left) <= failures:
            raise Exception("The current node timed out during startup.\nPages of state.")

    monkeypatch.delenv(_cluster.GIVEN, raising=False)
    monkeypatch.setattr(_cluster, "_TOO_LATE", False)
    monkeypatch.setattr(_cluster, "_own_folder", lambda: _folders(made, tmp_path))
    monkeypatch.setattr(_cluster, "_describe", lambda private: _cluster.Cluster(2, 0, private))
    monkeypatch.setattr(_cluster, "_watch", lambda folder: Watch(folder, {"raylet": left[-1]}, lambda: None))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    if failures == 1:
        with _cluster.cluster() as found:
            assert has_ended(left[0])  # what the first left is gone
            assert found == _cluster.Cluster(2, 0, True)
        assert made == [str(tmp_path / "0"), "removed", str(tmp_path / "2"), "removed"]
    else:
        told = r"^Ray did not start .*, tried twice: The current node timed out during startup\. Is it very busy"
        with pytest.raises(UserError, match=told) as refused, _cluster.cluster():
            pytest.fail("it started")
        assert "\n" not in str(refused.value)
    assert len(left) == 2


class Head:
    """A GCS that answers until it is gone."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.asked = 0

    def ask(self) -> None:
        self.asked += 1
        time.sleep(0.01)
        if self.gone.is_set():
            raise RuntimeError("Timed out while waiting for GCS to become available.")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask more often than in earnest."""
    monkeypatch.setattr(ray_processes, "_ASK_EVERY_S", 0.02)
    monkeypatch.setattr(ray_processes, "_INTERRUPT_AFTER_S", 0.5)


@pytest.mark.usefixtures("quick")
def test_a_given_head_that_is_lost_ends_whoever_waits_for_it(capfd: pytest.CaptureFixture[str]) -> None:
    head, left = Head(), list[bool]()

    def wait_for_ray() -> None:
        with GivenWatch("h:1", head.ask, lambda: left.append(True)):
            head.gone.set()
            time.sleep(60)

    with pytest.raises(UserError, match=r"^the head of the Ray cluster at h:1 no longer answers.* same command again"):
        wait_for_ray()
    assert left == [True]
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("quick")
def test_a_given_head_that_comes_back_in_time_is_not_lost() -> None:
    head, noisy = Head(), logging.getLogger("ray.noisy")
    with GivenWatch("h:1", head.ask, lambda: None):
        for _ in range(3):
            head.gone.set()
            wait_for(lambda: noisy.disabled)
            head.gone.clear()
            wait_for(lambda: not noisy.disabled)
    asked = head.asked
    time.sleep(0.2)
    assert head.asked == asked  # nobody asks a cluster that was left


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("gone", "expected"), [(True, UserError), (False, KeyError)])
def test_an_error_is_told_as_the_loss_only_if_there_is_one(gone: bool, expected: type[Exception]) -> None:
    head = Head()
    if gone:
        head.gone.set()
    with pytest.raises(expected), GivenWatch("h:1", head.ask, lambda: None):
        raise KeyError("ours")
