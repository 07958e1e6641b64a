"""The plan of shards: what every node and every run agrees on without a word."""

import random
from dataclasses import replace

import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.sets.plan import MOST_MB, PlannedShard, plan_shards
from kinebert.preprocessing.video.intervals import Interval


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


@pytest.mark.parametrize(("count", "shards"), [(1, 1), (2, 2), (12, 12), (64, 64), (65, 64), (120, 64), (1000, 64)])
def test_so_many_cores_find_work_from_the_beginning(count: int, shards: int) -> None:
    short = [replace(row, duration_s=row.duration_s / 10) for row in rows(count)]
    plan = plan_shards(short)
    assert len(plan) == shards
    assert all(shard.videos for shard in plan)
    assert sorted(video.video_id for shard in plan for video in shard.videos) == [row.video_id for row in short]
    assert plan_shards(short[::-1]) == plan


def stored_mb(videos: list[ManifestRow], shard: PlannedShard) -> float:
    """Reckoned as the option's help says: 23 kB a frame."""
    frames = {row.video_id: row.duration_s * row.fps for row in videos}
    return sum(frames[video.video_id] for video in shard.videos if video.problem is None) * 0.023


@pytest.mark.parametrize("seed", range(3))
def test_no_shard_is_larger_than_said_unless_it_is_one_video(seed: int) -> None:
    """Sizes of pictures differ too, so that shards of equal work have different numbers of frames."""
    rng = random.Random(seed)
    sizes = [(320, 240), (340, 256), (1280, 720), (1920, 1080)]
    many = [replace(row, width=w, height=h) for row in rows(3000, seed) for w, h in [rng.choice(sizes)]]
    many.append(replace(many[0], video_id="film", duration_s=7200.0))
    plan = plan_shards(many)
    large = [shard for shard in plan if stored_mb(many, shard) > MOST_MB]
    assert [[video.video_id for video in shard.videos] for shard in large] == [["film"]]
    total = sum(stored_mb(many, shard) for shard in plan)
    assert len(plan) < 2 * total / MOST_MB  # and not a crowd of small ones


def test_the_longest_videos_are_first_and_unusable_ones_cost_nothing() -> None:
    """Cores that take shards in their order end at about the same time."""
    videos = {row.video_id: row for row in rows(200)}
    plan = plan_shards(list(videos.values()))
    first = [max(videos[video.video_id].duration_s for video in shard.videos) for shard in plan]
    assert first == sorted(first, reverse=True)
    broken = [replace(row, problem="missing") for row in rows(100)]
    assert sorted(len(shard.videos) for shard in plan_shards(broken)) == [1] * 28 + [2] * 36


def test_videos_that_store_as_much_weigh_by_what_decoding_them_takes_as_well() -> None:
    small = [replace(row, duration_s=10.0, problem=None) for row in rows(80)]
    large = [replace(row, video_id=f"large{i}", width=1920, height=1080) for i, row in enumerate(small[:20])]
    plan = plan_shards(small + large)
    for shard in plan:
        if any(video.video_id.startswith("large") for video in shard.videos):
            assert len(shard.videos) == 1


def test_a_header_that_promises_the_moon_does_not_spoil_the_plan() -> None:
    """A video of two seconds that claims thirty years gets no shard of its own, and makes no thousand shards."""
    fair = [replace(row, duration_s=4.0, bytes=100_000, problem=None) for row in rows(640)]
    liar = replace(fair[5], duration_s=1e9, bytes=50_000)
    plan = plan_shards([*fair[:5], liar, *fair[6:]])
    assert len(plan) == 64
    assert max(len(shard.videos) for shard in plan) == 10


def test_segments_weigh_what_they_store_and_their_file_is_decoded_once() -> None:
    film = rows(1)[0]
    cut = [
        replace(film, video_id=f"s{i}", path="/film.mp4", duration_s=3600.0, interval=Interval(i, i + 1, "s"))
        for i in range(50)
    ]
    other = [replace(row, video_id=f"other{i}", path=f"/{i}", duration_s=60.0) for i, row in enumerate(rows(70))]
    plan = plan_shards(cut + other)
    assert len(plan) == 64
    (shard,) = [shard for shard in plan if any(video.path == "/film.mp4" for video in shard.videos)]
    assert len(shard.videos) == 50
