"""Digests of shards beside them, from when they are written until ``dataset.json`` holds them.

A job that goes on keeps a finished shard only if its bytes are those that were written.
"""

from collections.abc import Iterable

from kinebert.preprocessing import storage
from kinebert.preprocessing.sets.dataset_file import ShardFacts

DIGESTS_FOLDER = ".digests"


def keep_digest(output: str, name: str, sha256: str) -> None:
    """Write down the digest of the shard ``name`` of ``output``. Comes before the shard, so that none is without."""
    folder = storage.join(output, DIGESTS_FOLDER)
    storage.make_folder(folder)
    try:
        storage.write_bytes(_place(output, name), sha256.encode())
    except OSError:  # a disk that is full
        if not storage.list_files(folder):
            storage.delete_folder(folder)
        raise


def keep_digests(output: str, shards: Iterable[ShardFacts]) -> None:
    """Write down the digests of a ``dataset.json`` that is about to go, from its list of shards."""
    for shard in shards:
        keep_digest(output, shard.name, shard.sha256)


def kept_digest(output: str, name: str) -> str | None:
    """The digest with which a shard was written; None if an earlier version wrote it."""
    place = _place(output, name)
    return storage.read_bytes(place).decode() if storage.exists(place) else None


def forget_digests(output: str) -> None:
    """Remove what :func:`keep_digest` wrote: the set is finished, and says it itself."""
    storage.delete_folder(storage.join(output, DIGESTS_FOLDER))


def _place(output: str, name: str) -> str:
    return storage.join(output, DIGESTS_FOLDER, f"{name}.sha256")
