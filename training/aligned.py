"""Aligned shard sets: several modalities of the same videos, read as one whose channels lie side by side.

Image i of a clip is frame i with what belongs to it: of flow, the field from it to the next, so that a video of n
frames has n - 1 images. One draw of clip, crop and mirroring then holds for every stream. Source: MARS (Crasto et al.,
CVPR 2019), whose program feeds clips of red, green, blue, x and y.

Axes: S sets, V videos, T images, H height, W width, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kinebert.preprocessing.config import digest
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import JOINED, streams_of
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.dataset_file import RejectedVideo
from kinebert.preprocessing.sets.index import Index, VideoEntry
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.parts import Part

_SAME_FRAMES = ("frame_step", "drop_repeats", "video_stream")
"""Values of a recipe that say which frames of a video are taken."""
_SAME_VIDEOS = {
    "label": "Extract both from one manifest.",
    "num_frames": "Extract both from the same files, in the same way.",
    "width": "Extract both with the same resize, width and height.",
    "height": "Extract both with the same resize, width and height.",
}
"""Numbers of a video that aligned sets must share, and what to do where they differ."""


@dataclass(frozen=True)
class AlignedVideo:
    """A video of aligned sets."""

    streams: tuple[VideoEntry, ...]
    """What each set has of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what pickle and copy ask for
            raise AttributeError(name)
        return getattr(self.streams[0], name)

    @property
    def num_images(self) -> int:
        """Images that every set has."""
        return min(stream.num_images for stream in self.streams)


class AlignedVideos(Sequence[AlignedVideo]):
    """Videos of aligned sets, each made when it is asked for.

    Args:
        sets: The index of each.
        rows: Where each video lies in each set, ``(S, V)``.
    """

    def __init__(self, sets: tuple[Index, ...], rows_SV: NDArray[np.int64]) -> None:
        self._sets, self._rows_SV = sets, rows_SV

    def numbers(self, name: str) -> NDArray[Any]:
        """Return one number of every video, as :meth:`.Videos.numbers` does; images are those that all sets have."""
        columns = [index.numbers(name)[rows_V] for index, rows_V in zip(self._sets, self._rows_SV, strict=True)]
        least: NDArray[Any] = np.min(columns, axis=0)
        return least if name == "num_images" else columns[0]

    def ids(self) -> list[str]:
        """Return the ids of these videos."""
        found: list[str] = self._sets[0].texts("video_id").take(pa.array(self._rows_SV[0])).to_pylist()
        return found

    def __len__(self) -> int:
        return int(self._rows_SV.shape[1])

    @overload
    def __getitem__(self, at: int) -> AlignedVideo: ...
    @overload
    def __getitem__(self, at: slice) -> list[AlignedVideo]: ...
    def __getitem__(self, at: int | slice) -> AlignedVideo | list[AlignedVideo]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        rows_S = self._rows_SV[:, at]
        return AlignedVideo(tuple(index.entry(int(row)) for index, row in zip(self._sets, rows_S, strict=True)))


