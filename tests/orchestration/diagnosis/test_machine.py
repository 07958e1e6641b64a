"""What is said of cores, memory, shared memory, open files and disks, by their numbers."""

import os
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinebert.orchestration.diagnosis import folders, machine
from kinebert.training.data.shared_memory import PREFETCH

GIB, MIB = 2**30, 2**20


@pytest.mark.parametrize(
    ("usable", "there", "limit", "words"),
    [
        (8, 8, None, "8"),
        (2, 64, 2.5, "2 of the machine's 64: a control group allows the time of 2.5"),
        (4, 64, None, "4 of the machine's 64: the process is bound to them"),
    ],
)
def test_cores_are_those_that_may_be_used(usable: int, there: int, limit: float | None, words: str) -> None:
    found = machine.cores(usable, there, limit)
    assert (found.state, found.found) == ("ok", words)


@pytest.mark.parametrize(("available", "state"), [(20 * GIB, "ok"), (3 * GIB, "note"), (200 * MIB, "wrong")])
def test_little_memory_is_said(available: int, state: str) -> None:
    found = machine.memory(64 * GIB, available, limited=True)
    assert (found.state, bool(found.remedy)) == (state, state != "ok")
    assert found.found.endswith("of 64.0 GiB, a limit of the control group")


BATCH = 16 * 16 * 112**2 * 3
"""Bytes of a batch of validation of the default recipe."""


@pytest.mark.parametrize(
    ("free", "gpus", "cores", "state"),
    [
        (64 * MIB, 0, 64, "ok"),  # no loader processes on a CPU
        (8 * (2 * 7 + 1) * BATCH, 8, 64, "ok"),
        (8 * (2 * 7 + 1) * BATCH - 1, 8, 64, "note"),
        (64 * MIB, 8, 64, "wrong"),
        (64 * MIB, 1, 1, "ok"),  # no core is left for a loader
    ],
)
def test_shared_memory_is_judged_by_the_formula(free: int, gpus: int, cores: int, state: str) -> None:
    assert PREFETCH == 2
    found = machine.shared_memory(free, gpus, cores)
    assert found.state == state
    assert ("--shm-size" in found.remedy) == (state != "ok")
    if state == "note":
        assert "6 each fit, and are what is started" in found.found


@pytest.mark.parametrize(
    ("soft", "hard", "state", "words"),
    [
        (65536, 65536, "ok", "65536"),
        (1024, 4096, "ok", "1024, at most 4096"),
        (512, resource.RLIM_INFINITY, "note", "512, at most any number"),
        (64, 64, "wrong", "64"),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, "ok", "unlimited"),
    ],
)
def test_open_files(soft: int, hard: int, state: str, words: str) -> None:
    found = machine.open_files(soft, hard)
    assert (found.state, found.found) == (state, words)
    assert ("ulimit -n" in found.remedy) == (state != "ok")


def room(free: int, names: int = 10**6) -> SimpleNamespace:
    """What the system says of a disk."""
    return SimpleNamespace(f_bavail=free // 4096, f_frsize=4096, f_blocks=10**9, f_files=2 * 10**6, f_favail=names)


@pytest.mark.parametrize(
    ("free", "names", "state", "words"),
    [
        (500 * GIB, 10**6, "ok", "500 GiB free"),
        (5 * GIB, 10**6, "note", "5.0 GiB free"),
        (100 * MIB, 10**6, "wrong", "100 MiB free"),
        (500 * GIB, 3, "wrong", "3 files can still be made"),
    ],
)
def test_room_on_a_disk(
    free: int, names: int, state: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: room(free, names))
    found = folders.disk(str(tmp_path / "not" / "there"), ["sets"])
    assert (found.state, bool(found.remedy)) == (state, state != "ok")
    assert words in found.found
    assert found.found.startswith(f"{tmp_path}/not/there: ")


def test_a_folder_that_may_not_be_written_to_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert folders.disk(str(tmp_path / "file"), []).found == f"{tmp_path}/file: this is no folder"
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = folders.disk(str(tmp_path / "set"), [])
    assert found.state == "wrong"
    assert f"no right to write to {tmp_path}" in found.found
    assert not (tmp_path / "set").exists()


def test_folders_of_one_disk_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "t"))
    monkeypatch.setattr(folders, "_OF_RAY", str(tmp_path / "r"))
    (found,) = folders.look([str(tmp_path / "sets")])
    purposes = (
        "as asked",
        f"sets and runs ({tmp_path})",
        f"temporary files ({tmp_path}/t)",
        f"a private Ray ({tmp_path}/r)",
    )
    assert found.found.endswith("); " + "; ".join(purposes))


def test_an_address_that_no_filesystem_is_known_for() -> None:
    found = folders.remote("nosuch://bucket/sets")
    assert found.state == "wrong"
    assert "nosuch://" in found.found
