"""Limits of cores and memory, as both versions of control groups write them, in a container and outside of one."""

from pathlib import Path

import pytest

from kinebert.preprocessing import machine
from kinebert.preprocessing.machine import core_limit, memory_limit

GIB = 2**30


def laid(folder: Path, monkeypatch: pytest.MonkeyPatch, of_process: str, files: dict[str, str]) -> None:
    """Lay a tree of groups in ``folder``."""
    for name, text in files.items():
        (folder / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fs" / name).write_text(f"{text}\n")
    (folder / "cgroup").write_text(of_process)
    monkeypatch.setattr(machine, "_CONTROL_GROUPS", folder / "fs")
    monkeypatch.setattr(machine, "_GROUPS_OF_THIS_PROCESS", folder / "cgroup")


@pytest.mark.parametrize(
    ("of_process", "files", "cores", "memory"),
    [
        ("0::/\n", {"cpu.max": "150000 100000", "memory.max": str(4 * GIB)}, 1.5, 4 * GIB),  # in a container
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        (  # a job in a slice of the machine: the narrower of both counts
            "0::/jobs/7\n",
            {
                "jobs/cpu.max": "400000 100000",
                "jobs/7/cpu.max": "max 100000",
                "jobs/memory.max": "max",
                "jobs/7/memory.max": str(2 * GIB),
            },
            4.0,
            2 * GIB,
        ),
        (  # version 1: one tree for each controller; the names are of the machine, the files the container's own
            "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "200000",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": str(GIB),
            },
            2.0,
            GIB,
        ),
        (
            "4:memory:/\n3:cpu:/\n0::/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": str(2**63 - 4096),
            },
            None,
            None,
        ),
        ("0::/\n", {"cpu.max": "nonsense", "memory.max": ""}, None, None),
    ],
)
def test_the_narrowest_limit_counts(
    of_process: str,
    files: dict[str, str],
    cores: float | None,
    memory: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laid(tmp_path, monkeypatch, of_process, files)
    assert (core_limit(), memory_limit()) == (cores, memory)


def test_where_there_are_no_control_groups_nothing_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_GROUPS_OF_THIS_PROCESS", tmp_path / "absent")
    assert (core_limit(), memory_limit()) == (None, None)
