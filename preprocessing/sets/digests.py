"""Digests of shards beside them, from when they are written until ``dataset.json`` holds them.

A job that goes on keeps a finished shard only if its bytes are those that were written.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kinebert.preprocessing import storage
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.sets.dataset_file import ShardFacts

DIGESTS_FOLDER = ".digests"


@dataclass(frozen=True)
class Written:
    """What is known of a shard that was written."""

    sha256: str
    """Of its bytes."""
    sources: str | None
    """Digest of the files that it was made from, see :meth:`.PlannedShard.sources_digest`."""


def keep_digest(output: str, name: str, sha256: str, sources: str | None = None) -> None:
    """Write down the digest of the shard ``name`` of ``output``, and that of what it was made from.

    Comes before the shard, so that none is without.
    """
    folder = storage.join(output, DIGESTS_FOLDER)
    storage.make_folder(folder)
    try:
        storage.write_bytes(_place(output, name), " ".join([sha256, *([sources] if sources else [])]).encode())
    except OSError:  # a disk that is full
        if not storage.list_files(folder):
            storage.delete_folder(folder)
        raise


def keep_digests(output: str, shards: Iterable[ShardFacts]) -> None:
    """Write down the digests of a ``dataset.json`` that is about to go, from its list of shards."""
    for shard in shards:
        keep_digest(output, shard.name, shard.sha256, shard.sources)


def kept_digest(output: str, name: str) -> Written | None:
    """What is known of a shard that was written; None if an earlier version wrote it."""
    place = _place(output, name)
    if not storage.exists(place):
        return None
    sha256, _, sources = storage.read_bytes(place).decode().partition(" ")
    return Written(sha256, sources or None)


def changed_shards(
    output: str, shards: Sequence[ShardFacts], on_shard: Callable[[int], None] = lambda done: None
) -> list[str]:
    """Return the names of a finished set's shards whose bytes are not those that were written.

    Shards on local disks are read, some at once; ``on_shard`` is told how many are done. Those of object stores, which
    keep what was put whole, are not read back: `kinebert verify` does that.
    """
    if not storage.is_local(output):
        return []
    changed = []
    with ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(lambda shard: storage.file_digest(storage.join(output, shard.name)), shards)
        for done, (shard, sha256) in enumerate(zip(shards, found, strict=True), start=1):
            changed += [shard.name] * (sha256 != shard.sha256)
            on_shard(done)
    return changed


def forget_digests(output: str) -> None:
    """Remove what :func:`keep_digest` wrote: the set is finished, and says it itself."""
    storage.delete_folder(storage.join(output, DIGESTS_FOLDER))


def _place(output: str, name: str) -> str:
    return storage.join(output, DIGESTS_FOLDER, f"{name}.sha256")
