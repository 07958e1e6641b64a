"""What stores say when something is wrong, in one line that a user can act on."""

import errno
import functools
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import pyarrow.fs as pafs

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.plain_text import without_passwords
from kinebert.preprocessing.stores import limits

Function = TypeVar("Function", bound=Callable[..., Any])
_OF_AWS = re.compile(r"AWS Error (?P<code>\w+)(?: \(HTTP status (?P<status>\d+)\))? during \w+ operation: (?P<said>.*)")
_TROUBLE = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|THROTTL|UNAVAILABLE|INTERNAL_|TIME_?OUT|TIMED.OUT|BANDWIDTH|status (5\d\d|408|429)"
    r"|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|connection|resolve host",
    re.IGNORECASE,
)

_NO_ROOM = "Failed to flush response stream"


class StorageError(UserError, OSError):
    """A store refuses what it is asked for."""


class StoreAwayError(StorageError):
    """A store did not answer, or asked for patience, as often as it was asked; at another time it may."""


def told(uri: str, error: OSError) -> StorageError:
    """Return the error for what a store's library said of ``uri``."""
    text = " ".join(str(error).split())
    found = _OF_AWS.search(text)
    said = text if found is None else found["said"]
    if found is not None and (not said or "No response body" in said):  # the answer to a HEAD has none
        said = f"HTTP status {found['status']}" if found["status"] else found["code"]
    elif found is not None and found["code"] not in ("UNKNOWN", "NETWORK_CONNECTION"):
        said = f"{found['code']}: {said}"
    said = "an error in place of the file's bytes" if _NO_ROOM in said else without_passwords(said).rstrip(".")
    shown = without_passwords(uri)
    if _TROUBLE.search(text if found is None else text[found.start() :]):
        return StoreAwayError(
            f"{shown}: the store does not answer as it should, asked {limits.TRIES} times in a minute: {said}. Look "
            "whether it is well and can be reached from here, and give the same command again: what is done stays done."
        )
    return StorageError(
        f"{shown}: the store refuses: {said}. Look at the address, at the keys in the environment, and at what they "
        "may do there."
    )


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what a store's library raises about ``uri`` in this block into a :class:`StorageError`.

    Raises:
        FileNotFoundError: As it is.
        StorageError: For every other OSError.
    """
    try:
        yield
    except (FileNotFoundError, UserError):
        raise
    except OSError as error:
        raise told(uri, error) from None


def of_stores(ask: Function) -> Function:
    """Let a function of a location, if that is a store's, raise as :func:`answering` says."""

    @functools.wraps(ask)
    def asked(uri: str, *args: Any, **kwargs: Any) -> Any:
        if "://" not in uri:
            return ask(uri, *args, **kwargs)
        with answering(uri):
            return ask(uri, *args, **kwargs)

    return cast(Function, asked)


class StoreFile(io.BufferedIOBase):
    """A file of a store, open for random reads."""

    def __init__(self, uri: str, fs: pafs.FileSystem, path: str) -> None:
        self._uri, self._fs, self._path = uri, fs, path
        self._file = fs.open_input_file(path)

    def read(self, size: int | None = -1) -> bytes:
        """Return so many of the next bytes; all that are left by default."""
        return self._patiently(lambda: self._file.read(None if size is None or size < 0 else size))

    def read_at(self, size: int, start: int) -> bytes:
        """Return so many bytes from a position on; fewer at the end. May be called by several threads."""
        return self._patiently(lambda: self._file.read_at(size, start))

    def _patiently(self, read: Callable[[], bytes]) -> bytes:
        """Ask again where pyarrow does not: it has no room for an error that is longer than the bytes it asked for."""
        with answering(self._uri):
            for pause_s in limits.pauses_s():
                try:
                    return read()
                except OSError as error:
                    if _NO_ROOM not in str(error):
                        raise
                    if self._fs.get_file_info(self._path).type == pafs.FileType.NotFound:  # since it was opened
                        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._uri) from None
                    time.sleep(pause_s)
            return read()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, and return it from the file's beginning."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Give it up."""
        self._file.close()
        super().close()
