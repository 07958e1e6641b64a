"""Disks: where sets, runs and temporary files go, how much room is there, and whether it may be written to."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from kinebert.orchestration.diagnosis.findings import Finding, note, ok, size, wrong
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.machine import filesystem_of, is_on_this_machine

LITTLE, VERY_LITTLE, FEW_NAMES = 10 * 2**30, 2**30, 10_000
"""Bytes: of 10 GiB a set of 500,000 frames; of 1 GiB not even a training's files. Files that can still be made."""
_OF_RAY = "/tmp"
_FRAME_BYTES = 23_000
"""Of a frame of 340x256 in a set."""


def look(given: Sequence[str] = ()) -> Iterator[Finding]:
    """Look at folders that are ``given`` (absolute paths or URIs), and at those that programs use by themselves."""
    local: dict[str, list[str]] = {}
    for uri in given:
        if storage.is_local(uri):
            local.setdefault(uri, []).append("as asked")
        else:
            yield remote(uri)
    here = "a copy of the code" if storage.in_submitted_job() else "sets and runs"
    usual = ((os.getcwd(), here), (tempfile.gettempdir(), "temporary files"), (_OF_RAY, "a private Ray"))
    for place, purpose in usual:
        local.setdefault(place, []).append(purpose)
    for place, purposes in _by_disk(local).items():
        yield disk(place, purposes)


def disk(folder: str, purposes: Sequence[str]) -> Finding:
    """Judge a local folder, which need not be there yet, by what may be written to its disk."""
    subject, nearest = "disk", _nearest(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        return wrong(subject, f"{folder}: this is no folder", "Give a folder; it need not be there yet.")
    room = os.statvfs(nearest)
    free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    kind = filesystem_of(nearest)
    far = "" if is_on_this_machine(nearest) else ", not a disk of this machine"
    found = f"{folder}: {size(free)} free of {size(total)} ({kind or 'unknown'}{far}); {'; '.join(purposes)}"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return wrong(
            subject, f"{found}; no right to write to {nearest}", "Work in another folder, or change its rights."
        )
    if free < VERY_LITTLE:
        return wrong(subject, found, "Free some space, or choose another place (--output, TMPDIR).")
    if room.f_files and room.f_favail < FEW_NAMES:
        return wrong(subject, f"{found}; {room.f_favail} files can still be made", "Remove files that nobody needs.")
    if free < LITTLE:
        frames = int(free / _FRAME_BYTES / 1000)
        return note(subject, found, f"A frame of a set (340x256) takes 23 kB: {frames},000 fit. Choose a larger disk.")
    return ok(subject, found)


def remote(uri: str) -> Finding:
    """Judge an object store by whether it answers."""
    try:
        there = storage.exists(uri)
    except (OSError, UserError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        return wrong("storage", f"{uri}: {reason}", "Check the address, the region and the keys in the environment.")
    return ok("storage", f"{uri} {'is there' if there else 'answers; there is nothing yet'}")


def _by_disk(folders: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The first folder of each disk, with what it and the others of that disk are for."""
    first: dict[int, str] = {}
    found: dict[str, list[str]] = {}
    for folder, purposes in folders.items():
        place = first.setdefault(os.stat(_nearest(folder)).st_dev, folder)
        others = purposes if folder == place else [f"{purpose} ({folder})" for purpose in purposes]
        found.setdefault(place, []).extend(others)
    return found


def _nearest(folder: str) -> str:
    """The folder, or the nearest around it that is there."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
