"""Sets as what another set is made of: their pictures looked at again, or poses drawn anew of their joints.

Axes: H height, W width, P people.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.one_video import Frames
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.extraction.video_as_set import recipe_of
from kinebert.preprocessing.fingerprints import file_fingerprint
from kinebert.preprocessing.modalities import RGB
from kinebert.preprocessing.pose.estimator import PoseEstimator
from kinebert.preprocessing.pose.skeleton import People
from kinebert.preprocessing.recipe import DRAWING, PoseRecipe
from kinebert.preprocessing.schema import SEGMENT_LENGTH
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.still_frames import StillCounts

UInt8 = NDArray[np.uint8]


class StoredFrames:
    """Frames of one video as a set stores them, BGR ``(H, W, 3)``; like :class:`.VideoFrames` otherwise."""

    def __init__(self, shards: ShardSet, video_id: str) -> None:
        self._shards, self._entry = shards, shards.entry(video_id)
        self.problem = self._entry.problem if self._entry.truncated else None

    @property
    def still(self) -> StillCounts | None:
        """How many frames show no motion, as the set has counted them."""
        entry = self._entry
        if entry.num_repeated is None or entry.num_near_still is None:
            return None
        return StillCounts(repeated=entry.num_repeated, near_still=entry.num_near_still)

    def __iter__(self) -> Iterator[UInt8]:
        for start in range(0, self._entry.num_images, SEGMENT_LENGTH):
            indices = range(start, min(start + SEGMENT_LENGTH, self._entry.num_images))
            for frame_HW3 in self._shards.read_clip(self._entry, indices):
                yield cast(UInt8, cv2.cvtColor(frame_HW3, cv2.COLOR_RGB2BGR))


class UnseenFrames(StoredFrames):
    """As many black frames as people were looked for in, in their size, for a video whose joints are stored."""

    def __iter__(self) -> Iterator[UInt8]:
        seen = self._shards.read_joints(self._entry, [0])
        black_HW3 = np.broadcast_to(np.zeros(3, np.uint8), (seen.height, seen.width, 3))  # takes no memory
        for _ in range(self._entry.num_images):
            yield black_HW3


@dataclass(frozen=True)
class StoredVideos:
    """Opens the videos of a set in place of video files. May be pickled."""

    shards: ShardSet
    kind: Callable[[ShardSet, str], Frames] = StoredFrames

    def opener(self, video_id: str) -> Callable[..., Frames]:
        """Return what gives the frames of one video, called like :class:`.VideoFrames`."""

        def open_video(path: str, *_: Any, **__: Any) -> Frames:
            del path  # the shard that it lies in; the recipe chose among frames of the film
            return self.kind(self.shards, video_id)

        return open_video

    def rows(self) -> list[ManifestRow]:
        """Return the set's videos as a manifest lists them, with labels and splits; a file is a shard."""
        sizes = {shard.name: shard.bytes for shard in self.shards.dataset.shards}
        places = {name: storage.join(self.shards.uri, name) for name in sizes}
        marks = {name: file_fingerprint(path) for name, path in places.items() if storage.is_local(path)}
        stored = [
            ManifestRow(
                video_id=entry.video_id,
                path=places[entry.shard],
                label=entry.label,
                label_name=entry.label_name,
                group="",
                splits=entry.splits,
                width=entry.width,
                height=entry.height,
                fps=1.0,
                duration_s=float(entry.num_frames),
                bytes=sizes[entry.shard],
                fingerprint=marks.get(entry.shard),
            )
            for entry in self.shards.videos
        ]
        lost = [
            ManifestRow(
                video_id=video.video_id,
                path=self.shards.uri,
                label=video.label,
                label_name=video.label_name,
                group="",
                splits=video.splits,
                problem=video.problem,
            )
            for video in self.shards.rejected
        ]
        return sorted([*stored, *lost], key=lambda row: row.video_id)


@dataclass(frozen=True, kw_only=True)
class PoseReader(PoseFinder):
    """Finds the people that a set has stored already."""

    shards: ShardSet

    @property
    def uses_gpu(self) -> bool:
        """Never."""
        return False

    def ready(self, recipe: PoseRecipe) -> "PoseReader":
        """Return itself: there is no network."""
        return replace(self, backend=recipe.backend)

    def name(self) -> str:
        """Who looked at the frames of the set."""
        return ", ".join(sorted(self.shards.solvers)) or "unknown"

    @contextmanager
    def session(self, video_id: str) -> Iterator[PoseEstimator]:
        """Have the people of one video."""
        yield _Known(self.shards, video_id)


class _Known:
    """Gives people that are stored, in their order."""

    name = "stored"

    def __init__(self, shards: ShardSet, video_id: str) -> None:
        self._shards, self._entry, self._at = shards, shards.entry(video_id), 0

    def pictures_at_once(self, height: int, width: int) -> int:
        """As many as lie together."""
        return SEGMENT_LENGTH

    def begin(self) -> None:
        """Start again with the first picture."""
        self._at = 0

    def __call__(self, frames: Sequence[UInt8]) -> list[People]:
        """Return the people of the next pictures."""
        found = self._shards.read_joints(self._entry, range(self._at, self._at + len(frames)))
        self._at += len(frames)
        return [people_PJ3.astype(np.float32) for people_PJ3 in found.people]


def looking_at(shards: ShardSet, recipe: PoseRecipe) -> PoseRecipe:
    """Return the recipe of poses that are looked for in a set's stored frames.

    Raises:
        ConfigError: If the set has no frames in colour, or the recipe is for another one.
    """
    if shards.modality != RGB.name:
        raise ConfigError(f"{shards.uri}: a set of {shards.modality}, poses are looked for in one of {RGB.name}.")
    if recipe.source and recipe.source != shards.digest:
        raise ConfigError(
            f"{shards.uri}: made by recipe {shards.digest}, but source = {recipe.source}. Give the set that was looked "
            "at, or leave source out."
        )
    return replace(recipe, source=shards.digest)


def drawn_anew(shards: ShardSet, drawing: PoseRecipe) -> PoseRecipe:
    """Return the recipe of a set of poses that is drawn anew of the joints of another one.

    Args:
        shards: That one. How people were looked for is as its recipe says.
        drawing: How they are drawn and stored (:data:`.DRAWING`); what else it says must not contradict.

    Raises:
        ConfigError: If the set has no joints, they were found in another way than ``drawing`` says, or are to be drawn
            over frames, which are not there.
    """
    if not shards.has_joints:
        raise ConfigError(
            f"{shards.uri}: a set of {shards.modality} without joints, of which nothing can be drawn. Give one that "
            "`kinebert extract-pose` has made with a backend."
        )
    if drawing.background != "black":
        raise ConfigError("background = frame needs the frames, and joints are drawn anew without: take black.")
    found = recipe_of(shards.recipe, shards.digest, shards.uri)
    assert isinstance(found, PoseRecipe), "others have no joints"
    if drawing.backend and drawing.backend != found.backend:
        raise ConfigError(
            f"{shards.uri}: its people were found by {found.backend}, not by {drawing.backend}. Leave backend out."
        )
    return replace(found, **{name: getattr(drawing, name) for name in DRAWING})