class AlignedShards:
    """Sets of the same videos as one set, whose clips have the channels of each, in the order of the sets.

    Videos that one set has and another rejected are left out, and are among :attr:`rejected`.

    Args:
        sets: Opened; at least two, each of another modality.

    Raises:
        UserError: If they do not hold the same frames of the same videos with the same labels and splits, in pictures
            of the same size.
    """

    def __init__(self, sets: Sequence[ShardSet]) -> None:
        self.sets = tuple(sets)
        self.uri = f" {JOINED} ".join(one.uri for one in sets)
        self.modality = JOINED.join(one.modality for one in sets)
        streams_of(self.modality)
        self.recipe: dict[str, Any] = {one.modality: dict(one.recipe) for one in sets}
        """Of each set, by its modality."""
        self.digest = digest({one.modality: one.digest for one in sets})
        self.content = digest({one.modality: one.content for one in sets})
        self.classes = sets[0].classes
        _check_frames(sets)
        rows_SV = _common_rows(sets)
        _check_videos(sets, rows_SV)
        self._all, self._rows_SV = tuple(one.index for one in sets), rows_SV
        self.videos = AlignedVideos(self._all, rows_SV)

    @property
    def rejected(self) -> list[RejectedVideo]:
        """Videos that some set has not, and why; each once."""
        lost = {video.video_id: video for one in reversed(self.sets) for video in one.rejected}
        return [lost[video_id] for video_id in sorted(lost)]

    @property
    def flow_bound(self) -> float | None:
        """The largest flow that is stored, in pixels per frame step either way; None without flow."""
        return next((one.flow_bound for one in self.sets if one.flow_bound is not None), None)

    @property
    def is_far(self) -> bool:
        """Whether shards of some set come over a network."""
        return any(one.is_far for one in self.sets)

    def splits(self) -> list[str]:
        """Return the names of the splits that stored videos are in, sorted."""
        return self.sets[0].splits()

    def entry(self, video_id: str) -> AlignedVideo:
        """The stored video with this id.

        Raises:
            UserError: If a set does not have it, with the reason if it was rejected.
        """
        return AlignedVideo(tuple(one.entry(video_id) for one in self.sets))

    def select(self, split: str, part: str) -> AlignedVideos:
        """Videos that ``split`` puts into ``part``, ordered by id.

        Raises:
            ConfigError: If there is no such split, or nothing in that part of it.
        """
        chosen = np.isin(self._rows_SV[0], self.sets[0].select(split, part).rows)
        if not chosen.any():
            raise ConfigError(f"{self.uri}: no video of {split}/{part} is in every set. Choose another part.")
        return AlignedVideos(self._all, self._rows_SV[:, chosen])

    def keep_shards(self, folder: str, max_bytes: int) -> None:
        """Keep shards on a disk of every node, see :meth:`.ShardSet.keep_shards`; the sets share the room."""
        for one in self.sets:
            one.keep_shards(folder, max_bytes)

    def expect(self, entry: AlignedVideo, indices: Sequence[int]) -> None:
        """Begin to fetch images that will be read soon, if they have to come over a network."""
        for one, video in zip(self.sets, entry.streams, strict=True):
            if one.is_far:
                one.expect(video, indices)

    def read_clip(self, entry: AlignedVideo, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Images of ``entry`` at ``indices``, ``(T, H, W, C)``; raises as :meth:`.ShardSet.read_clip`."""
        return self.read_part(entry, indices, None)

    def read_part(
        self, entry: AlignedVideo, indices: Sequence[int], part: Part | None, half: bool = False
    ) -> NDArray[np.uint8]:
        """What lies in ``part`` of them, see :meth:`.ShardSet.read_part`."""
        read = zip(self.sets, entry.streams, strict=True)
        return np.concatenate([one.read_part(video, indices, part, half) for one, video in read], axis=-1)


def _check_frames(sets: Sequence[ShardSet]) -> None:
    """Make sure that sets have the same classes, and that their recipes take the same frames."""
    first, fields = sets[0], FrameRecipe.__dataclass_fields__
    for other in sets[1:]:
        if list(other.classes) != list(first.classes):
            raise UserError(f"{first.uri} and {other.uri} have other classes. Extract both from one manifest.")
        for name in _SAME_FRAMES:
            ours, theirs = (one.recipe.get(name, fields[name].default) for one in (first, other))
            if ours != theirs:
                raise UserError(
                    f"{first.uri} and {other.uri} do not hold the same frames: {name} is {ours} and {theirs}. Extract "
                    "both with the same."
                )


def _common_rows(sets: Sequence[ShardSet]) -> NDArray[np.int64]:
    """Return where the videos that every set has lie in each, ``(S, V)``; what one lacks, it has rejected."""
    ids = [one.index.texts("video_id") for one in sets]
    rows_SV = np.stack(
        [pc.fill_null(pc.index_in(ids[0], of), -1).to_numpy(zero_copy_only=False).astype(np.int64) for of in ids]
    )
    for i, other in enumerate(sets[1:], start=1):
        _check_rejected(other, sets[0], ids[0].take(pa.array(np.flatnonzero(rows_SV[i] < 0))))
        _check_rejected(sets[0], other, ids[i].filter(pc.invert(pc.is_in(ids[i], ids[0]))))
    return rows_SV[:, (rows_SV >= 0).all(axis=0)]


def _check_rejected(lacking: ShardSet, having: ShardSet, video_ids: pa.Array) -> None:
    rejected = {video.video_id for video in lacking.rejected}
    strange = [video_id for video_id in video_ids.to_pylist() if video_id not in rejected]
    if strange:
        raise UserError(
            f"{having.uri} has {len(strange)} videos that {lacking.uri} knows nothing of, such as {strange[0]}. "
            "Extract both from one manifest."
        )


def _check_videos(sets: Sequence[ShardSet], rows_SV: NDArray[np.int64]) -> None:
    """Make sure that videos agree in what aligned sets must share."""
    parts = sorted({(split, part) for one in sets for split, names in one.index.parts().items() for part in names})
    for one, rows_V in zip(sets[1:], rows_SV[1:], strict=True):
        for name, remedy in _SAME_VIDEOS.items():
            differ_V = sets[0].index.numbers(name)[rows_SV[0]] != one.index.numbers(name)[rows_V]
            _check_same(sets[0], one, np.stack([rows_SV[0], rows_V])[:, differ_V], name, remedy)
        for split, part in parts:
            ours_V, theirs_V = (
                np.isin(rows, of.index.rows_of(split, part)) for of, rows in ((sets[0], rows_SV[0]), (one, rows_V))
            )
            differ = np.stack([rows_SV[0], rows_V])[:, ours_V != theirs_V]
            _check_same(sets[0], one, differ, "splits", "Extract both from one manifest.")


def _check_same(first: ShardSet, other: ShardSet, differ_2V: NDArray[np.int64], what: str, remedy: str) -> None:
    if differ_2V.size:
        ours, theirs = (one.index.entry(int(row)) for one, row in zip((first, other), differ_2V[:, 0], strict=True))
        raise UserError(
            f"{first.uri} and {other.uri} do not fit each other: the {what} of {ours.video_id} is "
            f"{getattr(ours, what)} in one and {getattr(theirs, what)} in the other (so of {differ_2V.shape[1]} videos "
            f"in all). {remedy}"
        )


OpenedSet = ShardSet | AlignedShards
"""What a training reads."""


def open_shards(uri: str, beside: Sequence[str] = ()) -> OpenedSet:
    """Open the set at ``uri``, with those beside it as one.

    Raises:
        UserError: If one of them cannot be opened, or they do not fit each other.
    """
    found = ShardSet.open(uri)
    return AlignedShards([found, *map(ShardSet.open, beside)]) if beside else found


def sets_of(shards: OpenedSet) -> tuple[ShardSet, ...]:
    """Return the set itself, or those that lie beside each other in it."""
    return shards.sets if isinstance(shards, AlignedShards) else (shards,)
