"""What this process may use of its machine, and what it is told of others there."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "rootfs", "tmpfs", "xfs", "zfs"})
"""Filesystems of disks and of the memory of a machine. Others may be those of servers."""
_MOUNTS = Path("/proc/self/mountinfo")


def available_cores() -> int:
    """Return how many cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
