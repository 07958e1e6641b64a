"""Which videos go into which shard. Depends on the manifest alone, never on the size of the cluster."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinebert.preprocessing.config import digest
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.video.intervals import Interval

_UNKNOWN_FPS, _BYTES_PER_S = 25.0, 100_000.0


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class PlannedShard:
    """The videos that one task makes one file of."""

    name: str
    videos: tuple[PlannedVideo, ...]

    def files_digest(self) -> str:
        """Twelve characters that change when a file is replaced, its problem is solved, or a segment is moved."""
        return digest([_known_by(video) for video in self.videos])

    def by_file(self) -> list[tuple[PlannedVideo, ...]]:
        """The videos in their order; those of a file that is cut into segments stand together, where its first is."""
        cut = {video.path for video in self.videos if video.interval is not None}
        files: dict[str, list[PlannedVideo]] = {}
        for video in self.videos:
            files.setdefault(video.path if video.path in cut else f"id {video.video_id}", []).append(video)
        return [tuple(videos) for videos in files.values()]


def plan_shards(rows: Sequence[ManifestRow], videos_per_shard: int) -> list[PlannedShard]:
    """Divide videos into shards of about equal numbers of decoded pixels, ``videos_per_shard`` of them on average.

    The longest videos are dealt first, each to the shard that has least so far. The segments of one file stay together,
    so that it is decoded once.

    Raises:
        ConfigError: If ``videos_per_shard`` is less than 1.
    """
    if videos_per_shard < 1:
        raise ConfigError(f"videos_per_shard must be at least 1, got {videos_per_shard}.")
    files = _files(rows)
    count = min(-(-len(rows) // videos_per_shard), len(files))
    heap = [(0.0, i) for i in range(count)]
    groups: list[list[ManifestRow]] = [[] for _ in range(count)]
    for file in sorted(files, key=lambda file: (-_pixels(file[0]), file[0].video_id)):
        load, i = heapq.heappop(heap)
        groups[i] += file
        heapq.heappush(heap, (load + _pixels(file[0]), i))
    return [
        PlannedShard(f"shard-{i:05d}-of-{count:05d}.parquet", tuple(map(_planned, sorted(group, key=_by_id))))
        for i, group in enumerate(groups)
    ]


def _files(rows: Sequence[ManifestRow]) -> list[list[ManifestRow]]:
    """Rows that are decoded together: one for each video, but all of a file that is cut into segments."""
    cut = {row.path for row in rows if row.interval is not None}
    files: dict[str, list[ManifestRow]] = {}
    for row in sorted(rows, key=_by_id):
        files.setdefault(row.path if row.path in cut else f"id {row.video_id}", []).append(row)
    return list(files.values())


def _planned(row: ManifestRow) -> PlannedVideo:
    return PlannedVideo(row.video_id, row.path, row.bytes, row.problem, row.interval)


def _known_by(video: PlannedVideo) -> list[Any]:
    found = [video.video_id, video.num_bytes, video.problem]
    return found if video.interval is None else [*found, str(video.interval)]


def _by_id(row: ManifestRow) -> str:
    return row.video_id


def _pixels(row: ManifestRow) -> float:
    """Pixels that decoding a video will give, as far as its header tells."""
    duration_s = row.duration_s or row.bytes / _BYTES_PER_S
    return max(1.0, row.width * row.height * duration_s * (row.fps or _UNKNOWN_FPS))
