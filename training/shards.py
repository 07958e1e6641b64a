"""What training needs of a shard set: the one protocol, which :class:`.ShardSet` and the sets of tests fulfil.

Axes: T frames or fields, H height, W width, C channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.pose.redrawing import check_redrawable
from kinebert.preprocessing.sets.index import Videos
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.parts import Part
from kinebert.training.aligned import AlignedVideos


class Video(Protocol):
    """A video in a shard set."""

    @property
    def video_id(self) -> str:
        """Unique name."""

    @property
    def label(self) -> int:
        """Class index, -1 where it is not known."""

    @property
    def num_images(self) -> int:
        """Stored frames or flow fields."""


class Shards(Protocol):
    """A shard set, opened."""

    @property
    def uri(self) -> str:
        """Where it lies."""

    @property
    def modality(self) -> str:
        """What its pictures are, such as ``rgb`` or ``flow``."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Everything that changes its pixels."""

    @property
    def digest(self) -> str:
        """Digest of the recipe."""

    @property
    def content(self) -> str:
        """Digest of the stored bytes and the index: which videos, with which labels and splits."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes by label."""

    @property
    def rejected(self) -> Sequence[Any]:
        """Videos that are not in the set, with ``video_id``, ``problem`` and ``splits``."""

    def select(self, split: str, part: str) -> Sequence[Any]:
        """Return the videos (:class:`Video`) of one part of a split."""

    def read_clip(self, entry: Any, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return pictures of one video, ``(T, H, W, C)``."""


@runtime_checkable
class ReadsParts(Protocol):
    """A shard set that can read a part of its pictures; its videos know their ``height`` and ``width`` in pixels."""

    def read_part(self, entry: Any, indices: Sequence[int], part: Part | None, half: bool) -> NDArray[np.uint8]:
        """Return what lies in ``part`` (None: all) of pictures of one video, or of them at half their size."""


@runtime_checkable
class ReadsFar(Protocol):
    """A shard set that may lie far away, see :class:`.ShardSet`."""

    @property
    def is_far(self) -> bool:
        """Whether it does."""

    def keep_shards(self, folder: str, max_bytes: int) -> None:
        """Keep shards that come over a network on a disk of every node that reads them."""

    def expect(self, entry: Any, indices: Sequence[int]) -> None:
        """Begin to fetch images that will be read soon."""


def check_swappable(shards: Shards) -> None:
    """Raise a ConfigError unless the pictures of a set can be drawn with left and right exchanged."""
    if not isinstance(shards, ShardSet) or not modality_of(shards.modality).sides:
        raise ConfigError(
            f"{shards.uri}: holds {shards.modality}, and data.flip_swaps_sides is for drawn poses alone. Leave it out."
        )
    check_redrawable(shards)


def numbers_of(videos: Sequence[Video], name: str) -> NDArray[Any]:
    """Return one number of every video, such as its ``label``, without making the videos where a set has columns."""
    if isinstance(videos, Videos | AlignedVideos):
        return videos.numbers(name)
    return np.array([getattr(video, name) for video in videos], np.int64)


def shards_of(videos: Sequence[Any]) -> NDArray[np.int64]:
    """Return in which shard each video lies: numbers that neighbours in a shard share."""
    if isinstance(videos, Videos | AlignedVideos):
        return videos.numbers("shard").astype(np.int64)
    names = np.array([video.shard for video in videos])
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


class Ids(Sequence[str]):
    """The ids of some videos, each made when it is asked for."""

    def __init__(self, videos: Sequence[Video]) -> None:
        self._videos = videos

    def __len__(self) -> int:
        return len(self._videos)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [video.video_id for video in self._videos[at]]
        return self._videos[at].video_id
