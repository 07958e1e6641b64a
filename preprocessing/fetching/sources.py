"""Parts of files, wherever they lie, with one request each."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable

import pyarrow as pa

from kinebert.preprocessing import storage

ReadAt = Callable[[int, int], pa.Buffer]
"""Gives bytes of one file, from a position on, and so many; fewer at its end."""
_OPEN_LOCAL, _OPEN_REMOTE = 64, 4096
"""Files that stay open: a local one takes one of the few descriptors of a process, one of a store some memory only."""


class Sources:
    """Files that are open for reading, the last used ones. May be used by several threads, and pickled."""

    def __init__(self) -> None:
        self._local: OrderedDict[str, ReadAt] = OrderedDict()
        self._remote: OrderedDict[str, ReadAt] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Sources, ()

    def read(self, uri: str, file_bytes: int, start: int, num_bytes: int) -> pa.Buffer:
        """Return bytes of a file; fewer than asked for if it ends before.

        Args:
            uri: The file.
            file_bytes: Its size, as is known from elsewhere.
            start: Where they begin.
            num_bytes: How many.

        Raises:
            OSError: If it cannot be opened or read.
            UserError: If it is a pipe, a socket or a device, or the store that holds it does not answer.
        """
        near = storage.is_local(uri)
        files, most = (self._local, _OPEN_LOCAL) if near else (self._remote, _OPEN_REMOTE)
        with self._lock:
            read_at = files.pop(uri, None)
        read_at = read_at or (_local(uri) if near else _remote(uri, file_bytes))
        with self._lock:
            files[uri] = read_at
            if len(files) > most:
                files.popitem(last=False)  # closed when nobody reads from it
        return read_at(start, num_bytes)


def _local(path: str) -> ReadAt:
    file = open(storage.open_regular(path), "rb", buffering=0)  # noqa: SIM115 - closed with the last reference to it

    def read_at(start: int, num_bytes: int) -> pa.Buffer:
        # not mapped into memory: should a disk fail, or its server, that would end the process by a signal
        return pa.py_buffer(os.pread(file.fileno(), num_bytes, start))

    return read_at


def _remote(uri: str, file_bytes: int) -> ReadAt:
    file = storage.open_input(uri)  # which asks a store for its size, once

    def read_at(start: int, num_bytes: int) -> pa.Buffer:
        return pa.py_buffer(file.read_at(max(0, min(num_bytes, file_bytes - start)), start))

    return read_at
