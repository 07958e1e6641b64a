"""A store that answers every request after a while, in the place of the disk that a set lies on."""

import time

import pyarrow as pa

from kinebert.preprocessing.fetching.sources import Sources
from kinebert.preprocessing.sets.reader import ShardSet


class SlowSources(Sources):
    """Reads files as its parent does, each time after ``latency_s`` seconds; several threads wait beside each other."""

    def __init__(self, latency_s: float) -> None:
        super().__init__()
        self._latency_s = latency_s

    def __reduce__(self) -> tuple[type, tuple[float]]:  # type: ignore[override]
        return SlowSources, (self._latency_s,)

    def read(self, uri: str, file_bytes: int, start: int, num_bytes: int) -> pa.Buffer:
        """Wait, and read."""
        time.sleep(self._latency_s)
        return super().read(uri, file_bytes, start, num_bytes)


def slowed(uri: str, latency_s: float) -> ShardSet:
    """Open a set as one that is far away: each request for its bytes takes ``latency_s`` seconds more."""
    shards = ShardSet.open(uri)
    files = shards._files
    files.is_far, files._sources = True, SlowSources(latency_s)
    return shards
