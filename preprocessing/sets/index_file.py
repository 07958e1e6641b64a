"""``index.parquet`` as columns in memory, and as a local file that the processes of a node map into theirs."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.tables import parse_table, with_columns
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.fetching.local_cache import LocalCache
from kinebert.preprocessing.machine import is_on_this_machine
from kinebert.preprocessing.private_folder import user_cache
from kinebert.preprocessing.schema import INDEX, INDEX_MORE, INDEX_RANGES, INDEX_STILL
from kinebert.preprocessing.sets.dataset_file import INDEX_FILE, DatasetFile, ShardFacts, read_dataset_file

REMEDY = "Delete it, and extract again."
_LARGEST_SENT = 2**18
"""Bytes of columns that are sent to another process as they are."""
_LOCAL_BYTES = 2**31
"""Of all indexes that a user's node keeps as local files."""
_SHARD = pa.struct([("name", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string()), ("files", pa.string())])


class Columns:
    """Columns of an index, one chunk each. May be pickled: large ones are sent as the name of a local file.

    Args:
        table: As :func:`arranged` makes it.
        uri: The set, where they are read again should that file be gone; empty if there is none.
    """

    def __init__(self, table: pa.Table, uri: str = "") -> None:
        self.table, self._uri, self._path = table, uri, ""

    def __getstate__(self) -> dict[str, Any]:
        if self._uri and not self._path and self.table.nbytes > _LARGEST_SENT:
            self._path = _shared(self.table)
            if self._path:
                self.table = _mapped(self._path)
        return {"_uri": self._uri, "_path": self._path} if self._path else {**self.__dict__}

    @cached_property
    def table(self) -> pa.Table:
        """The columns; in a process that was sent them, from the moment when they are needed."""
        try:
            return _mapped(self._path)
        except (OSError, pa.ArrowException):  # given up for others since
            return arranged(read_index(self._uri)[0], still_there(self._uri).shards)


def still_there(uri: str) -> DatasetFile:
    """Read the ``dataset.json`` of a set that was opened before.

    Raises:
        UserError: If it is no longer there.
    """
    dataset = read_dataset_file(uri)
    if dataset is None:
        raise UserError(f"{uri}: this set is being made again. Start anew when it is done.")
    return dataset


def read_index(uri: str) -> tuple[pa.Table, str]:
    """Read the ``index.parquet`` of the set at ``uri``; return it as it is, checked, and the SHA-256 of its bytes.

    Raises:
        UserError: If it is damaged, or lacks columns.
        OSError: If it cannot be opened.
    """
    path = storage.join(uri, INDEX_FILE)
    data = storage.read_bytes(path)
    table = parse_table(data, path, REMEDY)
    more = [field for field in INDEX_MORE if table.schema.get_field_index(field.name) >= 0]
    return with_columns(table, pa.schema([*INDEX, *more]), path, REMEDY), hashlib.sha256(data).hexdigest()


def arranged(table: pa.Table, shards: Sequence[ShardFacts]) -> pa.Table:
    """Return the columns of an index with what is known of the shards in the place of their names."""
    known = pa.array([shard.name for shard in shards], pa.string())
    named = _one_chunk(table.column("shard"))
    unknown = pc.unique(named.filter(pc.invert(pc.is_in(named, known))))
    facts = [{"name": s.name, "bytes": s.bytes, "sha256": s.sha256, "files": s.files} for s in shards]
    facts += [{"name": name} for name in unknown.to_pylist()]
    names = pa.array([fact["name"] for fact in facts], pa.string())
    places = pc.index_in(named, names).cast(pa.int32())
    columns = {field.name: table.column(field.name) for field in table.schema}
    columns["shard"] = pa.DictionaryArray.from_arrays(places, pa.array(facts, _SHARD))
    none = pa.nulls(table.num_rows, INDEX_RANGES.field("row_group_bytes").type)
    for field in (INDEX_RANGES.field("first_byte"), *INDEX_STILL):
        columns[field.name] = pc.fill_null(columns.get(field.name, pa.nulls(table.num_rows, field.type)), -1)
    columns.setdefault("row_group_bytes", none)
    whole = {name: _one_chunk(column) for name, column in columns.items()}
    return pa.table(whole)


def _one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        found = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    else:
        found = column
    return pa.concat_arrays([found]) if found.offset else found  # offsets are looked at, from the first on


def _mapped(path: str) -> pa.Table:
    return ipc.open_file(pa.memory_map(path)).read_all()


def _shared(table: pa.Table) -> str:
    """Write columns to a local file, unless it is there, and return its path; empty if there is no place for it."""
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        cache = LocalCache(user_cache() / "indexes", _LOCAL_BYTES)
        if not is_on_this_machine(cache.folder):
            return ""
        path = cache.find(sha256)
        if path is None or storage.file_digest(str(path)) != sha256:
            path = cache.add(sha256, len(data), lambda file: file.write(data))
    except (UserError, OSError):
        return ""
    return str(path or "")
