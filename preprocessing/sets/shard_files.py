"""Segments of videos from the shards of a set: with one request for neighbours, and fetched ahead over networks."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.fetching.row_groups import OtherLayoutError, read_row_group
from kinebert.preprocessing.fetching.sources import Sources
from kinebert.preprocessing.machine import is_on_this_machine
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.schema import SEGMENT_LENGTH, segment_schema
from kinebert.preprocessing.sets.dataset_file import INDEX_FILE
from kinebert.preprocessing.sets.index import Index, VideoEntry
from kinebert.preprocessing.sets.shard_cache import ShardCache
from kinebert.preprocessing.sets.writer import footer_of
from kinebert.preprocessing.stores.answers import StorageError, StoreAwayError

Segment = list[Any]
"""Columns of one segment: encoded images as buffers (frames, or flow x and y), and numbers as they are."""
_OPEN_SHARDS, _OPEN_ROW_GROUPS = 64, 2000
"""Most footers that are held at once, and most row groups that they may tell of together (about 7 kB each)."""
_THREADS, _MOST_AHEAD = 8, 64
"""Requests of one process at a time, and most that are begun before somebody wants what they bring."""


class ShardFiles:
    """Opens the shards of a set when they are read. May be pickled; used by one thread.

    Args:
        uri: The set.
        modality: Of its pictures.
        digest: Of its recipe.
        index: Of its videos.
        joints: Whether people's joints lie beside the pictures.
    """

    def __init__(self, uri: str, modality: str, digest: str, index: Index, joints: bool = False) -> None:
        self._uri, self._modality, self._digest, self._index = uri, modality, digest, index
        self._schema = segment_schema(modality, joints)
        self._columns = [column.name for column in modality_of(modality).columns]
        self.is_far = not (storage.is_local(uri) and is_on_this_machine(uri))
        self._sources, self._keep_in = Sources(), ("", 0)
        self._start()

    def _start(self) -> None:
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._ahead: OrderedDict[tuple[str, int, int], Future[pa.Buffer]] = OrderedDict()
        self._pool: ThreadPoolExecutor | None = None
        self.cache = self._new_cache()

    def __getstate__(self) -> dict[str, Any]:
        mine = ("_files", "_ahead", "_pool", "cache")
        return {key: value for key, value in self.__dict__.items() if key not in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def keep_shards(self, folder: str, max_bytes: int) -> None:
        """Keep whole shards on a disk of this node, see :class:`.ShardCache`; those of a disk of its own are not."""
        if self.is_far and (folder, max_bytes) != self._keep_in:
            self._keep_in = folder, max_bytes
            self.cache = self._new_cache()

    def _new_cache(self) -> ShardCache | None:
        folder, max_bytes = self._keep_in
        return ShardCache(self._uri, self._index, folder, max_bytes) if max_bytes else None

    def expect(self, entry: VideoEntry, numbers: Sequence[int]) -> None:
        """Begin to fetch segments that will be asked for soon; on disks of this machine that would gain nothing."""
        if not self.is_far or not _has_ranges(entry):
            return
        for first, count in _runs(numbers):
            key = entry.shard, entry.first_row_group + first, count
            if key not in self._ahead:
                self._ahead[key] = self._begin(entry, first, count)
        while len(self._ahead) > _MOST_AHEAD:
            self._ahead.popitem(last=False)[1].cancel()

    def segments(
        self, entry: VideoEntry, numbers: Sequence[int], columns: Sequence[str] | None = None
    ) -> dict[int, Segment]:
        """Return segments of a video by their numbers, which are sorted.

        Args:
            entry: The video.
            numbers: Of the segments.
            columns: Names of those that are wanted; by default those of pictures.

        Raises:
            UserError: If the shard cannot be read, or its checksums say that it is damaged.
        """
        names = columns or self._columns
        if _has_ranges(entry):
            self.expect(entry, numbers)  # several runs at once
            try:
                return {number: row for run in _runs(numbers) for number, row in self._by_ranges(entry, *run, names)}
            except StoreAwayError:
                raise
            except (OtherLayoutError, OSError, pa.ArrowException, UserError):
                if self.cache is not None and self.cache.drop(self._index.shard_named(entry.shard)):
                    return self.segments(entry, numbers, names)  # from where the set lies
                # else the footer tells what is wrong, or how it is to be read
        return {number: self._by_footer(entry, number, names) for number in numbers}

    def _begin(self, entry: VideoEntry, first: int, count: int) -> Future[pa.Buffer]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="shards")
        return self._pool.submit(self._fetch, entry, first, count)

    def _fetch(self, entry: VideoEntry, first: int, count: int) -> pa.Buffer:
        """Return the bytes of neighbouring row groups of a video."""
        assert entry.first_byte is not None
        start = entry.first_byte + sum(entry.row_group_bytes[:first])
        num_bytes = sum(entry.row_group_bytes[first : first + count])
        shard = self._index.shard_named(entry.shard)
        if start + num_bytes > shard.bytes:
            raise OtherLayoutError(f"{start + num_bytes} bytes of {shard.bytes}")
        data = self.cache.read(shard, start, num_bytes) if self.cache is not None else None
        if data is None:
            data = self._sources.read(storage.join(self._uri, shard.name), shard.bytes, start, num_bytes)
        return data

    def _by_ranges(
        self, entry: VideoEntry, first: int, count: int, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Segment]]:
        """Yield neighbouring segments with their numbers, read at once."""
        future = self._ahead.pop((entry.shard, entry.first_row_group + first, count), None)
        data = self._fetch(entry, first, count) if future is None else future.result()
        at = 0
        for number in range(first, first + count):
            row = read_row_group(data.slice(at, entry.row_group_bytes[number]), self._schema)
            at += entry.row_group_bytes[number]
            expected = min(SEGMENT_LENGTH, entry.num_images - number * SEGMENT_LENGTH)
            if (row["video_id"], row["segment"], row["num_images"]) != (entry.video_id, number, expected):
                raise OtherLayoutError("the row group of another segment")
            yield number, [row[name] for name in columns or self._columns]

    def _by_footer(self, entry: VideoEntry, number: int, columns: Sequence[str]) -> Segment:
        file = self._file(entry.shard)
        try:
            table = file.read_row_group(entry.first_row_group + number, columns=list(columns))
        except StorageError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{storage.join(self._uri, entry.shard)}: {entry.video_id}: segment {number} cannot be read: "
                f"{str(error).splitlines()[0]}. `kinebert verify` tells whether the shard is damaged: then delete it, "
                "and extract again."
            ) from None
        return [_value(table.column(name).chunk(0)) for name in columns]

    def _file(self, shard: str) -> pq.ParquetFile:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        uri = storage.join(self._uri, shard)
        try:
            if storage.is_local(uri):
                storage.check_regular(uri)
            source = uri if storage.is_local(uri) else storage.open_input(uri)
            file = pq.ParquetFile(source, memory_map=False, page_checksum_verification=True)
        except StorageError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{uri}: not a readable shard: {error}. `kinebert verify` tells more.") from None
        self._check_shard(uri, file)
        self._files[shard] = file
        while len(self._files) > 1 and (
            len(self._files) > _OPEN_SHARDS or sum(f.num_row_groups for f in self._files.values()) > _OPEN_ROW_GROUPS
        ):
            self._files.popitem(last=False)[1].close()
        return file

    def _check_shard(self, uri: str, file: pq.ParquetFile) -> None:
        """Make sure that a shard is this set's, and has the columns and row groups that are read from it."""
        name, footer, schema = storage.name_of(uri), footer_of(file.metadata, uri), self._schema
        last = self._index.last_row_group(name)
        if footer["kinebert.digest"] != self._digest:
            problem = f"it was made by recipe {footer['kinebert.digest']}, the set by {self._digest}"
        elif footer["kinebert.files"] != self._index.shard_named(name).files:
            problem = "it was made from other videos, as that of another set"
        elif [(field.name, field.type) for field in file.schema_arrow] != [(f.name, f.type) for f in schema]:
            problem = f"its columns are {', '.join(file.schema_arrow.names)}, expected {', '.join(schema.names)}"
        elif last > file.num_row_groups:
            problem = f"it has {file.num_row_groups} row groups, {INDEX_FILE} counts {last}"
        else:
            return
        raise UserError(f"{uri}: not the shard of this set: {problem}. Delete it, and extract again.")


def _value(column: pa.Array) -> Any:
    """Return the one value of a column: a number, or buffers."""
    return [value.as_buffer() for value in column.values] if pa.types.is_list(column.type) else column[0].as_py()


def _has_ranges(entry: VideoEntry) -> bool:
    return entry.first_byte is not None and len(entry.row_group_bytes) == entry.num_row_groups


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return (first, how many) of every run of neighbours in sorted numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][0] + runs[-1][1]:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((number, 1))
    return runs
