"""What this process may use of its machine, and what it is told of others there."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "rootfs", "tmpfs", "xfs", "zfs"})
"""Filesystems of disks and of the memory of a machine. Others may be those of servers."""
_MOUNTS = Path("/proc/self/mountinfo")
_CONTROL_GROUPS, _GROUPS_OF_THIS_PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 2**60
"""Bytes from which on a limit is none: version 1 of control groups writes the largest number of pages that it knows."""


def available_cores() -> int:
    """Return how many cores this process may use, which can be fewer than the machine has.

    Whoever has the time of 2.5 cores, as a container may, has 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = core_limit()
    return cores if limit is None else max(1, min(cores, int(limit)))


def core_limit() -> float | None:
    """Return how many cores' time this process's control groups allow, such as 1.5; None if nothing limits it."""
    limits = []
    for folder in _control_groups("cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            limits += [float(quota) / float(period)] if quota != "max" and float(quota) > 0 else []
    return min(limits, default=None)


def memory_limit() -> int | None:
    """Return how many bytes of memory this process's control groups allow; None if nothing limits it."""
    limits = []
    for folder in _control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):
                limits.append(int((folder / name).read_text()))
    return min((limit for limit in limits if limit < _UNLIMITED), default=None)


def _control_groups(controller: str) -> Iterator[Path]:
    """The groups that this process is in, and those around them, by both versions of control groups.

    In a container the names are those of the machine, and its own group is mounted in the place of the root.
    """
    try:
        lines = _GROUPS_OF_THIS_PROCESS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = _CONTROL_GROUPS / names if names else _CONTROL_GROUPS
        root = root if root.exists() else _CONTROL_GROUPS / controller
        group = Path(path.lstrip("/"))
        yield from (root / one for one in (group, *group.parents))


def filesystem_of(path: str | Path) -> str:
    """Return the type of the filesystem that a path lies in, such as ``ext4`` or ``nfs4``; empty where nobody says."""
    place, best, found = os.path.realpath(path), -1, ""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, kind = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount.split()[4]).rstrip("/")
        if (place == point or place.startswith(f"{point}/")) and len(point) >= best:  # the later one lies on top
            best, found = len(point), kind.split()[0]
    return found


def is_on_this_machine(path: str | Path) -> bool:
    """Whether a path lies on a disk or in the memory of this machine, as far as the types of its mounts tell.

    What a server holds is slow to come, and must not be mapped into memory: should it fail, the process would end by a
    signal.
    """
    return filesystem_of(path) in _LOCAL


def process_started(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks; None if there is none, it has died, or no /proc is.

    With it a process is known from a later one that was given the same number.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # killed, and nobody has asked how it ended
    except (OSError, ValueError, IndexError):
        return None


def process_numbers_of() -> str:
    """Return whose process numbers this process sees: the kernel's start, and the container's; empty without /proc.

    Where two agree, a number means the same process; names of machines are often alike.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started in the block, and for those that these start."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
