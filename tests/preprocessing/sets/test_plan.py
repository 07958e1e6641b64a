"""The plan of shards: what every node and every run agrees on without a word."""

import random

import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.sets.plan import plan_shards


def rows(count: int, seed: int = 0) -> list[ManifestRow]:
    """Videos whose lengths differ a hundredfold."""
    rng = random.Random(seed)
    return [
        ManifestRow(
            video_id=f"c/{i:03d}",
            path=f"/videos/{i:03d}.mp4",
            label=0,
            label_name="c",
            group="",
            width=340,
            height=256,
            fps=25.0,
            duration_s=10 ** rng.uniform(0, 2),
            problem="missing" if i == 3 else None,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize(("count", "per_shard", "shards"), [(100, 16, 7), (16, 16, 1), (17, 16, 2), (5, 1, 5)])
def test_every_video_is_in_one_shard_and_no_shard_is_empty(count: int, per_shard: int, shards: int) -> None:
    plan = plan_shards(rows(count), per_shard)
    assert len(plan) == len({shard.name for shard in plan}) == shards
    assert all(shard.videos for shard in plan)
    assert sorted(video.video_id for shard in plan for video in shard.videos) == [r.video_id for r in rows(count)]
    assert [v.problem for shard in plan for v in shard.videos if v.video_id == "c/003"] == ["missing"]


def test_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = rows(100)
    random.Random(1).shuffle(shuffled)
    assert plan_shards(shuffled, 7) == plan_shards(rows(100), 7)


@pytest.mark.parametrize("seed", range(5))
def test_shards_differ_by_less_than_the_longest_video(seed: int) -> None:
    """Longest first, each to the least loaded: when the last video of a shard came, that shard had least."""
    videos = {row.video_id: row.duration_s for row in rows(100, seed)}
    loads = [sum(videos[v.video_id] for v in shard.videos) for shard in plan_shards(rows(100, seed), 10)]
    assert max(loads) - min(loads) <= max(videos.values())
    assert max(loads) < 1.2 * sum(loads) / len(loads)  # measured at most 1.09


def test_videos_of_unknown_length_are_weighed_by_their_bytes() -> None:
    unknown = [
        ManifestRow(video_id=f"v{i}", path="", label=0, label_name="", group="", width=64, height=48, bytes=size)
        for i, size in enumerate([4_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000])
    ]
    plan = plan_shards(unknown, 3)
    assert [len(shard.videos) for shard in plan] == [1, 4]


def test_a_shard_holds_at_least_one_video() -> None:
    with pytest.raises(ConfigError, match="videos_per_shard must be at least 1, got 0"):
        plan_shards(rows(3), 0)
