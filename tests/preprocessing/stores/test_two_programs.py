"""Two programs in one folder of a store are kept apart: started at once, killed, slow, or out of the store's reach."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier

import pytest

from kinebert.preprocessing import folder_lock, storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import RUNNING_FILE, held
from kinebert.preprocessing.stores import limits
from kinebert.preprocessing.stores.answers import StoreAwayError
from tests.helpers.object_store import KEYS
from tests.helpers.paths import ROOT
from tests.helpers.s3_server import BUCKET, query, s3_server, way_to

HOLD = """
import sys, time
from kinebert.preprocessing.folder_lock import held

with held(sys.argv[1], "train"):
    print("held", flush=True)
    time.sleep(60)
"""
ROUNDS = 5


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with s3_server() as found:
            yield found


def folder(port: int, name: str, of: str = "") -> str:
    uri = f"s3://{BUCKET}/{name}?{of or query(port)}"
    storage.make_folder(uri)
    return uri


def _ask(uri: str, barrier: Barrier, decided: Barrier, inside: "multiprocessing.Queue[tuple[int, bool]]") -> None:
    for number in range(ROUNDS):
        barrier.wait(120)
        try:
            with held(storage.join(uri, str(number)), "train"):
                inside.put((number, True))
                decided.wait(120)
        except UserError as error:
            inside.put((number, "another kinebert train works here" not in str(error)))
            decided.wait(120)


@pytest.mark.slow
@pytest.mark.parametrize("well", [True, False])
def test_of_three_processes_that_start_at_once_one_gets_in(port: int, well: bool) -> None:
    """Also where each fifth request is answered 503, or its answer is lost."""
    count = [0]

    def some(method: str, path: str) -> int | str | None:
        count[0] += 1
        return (503, "lost", None, None, None, None, None, None, None, None)[count[0] % 10]

    with way_to(port) as (way, of):
        uri = folder(port, f"at-once-{well}", of)
        for number in range(ROUNDS):
            storage.make_folder(storage.join(uri, str(number)))
        way.fault = way.fault if well else some
        spawn = multiprocessing.get_context("spawn")
        barrier, decided, inside = spawn.Barrier(3), spawn.Barrier(3), spawn.Queue()
        all_of_them = [spawn.Process(target=_ask, args=(uri, barrier, decided, inside)) for _ in range(3)]
        for process in all_of_them:
            process.start()
        answers = [inside.get(timeout=240) for _ in range(3 * ROUNDS)]
        for process in all_of_them:
            process.join(120)
            assert process.exitcode == 0
    assert sorted(number for number, got_in in answers if got_in) == list(range(ROUNDS))


def test_a_killed_program_keeps_nobody_out(port: int) -> None:
    uri = folder(port, "killed")
    command = [sys.executable, "-c", HOLD, uri]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ))
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another kinebert train works here"):
        held(uri, "train").__enter__()
    other.send_signal(signal.SIGKILL)
    other.wait()
    with held(uri, "train"):
        pass
    assert storage.list_files(uri) == []


def test_another_machine_of_the_same_name_is_another(port: int) -> None:
    """Nodes that were made from one image may all be called localhost; their process numbers mean nothing here."""
    uri = folder(port, "namesake")
    path = storage.join(uri, RUNNING_FILE)
    with held(uri, "train"):
        mark = json.loads(storage.read_bytes(path))
    gone = {**mark, "pid": 2**22 + 1, "token": "another"}
    storage.write_bytes(path, json.dumps({**gone, "numbers": "another boot pid:[1]"}).encode())
    with pytest.raises(UserError, match="another kinebert train works here"):
        held(uri, "train").__enter__()
    storage.write_bytes(path, json.dumps(gone).encode())
    with held(uri, "train"):  # of this machine, and it is not there
        pass
    storage.write_bytes(path, json.dumps({k: v for k, v in gone.items() if k != "numbers"}).encode())
    with held(uri, "train"):  # as earlier versions wrote it
        pass


def test_whoever_cannot_tell_does_not_get_in(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that the store does not give out for a while may be a living program's."""
    monkeypatch.setattr(limits, "TRIES", 3)
    limits.opened.cache_clear()
    with held(folder(port, "untold"), "train"), way_to(port) as (way, of):
        way.fails(float("inf"), 503, f"(GET|HEAD) .*{RUNNING_FILE}")
        with pytest.raises(StoreAwayError, match="does not answer as it should"):
            held(folder(port, "untold", of), "train").__enter__()
    limits.opened.cache_clear()


def test_a_claim_that_took_too_long_counts_for_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have taken its maker for dead meanwhile."""
    monkeypatch.setattr(folder_lock, "_DEAD_AFTER_S", 0.6)
    with way_to(port) as (way, of):
        uri = folder(port, "late", of)

        def late(method: str, path: str) -> None:
            if "list-type" in path:
                time.sleep(0.4)

        way.fault = late
        with pytest.raises(UserError, match="the store is too slow to tell who works here"):
            held(uri, "train").__enter__()
        assert storage.list_files(uri) == []
