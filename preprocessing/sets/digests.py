"""What is known of each shard, in a folder beside them, from when they are written until ``dataset.json`` holds it.

A job that goes on keeps a finished shard only if it is what was written, and knows without reading it what it holds.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import document_text, parse_document
from kinebert.preprocessing.checked.values import Count
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.sets.dataset_file import ShardFacts
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary, summarize

DIGESTS_FOLDER = ".digests"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the footer of a shard says."""

    recipe: str
    """Digest of its recipe."""
    files: str
    """Digest of the files that it was made from."""
    videos: list[VideoSummary]
    solver: str | None = None
    row_groups: list[Count] = field(default_factory=list)
    """Where each row group begins, and where the last one ends; empty where an earlier version wrote this down."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What was written down of one shard."""

    sha256: str
    bytes: Count | None = None
    """Size of its file; None if an earlier version wrote this down."""
    sources: str | None = None
    """Digest of the files that it was made from, see :meth:`.PlannedShard.sources_digest`."""
    contents: Contents | None = None
    """What its footer says; None where that has to be read."""

    def is_of(self, uri: str, num_bytes: int) -> bool:
        """Whether the shard at ``uri``, of so many bytes, is the one that was written.

        On a disk, where bits flip, all of its bytes are looked at; a store keeps what it was given, so that the size
        is enough.
        """
        if self.bytes is not None and num_bytes != self.bytes:
            return False
        return (self.bytes is not None and not storage.is_local(uri)) or storage.file_digest(uri) == self.sha256

    def summary(self, uri: str) -> ShardSummary:
        """What the shard at ``uri`` holds; its footer is read only where nothing of it was written down."""
        if self.bytes is None or self.contents is None:
            return replace(summarize(uri, self.sha256), sources=self.sources)
        known = self.contents
        return ShardSummary(
            name=storage.name_of(uri),
            num_bytes=self.bytes,
            sha256=self.sha256,
            files=known.files,
            videos=tuple(known.videos),
            sources=self.sources,
            solver=known.solver,
            recipe=known.recipe,
            row_group_bounds=tuple(known.row_groups),
        )


def keep_record(output: str, shard: ShardSummary) -> None:
    """Write down what a shard of ``output`` holds. Comes before the shard itself, so that none is without."""
    contents = Contents(
        recipe=shard.recipe,
        files=shard.files,
        videos=list(shard.videos),
        solver=shard.solver,
        row_groups=list(shard.row_group_bounds),
    )
    record = ShardRecord(sha256=shard.sha256, bytes=shard.num_bytes, sources=shard.sources, contents=contents)
    _keep(output, shard.name, record)


def keep_facts(output: str, shards: Iterable[ShardFacts]) -> None:
    """Write down what a ``dataset.json`` that is about to go says of its shards."""
    for shard in shards:
        _keep(output, shard.name, ShardRecord(sha256=shard.sha256, bytes=shard.bytes, sources=shard.sources))


def kept_record(output: str, name: str) -> ShardRecord | None:
    """What was written down of the shard ``name``; None if it was made by a version that did not.

    Raises:
        ConfigError: If that is damaged.
    """
    place, of_earlier_versions = _place(output, name, "json"), _place(output, name, "sha256")
    if storage.exists(place):
        remedy = "Delete it: the shard is then read instead."
        return parse_document(ShardRecord, storage.read_bytes(place), place, "the record of a shard", remedy)
    if storage.exists(of_earlier_versions):
        sha256, _, sources = storage.read_bytes(of_earlier_versions).decode().partition(" ")
        return ShardRecord(sha256=sha256, sources=sources or None)
    return None


def forget_records(output: str) -> None:
    """Remove all of them: the set is finished, and says it itself."""
    storage.delete_folder(storage.join(output, DIGESTS_FOLDER))


def _keep(output: str, name: str, record: ShardRecord) -> None:
    folder = storage.join(output, DIGESTS_FOLDER)
    storage.make_folder(folder)
    try:
        storage.write_bytes(_place(output, name, "json"), document_text(asdict(record)).encode())
    except OSError:  # a disk that is full
        if not storage.list_files(folder):
            storage.delete_folder(folder)
        raise


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


def _place(output: str, name: str, kind: str) -> str:
    return storage.join(output, DIGESTS_FOLDER, f"{name}.{kind}")
