"""Read a finished shard set: who is in it, and the images of a clip without touching anything else.

Axes: T images, H height, W width, C channels (RGB, or flow x and y).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.tables import read_table, with_columns
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.schema import INDEX, SEGMENT_LENGTH, segment_schema
from kinebert.preprocessing.sets.dataset_file import (
    CLAIM,
    DATASET_FILE,
    INDEX_FILE,
    DatasetFile,
    RejectedVideo,
    read_dataset_file,
)
from kinebert.preprocessing.sets.folder import content_digest
from kinebert.preprocessing.sets.writer import footer_of
from kinebert.preprocessing.video.images import decode_images

UInt8 = NDArray[np.uint8]
_OPEN_SHARDS = 64
_AGAIN = "Extract again, which writes it: finished shards are kept."


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


class ShardSet:
    """A finished set. Made by :meth:`open`; may be pickled, since files are opened when they are read."""

    def __init__(self, uri: str, dataset: DatasetFile, videos: list[VideoEntry]) -> None:
        self.uri = uri
        self.dataset = dataset
        self.modality = dataset.modality
        self.recipe = dataset.recipe
        self.digest = dataset.digest
        """Of the recipe: sets that share it were made in the same way."""
        self.content = dataset.content
        """Of every shard's bytes and the index: sets that share it are the same."""
        self.classes = dataset.classes
        self.solvers: dict[str, int] = dataset.flow.solvers if dataset.flow else {}
        """How many fields each solver (library and version) has made; empty for frames."""
        self.videos = videos
        self.rejected = dataset.rejected
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()

    @staticmethod
    def open(uri: str, *, whole: bool = True) -> "ShardSet":
        """Open the set at ``uri``.

        Args:
            uri: Its location.
            whole: Refuse a set whose index and ``dataset.json`` do not belong together; else they only are readable.

        Raises:
            UserError: If there is no finished set, or one of its files is damaged or belongs to another set.
        """
        with storage.explained(storage.join(uri, DATASET_FILE), "read this shard set"):
            dataset = read_dataset_file(uri)
            if dataset is None:
                raise UserError(
                    f"{uri}: expected a finished shard set (with a dataset.json), found {_in_place_of_a_set(uri)}."
                )
        index = storage.join(uri, INDEX_FILE)
        with storage.explained(index, "read this shard set"):
            if not storage.exists(index):
                raise UserError(f"{index}: cannot read this shard set: there is no such file or folder. {_AGAIN}")
            videos = _read_index(index)
        if whole:
            dataset.check_recipe(uri)
            _check_index(uri, dataset, videos)
        return ShardSet(uri, dataset, videos)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def entry(self, video_id: str) -> VideoEntry:
        """The stored video with this id.

        Raises:
            UserError: If it is not stored, with the reason if it was rejected.
        """
        for video in self.videos:
            if video.video_id == video_id:
                return video
        for lost in self.rejected:
            if lost.video_id == video_id:
                raise UserError(f"{self.uri}: {video_id} was left out: {lost.problem}")
        some = ", ".join(video.video_id for video in self.videos[:3])
        raise UserError(f"{self.uri}: there is no video {video_id!r}. There are {len(self.videos)}, such as {some}.")

    def select(self, split: str, part: str) -> list[VideoEntry]:
        """Videos that ``split`` puts into ``part``, ordered by id.

        Raises:
            ConfigError: If there is no such split, or nothing in that part of it.
        """
        everyone: list[VideoEntry | RejectedVideo] = [*self.videos, *self.rejected]
        known = sorted({name for video in everyone for name in video.splits})
        if split not in known:
            raise ConfigError(f"{self.uri}: there is no split {split!r}. There are: {', '.join(known) or 'none'}.")
        chosen = [video for video in self.videos if video.splits.get(split) == part]
        if not chosen:
            parts = sorted({video.splits[split] for video in self.videos if split in video.splits})
            there = ", ".join(parts) or "none"
            raise ConfigError(
                f"{self.uri}: split {split!r} has no {part!r} videos. It has: {there}. Name one of those "
                "(data.train_part, data.val_part, --part)."
            )
        return chosen

    def read_jpegs(self, entry: VideoEntry, indices: Sequence[int]) -> list[tuple[pa.Buffer, ...]]:
        """Encoded images of ``entry`` at ``indices`` (any order, repeats allowed): ``(frame,)`` or ``(x, y)`` each.

        Only the row groups that hold them are read.

        Raises:
            IndexError: If an index lies outside ``0 .. num_images - 1``.
            UserError: If the shard cannot be read, or its checksums say that it is damaged.
        """
        columns = [column.name for column in modality_of(self.modality).columns]
        groups: dict[int, list[Any]] = {}
        images = []
        for index in indices:
            if not 0 <= index < entry.num_images:
                raise IndexError(f"{entry.video_id}: image {index} of {entry.num_images}")
            segment, offset = divmod(int(index), SEGMENT_LENGTH)
            if segment not in groups:
                table = self._row_group(entry, segment, columns)
                groups[segment] = [table.column(name).chunk(0).values for name in columns]
            images.append(tuple(values[offset].as_buffer() for values in groups[segment]))
        return images

    def read_clip(self, entry: VideoEntry, indices: Sequence[int]) -> UInt8:
        """Images of ``entry`` at ``indices``, ``(T, H, W, C)``: RGB frames of 3 channels, or 8-bit flow of 2.

        Raises:
            IndexError: If an index lies outside ``0 .. num_images - 1``.
            UserError: If the shard cannot be read, or its checksums say that it is damaged.
            ValueError: If a stored image is no picture.
        """
        wanted, back = np.unique(np.asarray(indices, np.int64), return_inverse=True)
        jpegs = self.read_jpegs(entry, wanted.tolist())
        try:
            images = decode_images(jpegs, modality_of(self.modality))
        except ValueError as error:
            raise ValueError(f"{storage.join(self.uri, entry.shard)}: {entry.video_id}: {error}") from None
        return images if len(wanted) == len(back) and (np.diff(back) == 1).all() else images[back]

    def _row_group(self, entry: VideoEntry, segment: int, columns: list[str]) -> pa.Table:
        file = self._file(entry.shard)
        try:
            return file.read_row_group(entry.first_row_group + segment, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{storage.join(self.uri, entry.shard)}: {entry.video_id}: segment {segment} cannot be read: "
                f"{str(error).splitlines()[0]}. `kinebert verify` tells whether the shard is damaged: then delete it, "
                "and extract again."
            ) from None

    def _file(self, shard: str) -> pq.ParquetFile:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        uri = storage.join(self.uri, shard)
        try:
            if storage.is_local(uri):
                storage.check_regular(uri)
            source = uri if storage.is_local(uri) else storage.open_input(uri)
            file = pq.ParquetFile(source, memory_map=storage.is_local(uri), page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{uri}: not a readable shard: {error}. `kinebert verify` tells more.") from None
        self._check_shard(uri, file)
        if len(self._files) >= _OPEN_SHARDS:
            self._files.popitem(last=False)[1].close()
        self._files[shard] = file
        return file

    def _check_shard(self, uri: str, file: pq.ParquetFile) -> None:
        """Make sure that a shard is this set's, and has the columns and row groups that are read from it."""
        name, footer, schema = storage.name_of(uri), footer_of(file.metadata, uri), segment_schema(self.modality)
        files = {facts.name: facts.files for facts in self.dataset.shards}
        last = max(
            (entry.first_row_group + entry.num_row_groups for entry in self.videos if entry.shard == name), default=0
        )
        if footer["kinebert.digest"] != self.digest:
            problem = f"it was made by recipe {footer['kinebert.digest']}, the set by {self.digest}"
        elif footer["kinebert.files"] != files.get(name):
            problem = "it was made from other videos, as that of another set"
        elif [(field.name, field.type) for field in file.schema_arrow] != [(f.name, f.type) for f in schema]:
            problem = f"its columns are {', '.join(file.schema_arrow.names)}, expected {', '.join(schema.names)}"
        elif last > file.num_row_groups:
            problem = f"it has {file.num_row_groups} row groups, {INDEX_FILE} counts {last}"
        else:
            return
        raise UserError(f"{uri}: not the shard of this set: {problem}. Delete it, and extract again.")


def _in_place_of_a_set(uri: str) -> str:
    if not storage.is_folder(uri):
        return "a file: give the folder of a set" if storage.exists(uri) else "nothing"
    if storage.exists(storage.join(uri, CLAIM)):
        return "an unfinished set: run its extraction again"
    return "a folder that is no set: give the one that an extraction has made (its --output)"


def _read_index(uri: str) -> list[VideoEntry]:
    remedy = "Delete it, and extract again."
    table = with_columns(read_table(uri, remedy), INDEX, uri, remedy)
    try:
        return [VideoEntry(**{**row, "splits": dict(row["splits"])}) for row in table.to_pylist()]
    except ValueError as error:  # bytes that are no UTF-8
        raise UserError(f"{uri}: damaged: {error}. {remedy}") from None


def _check_index(uri: str, dataset: DatasetFile, videos: Sequence[VideoEntry]) -> None:
    """Make sure that an index is the one that a set was finished with, and its classes those of ``dataset.json``."""
    index = storage.join(uri, INDEX_FILE)
    remedy = "Delete it, and extract again: finished shards are kept."
    found = content_digest([shard.sha256 for shard in dataset.shards], [asdict(video) for video in videos])
    if found != dataset.content:
        raise UserError(
            f"{index}: not the index that this set was finished with ({found}, its dataset.json says "
            f"{dataset.content}): one of them was changed, or is another set's. {remedy}"
        )
    for video in videos:
        known = dataset.classes[video.label] if 0 <= video.label < len(dataset.classes) else None
        if video.label >= 0 and known != video.label_name:
            raise UserError(
                f"{uri}: {video.video_id} is of class {video.label}, which {INDEX_FILE} calls {video.label_name!r} and "
                f"dataset.json {known!r}. {remedy}"
            )
