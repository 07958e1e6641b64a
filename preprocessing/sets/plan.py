"""Which videos go into which shard. Depends on the manifest alone, never on the size of the cluster."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from kinebert.preprocessing.config import digest
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError

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


@dataclass(frozen=True)
class PlannedShard:
    """The videos that one task makes one file of."""

    name: str
    videos: tuple[PlannedVideo, ...]

    def files_digest(self) -> str:
        """Twelve characters that change when a file of the shard is replaced, or its problem is solved."""
        return digest([[video.video_id, video.num_bytes, video.problem] for video in self.videos])


def plan_shards(rows: Sequence[ManifestRow], videos_per_shard: int) -> list[PlannedShard]:
    """Divide videos into shards of about equal numbers of decoded pixels, ``videos_per_shard`` of them on average.

    The longest videos are dealt first, each to the shard that has least so far.

    Raises:
        ConfigError: If ``videos_per_shard`` is less than 1.
    """
    if videos_per_shard < 1:
        raise ConfigError(f"videos_per_shard must be at least 1, got {videos_per_shard}.")
    count = -(-len(rows) // videos_per_shard)
    heap = [(0.0, i) for i in range(count)]
    groups: list[list[ManifestRow]] = [[] for _ in range(count)]
    for row in sorted(rows, key=lambda row: (-_pixels(row), row.video_id)):
        load, i = heapq.heappop(heap)
        groups[i].append(row)
        heapq.heappush(heap, (load + _pixels(row), i))
    return [
        PlannedShard(
            f"shard-{i:05d}-of-{count:05d}.parquet",
            tuple(PlannedVideo(row.video_id, row.path, row.bytes, row.problem) for row in sorted(group, key=_by_id)),
        )
        for i, group in enumerate(groups)
    ]


def _by_id(row: ManifestRow) -> str:
    return row.video_id


def _pixels(row: ManifestRow) -> float:
    """Pixels that decoding a video will give, as far as its header tells."""
    duration_s = row.duration_s or row.bytes / _BYTES_PER_S
    return max(1.0, row.width * row.height * duration_s * (row.fps or _UNKNOWN_FPS))
