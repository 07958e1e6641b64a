"""One program at a time works in a folder, on a disk and where there are no locks."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kinebert.preprocessing import folder_lock, storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import EXTRACTION, RUNNING_FILE, held
from kinebert.preprocessing.stores.answers import StoreAwayError
from tests.helpers.locked_folders import root
from tests.helpers.paths import ROOT

__all__ = ["root"]

HOLD = """
import sys, time
from kinebert.preprocessing.folder_lock import held

with held(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path, program: str = EXTRACTION) -> subprocess.Popen[str]:
    """Start a process that holds ``folder`` until it is killed."""
    arguments = [sys.executable, "-c", HOLD, str(folder), program]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def refusal(folder: str | Path, program: str = EXTRACTION) -> str:
    """What whoever asks for a folder that is held is told."""
    with pytest.raises(UserError) as error, held(str(folder), program):
        raise AssertionError("two at once")
    return str(error.value)


def test_a_second_job_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    other = hold(tmp_path)
    with pytest.raises(UserError, match=rf"another job \(process {other.pid} on .*\) is filling this folder"):
        held(str(tmp_path), EXTRACTION).__enter__()
    other.kill()
    other.wait()
    with held(str(tmp_path), EXTRACTION):
        assert json.loads((tmp_path / RUNNING_FILE).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def foreign_mark(path: Path, age_s: float, clock_ahead_s: float = 0.0) -> None:
    """Write what another machine wrote ``age_s`` ago onto a disk of both; its clock may be ahead of the disk's."""
    now = time.time()
    sign = {"host": "elsewhere", "pid": 1, "started": "1", "time": now - age_s + clock_ahead_s}
    path.write_text(json.dumps(sign))
    os.utime(path, (now - age_s, now - age_s))


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
@pytest.mark.parametrize(("age_s", "refused"), [(10.0, True), (3600.0, False)])
def test_a_clock_that_is_wrong_elsewhere_neither_lets_two_in_nor_keeps_all_out(
    tmp_path: Path, age_s: float, refused: bool, ahead_s: float
) -> None:
    foreign_mark(tmp_path / RUNNING_FILE, age_s, ahead_s)
    if refused:
        assert "gave its last sign of life 10 s ago" in refusal(tmp_path)
    else:
        with held(str(tmp_path), EXTRACTION):
            pass


@pytest.mark.parametrize("jump_s", [-7200.0, 7200.0])
def test_a_clock_that_is_set_here(root: str, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    """While the folder is held, and while another asks for it."""
    with held(root, "train"):
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + jump_s)
        assert "another kinebert train works here" in refusal(root)
    assert storage.list_files(root) == []


@pytest.mark.parametrize(("age_s", "refused"), [(10.0, True), (3600.0, False)])
def test_a_job_elsewhere_counts_while_it_gives_signs_of_life(tmp_path: Path, age_s: float, refused: bool) -> None:
    foreign_mark(tmp_path / RUNNING_FILE, age_s)
    if refused:
        with pytest.raises(UserError, match="process 1 on elsewhere"):
            held(str(tmp_path), EXTRACTION).__enter__()
        assert "gave its last sign of life 10 s ago; after 120 s without one it counts as ended" in refusal(tmp_path)
    else:
        with held(str(tmp_path), EXTRACTION):
            pass


def test_a_damaged_mark_holds_nothing(root: str) -> None:
    storage.write_bytes(storage.join(root, RUNNING_FILE), b"{")
    with held(root, EXTRACTION):
        pass


def test_a_second_program_is_refused_and_the_next_one_is_not(root: str) -> None:
    for _ in range(2):
        with held(root, "train"):
            assert refusal(root, "train").endswith("another kinebert train works here. Wait for its end, or end it.")
            assert "another kinebert train works here" in refusal(root, "tune"), "it names whoever is there"
            assert "another kinebert train works here" in refusal(root, EXTRACTION)
        assert storage.list_files(root) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: cannot write to this folder"), held(f"{tmp_path}/absent", "train"):
        raise AssertionError("nowhere")


def test_an_error_inside_frees_the_folder_and_passes(root: str) -> None:
    with pytest.raises(KeyError, match="bug"), held(root, "train"):
        raise KeyError("bug")
    with held(root, "train"):
        pass


def test_a_store_that_is_away_is_asked_for_nothing_more(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question would take a minute. The mark that stays stops nobody."""
    asked = list[str]()

    def lose_the_store() -> None:
        monkeypatch.setattr(storage, "delete_file", asked.append)
        raise StoreAwayError("away")

    with pytest.raises(StoreAwayError), held(root, "train"):
        lose_the_store()
    monkeypatch.undo()
    assert (asked == []) == (not storage.is_local(root))
    with held(root, "train"):
        pass


def test_nothing_is_said_of_a_sign_of_life_that_the_end_of_a_program_cuts_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "_BEAT_S", 0.01)
    said, asked, over = list[threading.ExceptHookArgs](), threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "excepthook", said.append)

    def hang(*_: object) -> None:
        asked.set()
        over.wait(30)
        raise ValueError("the stores are closed")

    def lose_the_store() -> None:
        monkeypatch.setattr(storage, "write_bytes", hang)
        assert asked.wait(30)
        raise StoreAwayError("away")

    storage.make_folder(f"mock:///{tmp_path.name}")
    with pytest.raises(StoreAwayError), held(f"mock:///{tmp_path.name}", "train"):
        lose_the_store()
    (beat,) = [thread for thread in threading.enumerate() if thread.name == "folder lock"]
    over.set()
    beat.join(30)
    assert not beat.is_alive()
    assert said == []


def test_what_was_killed_while_it_asked_stops_nobody(tmp_path: Path) -> None:
    root = f"mock:///{tmp_path.name}"
    storage.make_folder(root)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    for name, mark in (
        ("here", folder_lock._Mark(pid=killed.pid, started="1")),
        ("lost", folder_lock._Mark(token="no longer claimed")),
    ):
        mark.write(storage.join(root, f".claim-{name}"))
    with held(root, "train"):
        assert storage.list_files(root) == [RUNNING_FILE]


def test_a_claim_that_stays_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "_DEAD_AFTER_S", 0.1)
    root = f"mock:///{tmp_path.name}"
    storage.make_folder(root)
    storage.write_bytes(storage.join(root, ".claim-0"), b"{")
    with pytest.raises(UserError, match=r"\.claim-0 keep others out\. Remove them if nothing works here"):
        held(root, "train").__enter__()
    assert storage.list_files(root) == [".claim-0"]


def test_it_gives_signs_of_life(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "_BEAT_S", 0.02)
    path = storage.join(root, RUNNING_FILE)

    def sign() -> float:
        return float(json.loads(storage.read_bytes(path))["time"])

    with held(root, "train"):
        first, deadline = sign(), time.monotonic() + 30
        while sign() <= first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN])
def test_whoever_was_thought_dead_leaves_the_next_ones_mark_alone(
    root: str, monkeypatch: pytest.MonkeyPatch, interrupts: Any
) -> None:
    """Also in the background, where a shell has SIGINT ignored."""
    monkeypatch.setattr(folder_lock, "_BEAT_S", 0.02)
    path = storage.join(root, RUNNING_FILE)
    other = json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "time": time.time(), "token": "theirs"})

    def thought_dead() -> None:
        with held(root, "train"):
            with folder_lock._alone(root):
                storage.write_bytes(path, other.encode())
            time.sleep(0.2)
            assert storage.read_bytes(path).decode() == other

    thread = threading.Thread(target=thought_dead)  # in the main one it would be interrupted, too
    thread.start()
    thread.join()
    assert storage.read_bytes(path).decode() == other
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        with pytest.raises(UserError, match="given up: a kinebert extract on elsewhere works here now"):
            hold_until_interrupted(root, other)
    finally:
        signal.signal(signal.SIGINT, before)
    assert storage.read_bytes(path).decode() == other


def hold_until_interrupted(root: str, other: str) -> None:
    """Hold a folder whose mark another one replaces."""
    storage.delete_file(storage.join(root, RUNNING_FILE))
    with held(root, "train"):
        with folder_lock._alone(root):
            storage.write_bytes(storage.join(root, RUNNING_FILE), other.encode())
        time.sleep(30)
        raise AssertionError("nobody interrupted it")


def test_a_stopped_process_still_holds(tmp_path: Path) -> None:
    other = hold(tmp_path, "train")
    try:
        other.send_signal(signal.SIGSTOP)
        assert "another kinebert train works here" in refusal(tmp_path, "train")
    finally:
        with suppress(ProcessLookupError):
            other.kill()
        other.wait()
    with held(str(tmp_path), "train"):
        pass
