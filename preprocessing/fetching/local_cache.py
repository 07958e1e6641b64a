"""Files that can be made again, kept on a disk of this node within a number of bytes, and shared by its processes."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.private_folder import make_private
from kinebert.preprocessing.storage import PARTIAL

_LOCK = ".lock"


class LocalCache:
    """A folder of files, of which those are deleted that nobody has used for longest when there is no room.

    Any number of processes use it at once. A file appears whole under its name or not at all; one that is deleted can
    be read to its end by who has opened it. What a killed process leaves is taken over or swept by the next.

    Args:
        folder: Made where it is not there; nobody but the user may get into it.
        max_bytes: Of all files together, those that are being written included.

    Raises:
        UserError: If the folder cannot be used.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        if not make_private(folder):
            raise UserError(
                f"{folder}: cannot be used as a cache: it must be a folder of your own that you can write to and "
                "others cannot. Name another one."
            )
        self.folder, self.max_bytes = folder, max_bytes

    def find(self, name: str) -> Path | None:
        """Return the path of a file and mark it as used now; None if it is not there."""
        path = self.folder / name
        try:
            os.utime(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return path

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def add(self, name: str, num_bytes: int, write: Callable[[BinaryIO], object]) -> Path | None:
        """Write a file, or replace it, and return its path.

        Args:
            name: Of the file.
            num_bytes: Its size, for which room is made.
            write: Writes it; if that raises, nothing appears.

        Returns:
            None if another process is writing it at this moment, or it is larger than the whole cache.
        """
        partial = self.folder / f".{name}{PARTIAL}"
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "r+b") as file:
            if not _lock(descriptor) or not _bears(partial, descriptor):
                return None
            try:
                if not self._reserve(descriptor, num_bytes):
                    partial.unlink()
                    return None
                write(file)
                file.flush()
                os.fdatasync(descriptor)
                with self._alone():  # who lists the folder while a file changes its name may not meet it at all
                    partial.replace(self.folder / name)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        return self.folder / name

    def _reserve(self, descriptor: int, num_bytes: int) -> bool:
        """Make room for a file and take it, so that others count it."""
        with self._alone():
            os.ftruncate(descriptor, 0)
            found = sorted(self._files())
            room = self.max_bytes - sum(size for _, size, _ in found)
            if num_bytes > self.max_bytes:
                return False
            for _, size, path in found:
                if room >= num_bytes:
                    break
                if not path.name.startswith("."):
                    path.unlink(missing_ok=True)
                    room += size
            if room < num_bytes:
                return False
            os.ftruncate(descriptor, num_bytes)
        return True

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (last use, bytes, path) of every file; those that a killed process was writing are deleted."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name == _LOCK or (entry.name.endswith(PARTIAL) and _sweep(entry.path)):
                    continue
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    yield found.st_mtime, found.st_size, Path(entry.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock of a file that is being written, which its writer's end gives back; False if somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True


def _bears(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to an open file: somebody may have renamed or swept it before it was locked."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sweep(path: str) -> bool:
    """Delete a file that nobody is writing any more; return whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        if not _lock(descriptor) or not _bears(Path(path), descriptor):
            return False
        os.unlink(path)
        return True
    finally:
        os.close(descriptor)
