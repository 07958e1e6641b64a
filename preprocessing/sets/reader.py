"""Read a finished shard set: who is in it, and the images of a clip without touching anything else.

Axes: T images, H height, W width, C channels (RGB, or flow x and y).
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.pose.joints import KeptPeople, from_bytes
from kinebert.preprocessing.schema import JOINTS, SEGMENT_LENGTH
from kinebert.preprocessing.sets.dataset_file import (
    CLAIM,
    DATASET_FILE,
    INDEX_FILE,
    DatasetFile,
    RejectedVideo,
    index_digest,
    read_dataset_file,
)
from kinebert.preprocessing.sets.folder import content_digest
from kinebert.preprocessing.sets.index import Index, Videos
from kinebert.preprocessing.sets.index import VideoEntry as VideoEntry
from kinebert.preprocessing.sets.index_file import Columns, arranged, read_index, still_there
from kinebert.preprocessing.sets.shard_files import ShardFiles
from kinebert.preprocessing.video.images import decode_images, halved
from kinebert.preprocessing.video.parts import Part

UInt8 = NDArray[np.uint8]
_AGAIN = "Extract again, which writes it: finished shards are kept."


class ShardSet:
    """A finished set. Made by :meth:`open`; may be pickled, which costs little however many videos there are."""

    def __init__(self, uri: str, dataset: DatasetFile, index: Index) -> None:
        self.uri = uri
        self.dataset = dataset
        self.modality = dataset.modality
        self.recipe = dataset.recipe
        self.codec = str(dataset.recipe.get("codec", "jpeg"))
        """How its images are coded: ``jpeg``, or ``h264`` for segments of video."""
        self.digest = dataset.digest
        """Of the recipe: sets that share it were made in the same way."""
        self.content = dataset.content
        """Of every shard's bytes and the index: sets that share it are the same."""
        self.classes = dataset.classes
        self.solvers = dataset.solvers
        """How many flow fields or pictures of poses each solver (library and version) has made; empty for frames."""
        self.has_joints = bool(dataset.recipe.get("backend"))
        """Whether people's joints are stored beside the pictures, for :meth:`read_joints`."""
        self.videos: Sequence[VideoEntry] = Videos(index)
        self._index = index
        self._files = ShardFiles(uri, self.modality, self.digest, index, self.has_joints)

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
        path = storage.join(uri, INDEX_FILE)
        with storage.explained(path, "read this shard set"):
            if not storage.exists(path):
                raise UserError(f"{path}: cannot read this shard set: there is no such file or folder. {_AGAIN}")
            table, sha256 = read_index(uri)
        index = Index(Columns(arranged(table, dataset.shards), uri))
        if whole:
            dataset.check_recipe(uri)
            if dataset.index != index_digest(dataset.content, dataset.shards, sha256):
                _check_content(uri, dataset, index)
            _check_classes(uri, dataset, index)
        return ShardSet(uri, dataset, index)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "dataset"}

    @cached_property
    def dataset(self) -> DatasetFile:
        """What ``dataset.json`` says; a process that was sent the set reads it when it is needed."""
        return still_there(self.uri)

    @property
    def index(self) -> Index:
        """What its videos are made of: columns."""
        return self._index

    @property
    def flow_bound(self) -> float | None:
        """The largest flow that is stored, in pixels per frame step either way; None of a set of pictures."""
        return float(self.recipe["bound"]) if modality_of(self.modality).motion else None

    @property
    def rejected(self) -> list[RejectedVideo]:
        """Videos that were left out, and why."""
        return self.dataset.rejected

    def entry(self, video_id: str) -> VideoEntry:
        """The stored video with this id.

        Raises:
            UserError: If it is not stored, with the reason if it was rejected.
        """
        row = self._index.row_of(video_id)
        if row is not None:
            return self._index.entry(row)
        for lost in self.rejected:
            if lost.video_id == video_id:
                raise UserError(f"{self.uri}: {video_id} was left out: {lost.problem}")
        some = ", ".join(video.video_id for video in self.videos[:3])
        raise UserError(f"{self.uri}: there is no video {video_id!r}. There are {len(self.videos)}, such as {some}.")

    def splits(self) -> list[str]:
        """Return the names of the splits that stored videos are in, sorted."""
        return sorted(self._index.parts())

    def select(self, split: str, part: str) -> Videos:
        """Videos that ``split`` puts into ``part``, ordered by id.

        Raises:
            ConfigError: If there is no such split, or nothing in that part of it.
        """
        parts = self._index.parts()
        known = sorted({*parts, *(name for video in self.rejected for name in video.splits)})
        if split not in known:
            raise ConfigError(f"{self.uri}: there is no split {split!r}. There are: {', '.join(known) or 'none'}.")
        if part not in parts.get(split, ()):
            there = ", ".join(parts.get(split, ())) or "none"
            raise ConfigError(
                f"{self.uri}: split {split!r} has no {part!r} videos. It has: {there}. Name one of those "
                "(data.train_part, data.val_part, --part)."
            )
        return Videos(self._index, (split, part))

    def read_jpegs(self, entry: VideoEntry, indices: Sequence[int]) -> list[tuple[pa.Buffer, ...]]:
        """Encoded images of ``entry`` at ``indices`` (any order, repeats allowed): ``(frame,)`` or ``(x, y)`` each.

        Those of a set of codec h264 are packets, of which each needs the ones before it in its segment. Only the row
        groups that hold them are read.

        Raises:
            IndexError: If an index lies outside ``0 .. num_images - 1``.
            UserError: If the shard cannot be read, or its checksums say that it is damaged.
        """
        places = _places(entry, indices)
        segments = self._files.segments(entry, sorted({segment for segment, _ in places}))
        return [tuple(column[offset] for column in segments[segment]) for segment, offset in places]

    def read_joints(self, entry: VideoEntry, indices: Sequence[int] | None = None) -> "Joints":
        """People that were found in frames of ``entry``, at ``indices`` (any order, repeats allowed) or in all of them.

        Raises:
            IndexError: If an index lies outside ``0 .. num_images - 1``.
            UserError: If the set has no joints, or the shard cannot be read, or is damaged.
        """
        if not self.has_joints:
            raise UserError(
                f"{self.uri}: a set of {self.modality} without joints. `kinebert extract-pose` makes one that has them."
            )
        wanted = range(entry.num_images) if indices is None else indices
        places = _places(entry, wanted)
        segments = self._files.segments(entry, sorted({segment for segment, _ in places}), JOINTS.names)
        try:
            people = [from_bytes(segments[segment][0][offset]) for segment, offset in places]
        except ValueError as error:
            raise UserError(f"{storage.join(self.uri, entry.shard)}: {entry.video_id}: {error}. {_AGAIN}") from None
        _, width, height = segments[places[0][0]] if places else ([], 0, 0)
        return Joints(people, width, height)

    @property
    def is_far(self) -> bool:
        """Whether its shards come over a network, so that it pays to :meth:`expect` what will be read."""
        return self._files.is_far

    def keep_shards(self, folder: str, max_bytes: int) -> None:
        """Keep shards that come over a network on a disk of every node that reads them.

        Args:
            folder: Private to the user, on a disk of the node; empty for a folder in the user's cache.
            max_bytes: Of all shards there; 0 for none.

        Raises:
            UserError: If the folder cannot be used, or lies on a server itself.
        """
        if folder and not max_bytes:
            raise ConfigError("data.cache_folder is given without data.cache_gib. Say how many GiB it may hold.")
        self._files.keep_shards(folder, max_bytes)

    def expect(self, entry: VideoEntry, indices: Sequence[int]) -> None:
        """Begin to fetch images that will be read soon, if they have to come over a network."""
        self._files.expect(entry, sorted({int(index) // SEGMENT_LENGTH for index in indices}))

    def read_clip(self, entry: VideoEntry, indices: Sequence[int]) -> UInt8:
        """Images of ``entry`` at ``indices``, ``(T, H, W, C)``: RGB frames of 3 channels, or 8-bit flow of 2.

        Raises:
            IndexError: If an index lies outside ``0 .. num_images - 1``.
            UserError: If the shard cannot be read, or its checksums say that it is damaged.
            ValueError: If a stored image is no picture.
        """
        return self.read_part(entry, indices, None)

    def read_part(self, entry: VideoEntry, indices: Sequence[int], part: Part | None, half: bool = False) -> UInt8:
        """Images of ``entry`` at ``indices``, ``(T, H, W, C)``, of which only ``part`` is decoded where it can be.

        Args:
            entry: The video.
            indices: Of its images.
            part: A rectangle, of images of half the size with ``half``; None for all of them.
            half: Images of half their height and width, rounded up. JPEGs are decoded so, which is faster, and within
                :data:`.HALF_TOLERANCE` of what the means over 2x2 pixels are.

        Raises:
            IndexError: If an index lies outside ``0 .. num_images - 1``.
            UserError: If the shard cannot be read, or its checksums say that it is damaged.
            ValueError: If a stored image is no picture.
        """
        wanted, back = np.unique(np.asarray(indices, np.int64), return_inverse=True)
        try:
            if self.codec == "h264":
                images = self._decode_segments(entry, wanted, part, half)
            else:
                jpegs = self.read_jpegs(entry, wanted.tolist())
                images = decode_images(jpegs, modality_of(self.modality), part, half)
        except ValueError as error:
            raise ValueError(f"{storage.join(self.uri, entry.shard)}: {entry.video_id}: {error}") from None
        return images if len(wanted) == len(back) and (np.diff(back) == 1).all() else images[back]

    def _decode_segments(self, entry: VideoEntry, wanted: NDArray[np.int64], part: Part | None, half: bool) -> UInt8:
        """Decode the images at ``wanted``, ascending, each segment from its first frame to the last one of them."""
        from kinebert.preprocessing.video.h264 import decode_segment  # loaders of other sets need no video decoder

        groups = np.split(wanted, np.flatnonzero(np.diff(wanted // SEGMENT_LENGTH)) + 1)
        starts = [int(group[0]) // SEGMENT_LENGTH * SEGMENT_LENGTH for group in groups]
        needed = [range(start, int(group[-1]) + 1) for start, group in zip(starts, groups, strict=True)]
        size = entry.height, entry.width
        packets = iter(self.read_jpegs(entry, [index for some in needed for index in some]))
        parts = []
        for start, group, some in zip(starts, groups, needed, strict=True):
            segment = [packet for (packet,) in itertools.islice(packets, len(some))]
            source = part.doubled().inside(*size) if part is not None and half else part
            images = decode_segment(segment, (group - start).tolist(), size, source)
            parts.append(halved(images) if half else images)
        return np.concatenate(parts)


@dataclass(frozen=True)
class Joints:
    """People of some frames of a video."""

    people: list[KeptPeople]
    """For each frame float16 ``(P, 25, 3)``: joints of BODY_25 as (x, y, score), 0 where not found; P may be 0."""
    width: int
    """Of the frames that were looked at, in whose pixels x and y are; 0 where none was asked for."""
    height: int


def _places(entry: VideoEntry, indices: Sequence[int]) -> list[tuple[int, int]]:
    """Segment and place in it of images."""
    for index in indices:
        if not 0 <= index < entry.num_images:
            raise IndexError(f"{entry.video_id}: image {index} of {entry.num_images}")
    return [divmod(int(index), SEGMENT_LENGTH) for index in indices]


def _in_place_of_a_set(uri: str) -> str:
    if not storage.is_folder(uri):
        return "a file: give the folder of a set" if storage.exists(uri) else "nothing"
    if storage.exists(storage.join(uri, CLAIM)):
        return "an unfinished set: run its extraction again"
    return "a folder that is no set: give the one that an extraction has made (its --output)"


_REMEDY = "Delete it, and extract again: finished shards are kept."


def _check_content(uri: str, dataset: DatasetFile, index: Index) -> None:
    """Make sure, row by row, that an index is the one that a set was finished with."""
    try:
        found = content_digest([shard.sha256 for shard in dataset.shards], plain_rows(Videos(index)))
    except ValueError as error:  # bytes that are no UTF-8
        raise UserError(f"{storage.join(uri, INDEX_FILE)}: damaged: {error}. {_REMEDY}") from None
    if found != dataset.content:
        raise UserError(
            f"{storage.join(uri, INDEX_FILE)}: not the index that this set was finished with ({found}, its "
            f"dataset.json says {dataset.content}): one of them was changed, or is another set's. {_REMEDY}"
        )


def plain_rows(videos: Iterable[VideoEntry]) -> Iterator[dict[str, Any]]:
    """Yield the rows of an index as :func:`.content_digest` takes them."""
    return (asdict(video) for video in videos)


def _check_classes(uri: str, dataset: DatasetFile, index: Index) -> None:
    """Make sure that the classes of an index are those of ``dataset.json``."""
    for label, name in index.classes():
        known = dataset.classes[label] if 0 <= label < len(dataset.classes) else None
        if label >= 0 and known != name:
            raise UserError(
                f"{uri}: {index.first_of(label, name)} is of class {label}, which {INDEX_FILE} calls {name!r} and "
                f"dataset.json {known!r}. {_REMEDY}"
            )
