"""The videos of a set as columns: hundreds of thousands cost megabytes, and processes of one node share them.

A process that is sent an index gets the name of a local file and maps it into its memory; see :class:`Index`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kinebert.preprocessing.schema import INDEX, INDEX_MORE, INDEX_STILL
from kinebert.preprocessing.sets.dataset_file import ShardFacts
from kinebert.preprocessing.sets.index_file import Columns, arranged

Numbers = NDArray[Any]


@dataclass(frozen=True)
class VideoEntry:
    """One stored video, as ``index.parquet`` has it."""

    video_id: str
    label: int
    label_name: str
    splits: dict[str, str]
    shard: str
    first_row_group: int
    num_row_groups: int
    num_frames: int
    """Frames that were decoded and kept."""
    num_images: int
    """Stored images: frames, or flow fields (one fewer)."""
    width: int
    height: int
    truncated: bool
    problem: str | None
    first_byte: int | None = field(default=None, compare=False)
    """Where its first row group begins in the shard; None in sets of earlier versions."""
    row_group_bytes: tuple[int, ...] = field(default=(), compare=False)
    """Length of each row group; they follow each other."""
    num_repeated: int | None = field(default=None, compare=False)
    """Frames that repeat the one before, see :mod:`.still_frames`; None in sets of earlier versions."""
    num_near_still: int | None = field(default=None, compare=False)
    """Other frames that are nearly still."""


class Index:
    """All videos of a set, in the order of their ids.

    It may be pickled: what is sent of a large one is the name of its local file, whatever its size.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._arrays: dict[str, pa.Array] = {}
        self._views: dict[str, Numbers] = {}

    @staticmethod
    def of(videos: Iterable[VideoEntry], shards: Sequence[ShardFacts]) -> "Index":
        """Return the index of some videos."""
        rows = [{**asdict(video), "splits": sorted(video.splits.items())} for video in videos]
        return Index(Columns(arranged(pa.Table.from_pylist(rows, pa.schema([*INDEX, *INDEX_MORE])), shards)))

    def __getstate__(self) -> dict[str, Any]:
        return {"_columns": self._columns, "_arrays": {}, "_views": {}}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def _table(self) -> pa.Table:
        return self._columns.table

    def _array(self, name: str) -> pa.Array:
        if name not in self._arrays:
            column = self._table.column(name)
            self._arrays[name] = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        return self._arrays[name]

    def numbers(self, name: str) -> Numbers:
        """Return a column of numbers as an array, by its name; ``shard`` as positions in a list of shards."""
        if name not in self._views:
            array = self._array(name)
            self._views[name] = (array.indices if name == "shard" else array).to_numpy(zero_copy_only=False)
        return self._views[name]

    def texts(self, name: str) -> pa.Array:
        """Return a column of texts, by its name."""
        return self._array(name)

    @cached_property
    def _sizes(self) -> tuple[Numbers, Numbers]:
        lists = self._array("row_group_bytes")
        return lists.offsets.to_numpy(), lists.values.to_numpy()

    @cached_property
    def _shard_names(self) -> pa.Array:
        return self._array("shard").dictionary.field("name")

    def shard_names(self) -> list[str]:
        """Return the names of the set's shards."""
        found: list[str] = self._shard_names.to_pylist()
        return found

    def shard_sizes(self) -> list[int]:
        """Return the bytes of the set's shards; 0 where ``dataset.json`` does not know one."""
        return [size or 0 for size in self._array("shard").dictionary.field("bytes").to_pylist()]

    def shard_named(self, name: str) -> ShardFacts:
        """Return what ``dataset.json`` says of a shard; if it does not know it, nothing but its name."""
        found = self._array("shard").dictionary
        facts = found[pc.index(self._shard_names, name).as_py()].as_py()
        return ShardFacts(
            name=name, bytes=facts["bytes"] or 0, sha256=facts["sha256"] or "", files=facts["files"] or ""
        )

    def entry(self, row: int) -> VideoEntry:
        """Return the video at a row."""
        starts, sizes = self._sizes
        first_byte = int(self.numbers("first_byte")[row])
        values: dict[str, Any] = {name: int(self.numbers(name)[row]) for name in _INTEGERS}
        values |= {name: self._array(name)[row].as_py() for name in ("video_id", "label_name", "problem")}
        counted = {name: int(self.numbers(name)[row]) for name in INDEX_STILL.names}
        values |= {name: None if number < 0 else number for name, number in counted.items()}
        return VideoEntry(
            **values,
            splits=dict(self._array("splits")[row].as_py()),
            shard=self._shard_names[int(self.numbers("shard")[row])].as_py(),
            truncated=bool(self.numbers("truncated")[row]),
            first_byte=None if first_byte < 0 else first_byte,
            row_group_bytes=tuple(sizes[starts[row] : starts[row + 1]].tolist()),
        )

    def row_of(self, video_id: str) -> int | None:
        """Return the row of a video; None if it is not there."""
        row = int(pc.index(self._array("video_id"), video_id).as_py())
        return row if row >= 0 else None

    def parts(self) -> dict[str, list[str]]:
        """Return the parts of every split that some video has, sorted."""
        splits = self._array("splits")
        pairs = pa.table([splits.keys, splits.items], names=["split", "part"]).group_by(["split", "part"]).aggregate([])
        found: dict[str, list[str]] = {}
        for pair in sorted(pairs.to_pylist(), key=lambda pair: (pair["split"], pair["part"])):
            found.setdefault(pair["split"], []).append(pair["part"])
        return found

    def rows_of(self, split: str, part: str) -> NDArray[np.int64]:
        """Return the rows of the videos that ``split`` puts into ``part``."""
        splits = self._array("splits")
        asked = pc.and_(pc.equal(splits.keys, split), pc.equal(splits.items, part)).to_numpy(zero_copy_only=False)
        places = np.flatnonzero(asked)
        return np.searchsorted(splits.offsets.to_numpy(), places, side="right").astype(np.int64) - 1

    def classes(self) -> list[tuple[int, str]]:
        """Return every pair of a label and its class's name that some video has, sorted."""
        pairs = self._table.select(["label", "label_name"]).group_by(["label", "label_name"]).aggregate([])
        return sorted((pair["label"], pair["label_name"]) for pair in pairs.to_pylist())

    def first_of(self, label: int, label_name: str) -> str:
        """Return the first video's id that has this label and name."""
        same = pc.and_(pc.equal(self._array("label"), label), pc.equal(self._array("label_name"), label_name))
        return str(self._array("video_id")[pc.index(same, True).as_py()])

    def last_row_group(self, shard: str) -> int:
        """Return how many row groups of a shard the videos reach over."""
        inside = self.numbers("shard") == pc.index(self._shard_names, shard).as_py()
        ends = (self.numbers("first_row_group") + self.numbers("num_row_groups"))[inside]
        return int(ends.max(initial=0))


