"""Cores are those that the process may use, not those that the machine has; filesystems are told by their mounts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinebert.preprocessing import machine
from kinebert.preprocessing.machine import available_cores, environment, process_started
from tests.helpers.paths import ROOT
from tests.helpers.requirements import needs


@needs("system", hasattr(os, "sched_setaffinity"), "this system binds no process to cores")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    code = "import os; from kinebert.preprocessing.machine import available_cores as a\n" + (
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(a())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "1\n"


def test_where_nothing_is_bound_it_is_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(machine, "core_limit", lambda: None)
    assert available_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # unknown
    assert available_cores() == 1


@pytest.mark.parametrize(("limit", "cores"), [(2.5, 2), (0.5, 1), (64.0, 12)])
def test_a_container_that_has_the_time_of_some_cores_has_so_many(
    limit: float, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.setattr(machine, "core_limit", lambda: limit)
    assert available_cores() == cores


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw
31 30 8:2 / /home/my\\040disk rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/s3 rw - fuse.s3fs s3fs rw
33 22 0:42 / /data rw - ext4 /dev/sdc1 rw
34 22 0:43 / /data rw - lustre 10.0.0.1@tcp:/l rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/usr/x", "ext4"),
        ("/home/me/set", "nfs4"),
        ("/home/my disk/set", "xfs"),
        ("/homes", "ext4"),
        ("/mnt/s3", "fuse.s3fs"),
        ("/data/set", "lustre"),
    ],
)
def test_the_filesystem_of_a_path_is_that_of_its_mount(
    path: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(machine, "_MOUNTS", tmp_path / "mountinfo")
    assert machine.filesystem_of(path) == kind
    assert machine.is_on_this_machine(path) == (kind in ("ext4", "xfs")), "not what a server holds"


def test_where_nobody_tells_of_mounts_nothing_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MOUNTS", tmp_path / "absent")
    assert not machine.is_on_this_machine("/")


def test_variables_are_as_before_when_a_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEBERT_OF_A_TEST", "before")
    monkeypatch.delenv("KINEBERT_NOT_THERE", raising=False)
    with environment({"KINEBERT_OF_A_TEST": "inside", "KINEBERT_NOT_THERE": "inside"}):
        assert (os.environ["KINEBERT_OF_A_TEST"], os.environ["KINEBERT_NOT_THERE"]) == ("inside", "inside")
    assert os.environ["KINEBERT_OF_A_TEST"] == "before"
    assert "KINEBERT_NOT_THERE" not in os.environ


@needs("system", Path("/proc/self/stat").exists(), "there is no /proc")
def test_a_process_is_known_by_when_it_was_started() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        mine, its = process_started(os.getpid()), process_started(child.pid)
        assert mine is not None
        assert its is not None
        assert int(mine) < int(its)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still there
        assert process_started(child.pid) is None
    finally:
        child.communicate()
    assert process_started(child.pid) is None
