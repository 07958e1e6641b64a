"""Segments of videos from the shards of a set."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.schema import segment_schema
from kinebert.preprocessing.sets.dataset_file import INDEX_FILE
from kinebert.preprocessing.sets.index import Index, VideoEntry
from kinebert.preprocessing.sets.writer import footer_of

Segment = list[list[pa.Buffer]]
"""Encoded images of one segment, by column: frames, or flow x and y."""
_OPEN_SHARDS, _OPEN_ROW_GROUPS = 64, 2000
"""Most footers that are held at once, and most row groups that they may tell of together (about 7 kB each)."""


class ShardFiles:
    """Opens the shards of a set when they are read. May be pickled.

    Args:
        uri: The set.
        modality: Of its pictures.
        digest: Of its recipe.
        index: Of its videos.
    """

    def __init__(self, uri: str, modality: str, digest: str, index: Index) -> None:
        self._uri, self._modality, self._digest, self._index = uri, modality, digest, index
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def segments(self, entry: VideoEntry, numbers: Sequence[int]) -> dict[int, Segment]:
        """Return segments of a video by their numbers.

        Raises:
            UserError: If the shard cannot be read, or its checksums say that it is damaged.
        """
        return {number: self._by_footer(entry, number) for number in numbers}

    def _by_footer(self, entry: VideoEntry, number: int) -> Segment:
        columns = [column.name for column in modality_of(self._modality).columns]
        file = self._file(entry.shard)
        try:
            table = file.read_row_group(entry.first_row_group + number, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{storage.join(self._uri, entry.shard)}: {entry.video_id}: segment {number} cannot be read: "
                f"{str(error).splitlines()[0]}. `kinebert verify` tells whether the shard is damaged: then delete it, "
                "and extract again."
            ) from None
        return [[value.as_buffer() for value in table.column(name).chunk(0).values] for name in columns]

    def _file(self, shard: str) -> pq.ParquetFile:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        uri = storage.join(self._uri, shard)
        try:
            if storage.is_local(uri):
                storage.check_regular(uri)
            source = uri if storage.is_local(uri) else storage.open_input(uri)
            # never mapped: should the disk of a server fail, the process would end by a signal
            file = pq.ParquetFile(source, memory_map=False, page_checksum_verification=True)
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
        name, footer, schema = storage.name_of(uri), footer_of(file.metadata, uri), segment_schema(self._modality)
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