_INTEGERS = ("label", "first_row_group", "num_row_groups", "num_frames", "num_images", "width", "height")


class Videos(Sequence[VideoEntry]):
    """Videos of an index: all of them, or a part of a split. Made anew whenever one is asked for; nothing is copied.

    Args:
        index: Of their set.
        part: Split and part; None for all videos.
    """

    def __init__(self, index: Index, part: tuple[str, str] | None = None) -> None:
        self.of, self._part = index, part

    def __getstate__(self) -> dict[str, Any]:
        return {"of": self.of, "_part": self._part}

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the index."""
        return np.arange(len(self.of)) if self._part is None else self.of.rows_of(*self._part)

    def numbers(self, name: str) -> Numbers:
        """Return one column of numbers, as :meth:`Index.numbers` does, of these videos."""
        column = self.of.numbers(name)
        return column if self._part is None else column[self.rows]

    def ids(self) -> list[str]:
        """Return the ids of these videos."""
        found: list[str] = self.of.texts("video_id").take(pa.array(self.rows)).to_pylist()
        return found

    def __len__(self) -> int:
        return len(self.of) if self._part is None else len(self.rows)

    @overload
    def __getitem__(self, at: int) -> VideoEntry: ...
    @overload
    def __getitem__(self, at: slice) -> list[VideoEntry]: ...
    def __getitem__(self, at: int | slice) -> VideoEntry | list[VideoEntry]:
        if isinstance(at, slice):
            return [self.of.entry(int(row)) for row in self.rows[at]]
        return self.of.entry(int(self.rows[at]))

    def __iter__(self) -> Iterator[VideoEntry]:
        return (self.of.entry(int(row)) for row in self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(VideoEntry.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]
