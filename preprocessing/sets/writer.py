"""Parquet shards: one row group is one row is one segment of a video, so that a reader fetches what a clip touches."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import parse_document
from kinebert.preprocessing.checked.values import Count
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.timing import TaskTiming
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.schema import FORMAT_VERSION, segment_schema
from kinebert.preprocessing.stores.answers import StorageError


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSummary:
    """What became of one video: where its segments lie, or why it was left out."""

    video_id: str
    first_row_group: Count = 0
    num_row_groups: Count = 0
    num_frames: Count = 0
    num_images: Count = 0
    """Stored images: as many as frames, or one fewer flow fields."""
    width: Count = 0
    height: Count = 0
    truncated: bool = False
    problem: str | None = None
    """The decoder's words where the video is truncated or rejected."""
    rejected: bool = False
    num_repeated: Count | None = None
    """Frames that repeat the one before, see :mod:`.still_frames`; None in shards of earlier versions."""
    num_near_still: Count | None = None
    """Other frames that are nearly still."""


@dataclass(frozen=True)
class ShardSummary:
    """What a finished shard holds."""

    name: str
    num_bytes: int
    sha256: str
    files: str
    """Digest of the files that it was made from, see :meth:`.PlannedShard.files_digest`."""
    videos: tuple[VideoSummary, ...]
    sources: str | None = None
    """Digest of their fingerprints, see :meth:`.PlannedShard.sources_digest`; None where they were not known."""
    solver: str | None = None
    """Who solved its flow or found its people: library and version. None for frames."""
    timing: TaskTiming | None = None
    """Where the time went, if that was measured."""
    replaced: tuple[str, ...] = ()
    """Videos whose files were not those that had been indexed: it holds what they are now."""
    recipe: str = ""
    """Digest of its recipe."""
    row_group_bounds: tuple[int, ...] = ()
    """Where each row group begins in the file, and where the last one ends; empty if they do not follow each other."""
    was_damaged: bool = False
    """It was there, but with other bytes than had been written, and has been made again."""


class ShardWriter:
    """Appends segments to one open shard. Made by :func:`open_shard`."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self.num_row_groups = 0

    def append(self, row: pa.RecordBatch) -> None:
        """Write one segment as a row group of its own."""
        assert row.num_rows == 1, "a segment is one row"
        assert row.schema.equals(self._schema), f"columns {row.schema.names} in a shard of {self._schema.names}"
        self._writer.write_batch(row)
        self.num_row_groups += 1

    def describe(self, videos: Sequence[VideoSummary]) -> None:
        """Put what became of the shard's videos into the footer."""
        plain = json.dumps([asdict(video) for video in videos], ensure_ascii=False)
        self._writer.add_key_value_metadata({"kinebert.videos": plain})


class _Hashed(io.RawIOBase):
    """A file whose size and digest are known when it is closed, without reading it again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._state = file, hashlib.sha256()
        self.num_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._state.update(data)
        self.num_bytes += len(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        return self._state.hexdigest()


@contextmanager
def open_shard(
    uri: str,
    recipe: FrameRecipe,
    files_digest: str,
    solver: str | None,
    on_written: Callable[[ShardSummary], None] | None = None,
) -> Iterator[ShardWriter]:
    """Write a shard that appears under its name, whole, when the block ends without an error.

    Just before, ``on_written`` is told what the shard holds. Every page bears a checksum, which readers look at.

    The footer holds the format version, the recipe and its digest, the digest of the files that the shard is made
    from, and who solved its flow or found its people; :meth:`ShardWriter.describe` adds the videos.
    """
    footer = {
        "kinebert.format": str(FORMAT_VERSION),
        "kinebert.digest": recipe.digest(),
        "kinebert.files": files_digest,
        "kinebert.recipe": json.dumps(recipe.plain(), sort_keys=True),
    }
    if solver is not None:
        footer["kinebert.solver"] = solver
    with storage.explained(uri, "write this shard"), storage.whole_file(uri) as path:
        options = {"compression": "none", "use_dictionary": False, "write_statistics": False}  # JPEG is compressed
        options["write_page_checksum"] = True
        schema, gathered = segment_schema(recipe.modality, recipe.has_joints), list[pq.FileMetaData]()
        with path.open("xb") as file:
            hashed = _Hashed(file)
            described = schema.with_metadata(footer)
            with pq.ParquetWriter(hashed, described, metadata_collector=gathered, **options) as writer:
                yield ShardWriter(writer, schema)
        if on_written is not None:
            on_written(_summary(uri, gathered[0], hashed.num_bytes, hashed.sha256))


def read_footer(uri: str) -> dict[str, str]:
    """What :func:`open_shard` and :meth:`ShardWriter.describe` stored, without reading any row.

    Raises:
        UserError: If the file is not a shard.
    """
    return footer_of(_read_metadata(uri), uri)


def _read_metadata(uri: str) -> pq.FileMetaData:
    try:
        with storage.open_input(uri) as file:
            return pq.ParquetFile(file).metadata
    except StorageError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{uri}: not a readable shard: {error}. Delete it and run the extraction again.") from None


def footer_of(metadata: pq.FileMetaData, uri: str) -> dict[str, str]:
    """Return what the metadata of the shard at ``uri`` has of :func:`open_shard` and :meth:`ShardWriter.describe`.

    Raises:
        UserError: If it is not a shard.
    """
    found = {key: value for key, value in (metadata.metadata or {}).items() if key.startswith(b"kinebert.")}
    footer = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in found.items()}
    if not {"kinebert.videos", "kinebert.digest", "kinebert.files"} <= footer.keys():
        raise UserError(f"{uri}: not a shard of this program. Move it out of the folder.")
    return footer


def summaries_in(footer: dict[str, str], uri: str) -> tuple[VideoSummary, ...]:
    """Return what became of the videos of the shard at ``uri``, from its footer.

    Raises:
        UserError: If the footer is damaged.
    """
    remedy = "Delete the file and run the extraction again."
    found = parse_document(list[VideoSummary], footer["kinebert.videos"], uri, "a shard of this program", remedy)
    return tuple(found)


def summarize(uri: str, sha256: str | None = None) -> ShardSummary:
    """Read the summary of a finished shard from its footer; all of its bytes, too, unless their digest is given."""
    return _summary(uri, _read_metadata(uri), storage.file_size(uri), sha256 or storage.file_digest(uri))


def _summary(uri: str, metadata: pq.FileMetaData, num_bytes: int, sha256: str) -> ShardSummary:
    footer = footer_of(metadata, uri)
    return ShardSummary(
        name=storage.name_of(uri),
        num_bytes=num_bytes,
        sha256=sha256,
        files=footer["kinebert.files"],
        videos=summaries_in(footer, uri),
        solver=footer.get("kinebert.solver"),
        recipe=footer["kinebert.digest"],
        row_group_bounds=row_group_bounds(metadata),
    )


def row_group_bounds(metadata: pq.FileMetaData) -> tuple[int, ...]:
    """Return where each row group of a shard begins, and where the last one ends.

    Returns:
        Nothing if there is something between them, as other programs may put there.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    starts = [int(group.column(0).data_page_offset) for group in groups]
    ends = [
        start + sum(group.column(i).total_compressed_size for i in range(group.num_columns))
        for start, group in zip(starts, groups, strict=True)
    ]
    return (*starts, ends[-1]) if ends and ends[:-1] == starts[1:] else ()
