"""Shards of a set that lies far away, whole, on a disk of this node: later epochs are read from there."""

import errno
import hashlib
import queue
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.fetching.local_cache import LocalCache
from kinebert.preprocessing.fetching.sources import Sources
from kinebert.preprocessing.machine import filesystem_of, is_on_this_machine
from kinebert.preprocessing.private_folder import user_cache
from kinebert.preprocessing.sets.dataset_file import ShardFacts
from kinebert.preprocessing.sets.index import Index

_BLOCK = 2**23
_WAITING = 4
"""Shards that may wait to be fetched; who finds no place among them comes again."""


class ShardCache:
    """Fetches whole shards in the background, one after the other, and reads from those that are there.

    Shards bear their SHA-256 as names: sets share what they have in common, and a restart finds it. If the set is
    larger than the cache, as many of its shards as fit are kept, and the others are always read from far away: to
    exchange them would fetch them all again in every epoch.

    Args:
        uri: The set.
        index: Of its videos.
        folder: Where they are kept; empty for a folder in the user's cache.
        max_bytes: Of all that lies there, of this set and others.

    Raises:
        UserError: If the folder cannot be used, or itself lies on a server.
    """

    def __init__(self, uri: str, index: Index, folder: str, max_bytes: int) -> None:
        place = Path(folder) if folder else user_cache() / "shards"
        self._cache, self._uri, self._max_bytes = LocalCache(place, max_bytes), uri, max_bytes
        if not is_on_this_machine(place):
            kind = filesystem_of(place) or "an unknown filesystem"
            raise ConfigError(
                f"data.cache_folder: {place} lies on {kind}, not on a disk of this node, so that nothing would be "
                "gained. Name a folder on one of its disks."
            )
        sizes = np.array(index.shard_sizes(), np.int64)
        self._kept = dict(zip(index.shard_names(), (np.cumsum(sizes) <= max_bytes).tolist(), strict=True))
        self._sources, self._wanted = Sources(), queue.Queue[ShardFacts](_WAITING)
        self._asked: set[str] = set()
        self._thread: threading.Thread | None = None

    def read(self, shard: ShardFacts, start: int, num_bytes: int) -> pa.Buffer | None:
        """Return bytes of a shard; None if it is not there, and then it is fetched for the next time."""
        if not shard.sha256 or not self._kept.get(shard.name):
            return None
        path = self._cache.find(shard.sha256)
        if path is not None:
            data = self._sources.read(str(path), shard.bytes, start, num_bytes)
            if len(data) == num_bytes:
                return data
            self.drop(shard)
        self._want(shard)
        return None

    def drop(self, shard: ShardFacts) -> bool:
        """Delete a shard whose bytes have changed on this node's disk; return whether it was there."""
        was_there = bool(shard.sha256) and self._cache.find(shard.sha256) is not None
        if was_there:
            self._cache.remove(shard.sha256)
            self._sources = Sources()  # without the file that is open
            self._asked.discard(shard.name)
        return was_there

    def _want(self, shard: ShardFacts) -> None:
        if shard.name in self._asked:
            return
        try:
            self._wanted.put_nowait(shard)
        except queue.Full:
            return
        self._asked.add(shard.name)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shard cache", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            shard = self._wanted.get()
            try:
                self.fetch(shard)
            except (OSError, UserError, pa.ArrowException) as error:
                print(f"{self._cache.folder}: {shard.name} is not kept there: {error}", flush=True)
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    self._asked.update(self._kept)  # what is there is read; nothing more is fetched
            finally:
                self._wanted.task_done()

    def fetch(self, shard: ShardFacts) -> Path | None:
        """Copy a shard to this node unless another process does so; see :meth:`.LocalCache.add`.

        Raises:
            UserError: If its bytes do not have the digest that the set recorded.
            OSError: If it cannot be read, or the disk is full.
        """
        if self._cache.find(shard.sha256) is not None:
            return None

        def copy(file: BinaryIO) -> None:
            state, uri = hashlib.sha256(), storage.join(self._uri, shard.name)
            for start in range(0, shard.bytes, _BLOCK):
                block = self._sources.read(uri, shard.bytes, start, min(_BLOCK, shard.bytes - start))
                state.update(block)
                file.write(block)
            if state.hexdigest() != shard.sha256:
                raise UserError(f"{uri}: its bytes are not those that were written. `kinebert verify` tells more.")

        return self._cache.add(shard.sha256, shard.bytes, copy)

    def wait(self) -> None:
        """Return when everything that was wanted so far has been fetched."""
        self._wanted.join()
