"""Repeated frames in shard sets: counted wherever they are stored, dropped on request, no matter of digests else."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.guard import Limits, sweep
from kinebert.preprocessing.extraction.task import BuildShard, BuildShards
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.dataset_file import Counts
from kinebert.preprocessing.sets.folder import content_digest, describe_still, finish_set
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.video.intervals import Interval
from tests.helpers.sets import make_set
from tests.helpers.videos import manifest_rows, moving_texture, write_video

RGB = FrameRecipe(resize="none")
FLOW = FlowRecipe(resize="none", tvl1=TvL1Params(warps=1, nscales=1, outer_iterations=1))
DISTINCT = 10


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    """Twice the same ten pictures: as they are, and every second of them shown twice; and one picture shown often."""
    folder = tmp_path_factory.mktemp("repeats")
    frames = moving_texture(DISTINCT, 96, 64, seed=5)
    write_video(folder / "a" / "once.mp4", frames)
    write_video(folder / "a" / "twice.mp4", [frame for i, frame in enumerate(frames) for _ in range(1 + i % 2)])
    write_video(folder / "b" / "still.mp4", frames[:1] * 6)
    return manifest_rows(folder)


def test_counts_stand_in_the_index_and_are_verified(rows: list[ManifestRow], tmp_path: Path) -> None:
    found = make_set(rows, tmp_path / "set", RGB)
    counted = {video.video_id: (video.num_frames, video.num_repeated, video.num_near_still) for video in found.videos}
    assert counted == {"a/once": (10, 0, 0), "a/twice": (15, 5, 0), "b/still": (6, 5, 0)}
    assert (found.dataset.counts.repeated, found.dataset.counts.near_still) == (10, 0)
    assert verify_set(found.uri).problems == ()
    text = describe_still(found.dataset.counts, found.recipe)
    assert (
        text
        == "10 of 31 frames (32.3%) repeat the one before, 0 more are nearly still (--drop-repeats leaves repeats out)"
    )
    path = tmp_path / "set" / "dataset.json"
    path.write_text(path.read_text().replace('"repeated": 10', '"repeated": 9'))
    assert "dataset.json: says 9 repeated, index.parquet has 10" in verify_set(found.uri).problems


def test_frames_and_flow_drop_the_same_frames_whatever_their_sizes(rows: list[ManifestRow], tmp_path: Path) -> None:
    dropping = replace(RGB, drop_repeats=True), replace(FLOW, resize="fixed", width=48, height=32, drop_repeats=True)
    cut = replace(rows[1], video_id="cut", interval=Interval(2, 9, "frames"))
    rows = [*rows, cut]
    (shard,) = plan_shards(rows, 99)
    made = []
    for folder in ("together", "apart"):
        builds = []
        for recipe in dropping:
            output = tmp_path / folder / recipe.modality
            output.mkdir(parents=True)
            builds.append(BuildShard(output=str(output), recipe=recipe, limits=Limits(), run_id="job"))
        made.append(BuildShards(tuple(builds))(shard) if folder == "together" else tuple(b(shard) for b in builds))
    together, apart = made
    assert [one.sha256 for one in together] == [one.sha256 for one in apart]
    for frames, flow in zip(together[0].videos, together[1].videos, strict=True):
        assert (frames.num_frames, frames.num_repeated) == (flow.num_frames, flow.num_repeated)
        assert flow.num_images == max(0, frames.num_images - 1)
    (still,) = [video for video in together[0].videos if video.rejected]
    assert still.problem == "decode: 1 frames besides 5 that repeat the one before, at least 2 are needed"
    found = finish_set(builds[0].output, dropping[0], rows, [apart[0]])
    assert describe_still(found.counts, found.recipe) == (
        "7 of 32 frames (21.9%) repeated the one before and were left out, 0 more are nearly still"
    )
    sweep(builds[0].output)
    assert verify_set(builds[0].output).problems == ()


def test_what_is_left_is_the_video_without_repeats(rows: list[ManifestRow], tmp_path: Path) -> None:
    """The same pictures but for what the encoder did to them."""
    found = make_set(rows, tmp_path / "set", replace(FLOW, drop_repeats=True, min_frames=2))
    entries = {video.video_id: video for video in found.videos}
    once, twice = (found.read_clip(entries[name], range(DISTINCT - 1)) for name in ("a/once", "a/twice"))
    assert abs(once.astype(int) - twice).mean() < 1, "codes of 256 for -20 to 20 pixels"
    kept = make_set(rows[:2], tmp_path / "kept", FLOW)
    still = kept.read_clip({video.video_id: video for video in kept.videos}["a/twice"], range(14))
    assert abs(still[1::3].astype(int) - 128).mean() < 0.1, "between a frame and its repeat nothing moves"


def test_only_dropping_is_a_word_of_the_digest(rows: list[ManifestRow]) -> None:
    for recipe in (RGB, FLOW):
        assert "drop_repeats" not in recipe.plain()
        dropping = replace(recipe, drop_repeats=True)
        assert dropping.plain() == {**recipe.plain(), "drop_repeats": True}
        assert dropping.digest() != recipe.digest()
    assert RGB.digest() == "47543ec6a57d", "that of versions before"
    assert FLOW.digest() == "5b7420190c90"


def test_sets_that_do_not_count_are_read_and_have_the_same_content(rows: list[ManifestRow], tmp_path: Path) -> None:
    """As earlier versions wrote them."""
    found = make_set(rows, tmp_path / "set", RGB)
    index, about = tmp_path / "set" / "index.parquet", tmp_path / "set" / "dataset.json"
    pq.write_table(pq.read_table(index).drop_columns(["num_repeated", "num_near_still"]), index)
    plain = json.loads(about.read_text())
    for name in ("repeated", "near_still"):
        del plain["counts"][name]
    del plain["index"]
    about.write_text(json.dumps(plain))
    older = ShardSet.open(found.uri)
    assert older.content == found.content == plain["content"]
    assert [video.num_repeated for video in older.videos] == [None] * 3
    assert list(older.videos) == list(found.videos)
    assert verify_set(found.uri).problems == ()
    assert describe_still(older.dataset.counts, older.recipe) is None
    assert older.dataset.plain() == {**plain, "counts": plain["counts"]}
    assert content_digest(["a"], [{"splits": [], "num_repeated": 3}]) == content_digest(["a"], [{"splits": []}])


def test_of_a_set_that_an_earlier_version_began_nothing_is_said(rows: list[ManifestRow], tmp_path: Path) -> None:
    output = tmp_path / "set"
    made = make_set(rows, output, RGB)
    shards = plan_shards(rows, 2)
    build = BuildShard(output=str(output), recipe=RGB, limits=Limits(), run_id="")
    summaries = [build(shard) for shard in shards]
    older = [replace(video, num_repeated=None, num_near_still=None) for video in summaries[0].videos]
    dataset = finish_set(str(output), RGB, rows, [replace(summaries[0], videos=tuple(older)), *summaries[1:]])
    assert (dataset.counts.repeated, dataset.counts.near_still) == (None, None)
    assert dataset.content == made.content
    assert describe_still(Counts(**dataset.plain()["counts"]), dataset.recipe) is None
