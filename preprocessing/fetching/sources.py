"""Parts of files, wherever they lie, with one request each."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable

import pyarrow as pa
import pyarrow.dataset as pads

from kinebert.preprocessing import storage

ReadAt = Callable[[int, int], pa.Buffer]
"""Gives bytes of one file, from a position on, and so many; fewer at its end."""
_OPEN_FILES = 64


class Sources:
    """Files that are open for reading, the last used ones. May be used by several threads, and pickled."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, ReadAt] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Sources, ()

    def read(self, uri: str, file_bytes: int, start: int, num_bytes: int) -> pa.Buffer:
        """Return bytes of a file; fewer than asked for if it ends before.

        Args:
            uri: The file.
            file_bytes: Its size, as is known from elsewhere: a store need not be asked for it.
            start: Where they begin.
            num_bytes: How many.

        Raises:
            OSError: If it cannot be opened or read.
            UserError: If it is a pipe, a socket or a device.
        """
        with self._lock:
            read_at = self._open.pop(uri, None)
        read_at = read_at or (_local(uri) if storage.is_local(uri) else _remote(uri, file_bytes))
        with self._lock:
            self._open[uri] = read_at
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)  # closed when nobody reads from it
        return read_at(start, num_bytes)


def _local(path: str) -> ReadAt:
    file = open(storage.open_regular(path), "rb", buffering=0)  # noqa: SIM115 - closed with the last reference to it

    def read_at(start: int, num_bytes: int) -> pa.Buffer:
        # not mapped into memory: should a disk fail, or its server, that would end the process by a signal
        return pa.py_buffer(os.pread(file.fileno(), num_bytes, start))

    return read_at


def _remote(uri: str, file_bytes: int) -> ReadAt:
    fs, path = storage.open_filesystem(uri)
    # a filesystem that opens a file by its path alone asks for its size first, which takes as long as reading from it
    file = pads.ParquetFileFormat().make_fragment(path, fs, file_size=file_bytes).open()

    def read_at(start: int, num_bytes: int) -> pa.Buffer:
        return pa.py_buffer(file.read_at(max(0, min(num_bytes, file_bytes - start)), start))

    return read_at
