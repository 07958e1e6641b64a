"""A worker that gives no sign of life is killed, and nobody else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from kinebert.orchestration import silent_workers
from kinebert.orchestration.silent_workers import Roll, Watch, Worker, allowed_silence_s, give_signs, kill
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.machine import process_started

A, B = Worker("n", "here", 1, "7"), Worker("n", "here", 2, "7")


class Local:
    """Stands in for the handle of an actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._actor, name))


def ask(roll: Roll, seconds: float) -> list[Any]:
    """Let a driver ask for so long; return the last answer."""
    return [roll.silent() for _ in range(int(seconds / silent_workers._ASK_S))][-1]


@pytest.fixture
def stopped() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that a signal has stopped."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    os.kill(process.pid, signal.SIGSTOP)
    yield process
    process.kill()
    process.wait()


def test_who_is_silent_is_named_until_forgotten() -> None:
    roll = Roll(10.0)
    roll.lives(A)
    roll.lives(B, "actor")
    assert ask(roll, 8) == []
    roll.lives(A)
    assert ask(roll, 3) == [(B, "actor")]
    roll.forget(B)
    assert ask(roll, 5) == []
    assert ask(roll, 3) == [(A, None)]


def test_a_driver_that_does_not_ask_finds_nobody_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    roll = Roll(10.0)
    roll.lives(A)
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    assert roll.silent() == []


def test_only_the_process_that_is_meant_is_killed(stopped: "subprocess.Popen[bytes]") -> None:
    since = process_started(stopped.pid)
    assert since
    assert kill(stopped.pid, str(int(since) - 1)) is None  # its id was given again
    assert psutil.pid_exists(stopped.pid)
    assert kill(stopped.pid, since) is True
    assert stopped.wait(10) == -signal.SIGKILL
    assert (process_started(stopped.pid), kill(stopped.pid, since)) == (None, None)


@pytest.mark.parametrize(
    ("ended", "actor", "said", "killed", "stuck"),
    [
        (True, "actor", 1, [], False),
        (None, "actor", 0, [], False),
        (False, "actor", 1, ["actor"], False),
        (False, None, 0, [], True),
    ],
)
def test_what_is_said_and_done(
    monkeypatch: pytest.MonkeyPatch, ended: bool | None, actor: Any, said: int, killed: list[Any], stuck: bool
) -> None:
    """Also of a process that not even SIGKILL ends, as in the kernel's uninterruptible sleep."""
    roll, words, dead = Roll(1.0), list[str](), list[Any]()
    monkeypatch.setattr("ray.get", lambda answer: answer)
    monkeypatch.setattr("ray.kill", dead.append)
    monkeypatch.setattr(silent_workers, "_end", lambda worker: ended)
    roll.lives(A, actor)
    ask(roll, 2)
    watch = Watch(Local(roll), words.append, 1.0)
    watch.look()
    watch.look()
    assert (len(words), dead) == (said, killed)
    assert all(word.startswith("process 1 on here gave no sign of life for 1 s: stopped, perhaps") for word in words)
    if stuck:
        with pytest.raises(UserError, match="cannot be killed"):
            watch.check()
    else:
        watch.check()


def test_signs_are_given_beside_the_work_until_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Worker] = []

    class Hears:
        def lives(self, worker: Worker, actor: Any) -> "Future[bool]":
            heard.append(worker)
            answer: Future[bool] = Future()
            answer.set_result(len(heard) < 3)
            return SimpleNamespace(future=lambda: answer)  # type: ignore[return-value]

    monkeypatch.setattr(silent_workers, "_SIGN_S", 0.01)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "n"))
    roll = Local(Hears())
    give_signs(roll)
    give_signs(roll)
    end = time.monotonic() + 10
    while str(roll) in silent_workers._speaking and time.monotonic() < end:
        time.sleep(0.01)
    assert heard == [Worker("n", os.uname().nodename, os.getpid(), process_started(os.getpid()))] * 3
    give_signs(None)


@pytest.mark.parametrize(("given", "silence_s"), [(None, 300.0), ("0", 0.0), ("12.5", 12.5)])
def test_the_time_that_is_allowed(monkeypatch: pytest.MonkeyPatch, given: str | None, silence_s: float) -> None:
    monkeypatch.delenv(silent_workers.SILENCE, raising=False)
    if given is not None:
        monkeypatch.setenv(silent_workers.SILENCE, given)
    assert allowed_silence_s() == silence_s


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(silent_workers.SILENCE, given)
    with pytest.raises(ConfigError, match=f"^KINEBERT_SILENCE_S={given}: expected seconds"):
        allowed_silence_s()
