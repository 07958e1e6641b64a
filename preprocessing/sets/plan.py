"""Which videos go into which shard. Depends on the manifest alone, never on the size of the cluster."""

import heapq
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinebert.preprocessing.config import digest
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.video.intervals import Interval

LEAST_SHARDS = 64
"""Shards of a set, unless it has fewer videos: so many cores find work from the beginning."""
MOST_MB = 128
"""Megabytes of one shard, unless it is one video: what a killed task has to do again, and a node keeps for a while."""
_FRAME_BYTES = 23_000
"""Of a stored frame of 340x256 pixels at quality 95, measured. What other recipes store does not change the plan."""
_STORED_PIXELS = 1_000_000
"""Decoded pixels that one stored frame counts as. To resize and encode it takes as long as to decode 160,000, to solve
its flow on a core 10 millions; both kinds of sets have one plan."""
_UNKNOWN_FRAME_BYTES = 4000.0
"""Of a frame in its video file, where no header of the manifest says how many frames there are."""
_ABSURD = 50
"""Times by which the frames that a header promises may differ from those that the file's size suggests."""


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """What a task must know of one video."""

    video_id: str
    path: str
    num_bytes: int
    """Size of the file, by which a file that was replaced is noticed."""
    problem: str | None
    """Why the manifest says that it cannot be used; None where it can."""
    interval: Interval | None = None
    """Segment of the file that it is; None for all of the file."""
    fingerprint: str | None = None
    """Of the file, by which one that was replaced by another of its size is noticed; None where it is not known."""


@dataclass(frozen=True)
class PlannedShard:
    """The videos that one task makes one file of."""

    name: str
    videos: tuple[PlannedVideo, ...]

    def files_digest(self) -> str:
        """Twelve characters that change when a file is replaced, its problem is solved, or a segment is moved."""
        return digest([_known_by(video) for video in self.videos])

    def sources_digest(self) -> str | None:
        """Twelve characters that change when a file is replaced by another of its size; None where that is not known.

        It stands beside :meth:`files_digest`, which is that of manifests without fingerprints, and in no shard.
        """
        known = [[video.video_id, video.fingerprint] for video in self.videos]
        return digest(known) if any(video.fingerprint for video in self.videos) else None

    def is_of(self, files: str, sources: str | None) -> bool:
        """Whether a shard with these digests was made from these files, as far as both are known."""
        here = self.sources_digest()
        return files == self.files_digest() and (None in (here, sources) or here == sources)

    def by_file(self) -> list[tuple[PlannedVideo, ...]]:
        """The videos in their order; those of a file that is cut into segments stand together, where its first is."""
        cut = {video.path for video in self.videos if video.interval is not None}
        files: dict[str, list[PlannedVideo]] = {}
        for video in self.videos:
            files.setdefault(video.path if video.path in cut else f"id {video.video_id}", []).append(video)
        return [tuple(videos) for videos in files.values()]


@dataclass(frozen=True, slots=True)
class _File:
    """Rows that are decoded together: one for each video, but all of a file that is cut into segments."""

    rows: tuple[ManifestRow, ...]
    work: float
    """What making its images takes, as so many decoded pixels; at least 1."""
    num_frames: float
    """Stored frames."""


def plan_shards(rows: Sequence[ManifestRow], videos_per_shard: int | None = None) -> list[PlannedShard]:
    """Divide videos into shards of about equal work: decoded pixels and stored frames, as far as headers tell.

    There are at least :data:`LEAST_SHARDS`, or as many as videos where those are fewer, and none has more than
    :data:`MOST_MB` megabytes, reckoned at the default size and quality, unless it is one video. A file that is cut into
    segments counts as one video: they stay together, so that it is decoded once. The longest are dealt first, each to
    the shard that has least so far, so that the first shards have the longest.

    Args:
        rows: The manifest.
        videos_per_shard: Plan by this number of videos instead, on average.

    Raises:
        ConfigError: If ``videos_per_shard`` is less than 1.
    """
    files = _files(rows)
    if videos_per_shard is None:
        groups = _by_work(files)
    elif videos_per_shard < 1:
        raise ConfigError(f"videos_per_shard must be at least 1, got {videos_per_shard}.")
    else:
        groups = _dealt(files, min(math.ceil(len(rows) / videos_per_shard), len(files)))
    shards = [[row for file in group for row in file.rows] for group in groups]
    return [
        PlannedShard(f"shard-{i:05d}-of-{len(shards):05d}.parquet", tuple(map(_planned, sorted(shard, key=_by_id))))
        for i, shard in enumerate(shards)
    ]


def estimated_frames(rows: Sequence[ManifestRow]) -> dict[str, float]:
    """Frames of each video by its id, at least 1: what its header says, unless that is absurd for so many bytes.

    Then, and where the header says nothing, as many as the other videos have in so many bytes.
    """
    whole = _frames_of_files(rows)
    return {row.video_id: max(1.0, _share(row) * whole[row.video_id]) for row in rows}


def _frames_of_files(rows: Sequence[ManifestRow]) -> dict[str, float]:
    """Frames of the whole file of each video, by its id."""
    said = {row.video_id: row.duration_s * row.fps for row in rows}
    each = [row.bytes / said[row.video_id] for row in rows if said[row.video_id] > 0 and row.bytes]
    usual = statistics.median(each) if each else _UNKNOWN_FRAME_BYTES
    found = {}
    for row in rows:
        expected = row.bytes / usual
        absurd = each and not expected / _ABSURD <= said[row.video_id] <= expected * _ABSURD
        found[row.video_id] = expected if absurd or said[row.video_id] <= 0 else said[row.video_id]
    return found


def _share(row: ManifestRow) -> float:
    return 1.0 if row.interval is None else row.interval.share(row.duration_s, row.fps)


def _files(rows: Sequence[ManifestRow]) -> list[_File]:
    cut = {row.path for row in rows if row.interval is not None}
    together: dict[str, list[ManifestRow]] = {}
    for row in sorted(rows, key=_by_id):
        together.setdefault(row.path if row.path in cut else f"id {row.video_id}", []).append(row)
    frames = _frames_of_files(rows)
    return [_weighed(tuple(file), frames[file[0].video_id]) for file in together.values()]


def _weighed(rows: tuple[ManifestRow, ...], num_frames: float) -> _File:
    usable = [row for row in rows if row.problem is None]
    stored = sum(_share(row) * num_frames for row in usable)
    decoded = num_frames * rows[0].width * rows[0].height if usable else 0.0
    return _File(rows, max(1.0, decoded + stored * _STORED_PIXELS), stored)


def _by_work(files: Sequence[_File]) -> list[list[_File]]:
    most = MOST_MB * 1e6 / _FRAME_BYTES
    count = max(LEAST_SHARDS, math.ceil(sum(file.num_frames for file in files) / most))
    while True:
        groups = _dealt(files, min(count, len(files)))
        if all(len(group) == 1 or sum(file.num_frames for file in group) <= most for group in groups):
            return groups
        count += math.ceil(count / 32)  # work and megabytes are not the same: some shard came out too large


def _dealt(files: Sequence[_File], count: int) -> list[list[_File]]:
    heap = [(0.0, i) for i in range(count)]
    groups: list[list[_File]] = [[] for _ in range(count)]
    for file in sorted(files, key=lambda file: (-file.work, file.rows[0].video_id)):
        load, i = heapq.heappop(heap)
        groups[i].append(file)
        heapq.heappush(heap, (load + file.work, i))
    return groups


def _planned(row: ManifestRow) -> PlannedVideo:
    return PlannedVideo(row.video_id, row.path, row.bytes, row.problem, row.interval, row.fingerprint)


def _known_by(video: PlannedVideo) -> list[Any]:
    found = [video.video_id, video.num_bytes, video.problem]
    return found if video.interval is None else [*found, str(video.interval)]


def _by_id(row: ManifestRow) -> str:
    return row.video_id
