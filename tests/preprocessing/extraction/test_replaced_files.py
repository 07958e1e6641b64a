"""A video whose file another of the same size has replaced: since the index, and between two extractions."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.fingerprints import file_fingerprint
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.folder import claim_output, is_finished
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.sets.writer import ShardSummary
from tests.helpers.sets import make_rows, make_set

RGB = FrameRecipe(width=48, height=32)


@pytest.fixture
def rows(tmp_path: Path) -> list[ManifestRow]:
    """Two videos as an earlier version has indexed them."""
    return [replace(row, fingerprint=None) for row in make_rows(tmp_path / "videos", [6, 9])]


def known(rows: list[ManifestRow]) -> list[ManifestRow]:
    """The same as this version indexes them now."""
    return [replace(row, fingerprint=file_fingerprint(row.path), bytes=Path(row.path).stat().st_size) for row in rows]


def swap(rows: list[ManifestRow]) -> None:
    """Put another video of as many bytes in the place of the second."""
    first, second = (Path(row.path) for row in rows)
    size = second.stat().st_size
    assert size >= first.stat().st_size
    second.write_bytes(first.read_bytes().ljust(size, b"\0"))


def build(rows: list[ManifestRow], output: Path) -> ShardSummary:
    output.mkdir(exist_ok=True)
    (planned,) = plan_shards(rows, 2)
    return BuildShard(output=str(output), recipe=RGB, limits=Limits(), run_id="job")(planned)


def lengths(made: ShardSummary) -> list[int]:
    return [video.num_frames for video in made.videos]


def test_a_file_that_was_replaced_since_the_index_is_said(rows: list[ManifestRow], tmp_path: Path) -> None:
    indexed = known(rows)
    swap(rows)
    made = build(indexed, tmp_path / "set")
    assert made.replaced == (rows[1].video_id,)
    assert lengths(made) == [6, 6]
    assert build(known(rows), tmp_path / "other").replaced == ()
    assert build(rows, tmp_path / "earlier").replaced == ()  # a manifest that knows sizes only cannot say it


def test_a_file_that_was_replaced_and_indexed_again_makes_its_shard_again(
    rows: list[ManifestRow], tmp_path: Path
) -> None:
    indexed = known(rows)
    first = build(indexed, tmp_path / "set")
    assert lengths(first) == [6, 9]
    assert build(indexed, tmp_path / "set") == first
    swap(rows)
    again = build(known(rows), tmp_path / "set")
    assert lengths(again) == [6, 6]
    assert not again.was_damaged
    assert again.replaced == ()


def test_a_finished_set_knows_its_files_by_more_than_sizes(rows: list[ManifestRow], tmp_path: Path) -> None:
    indexed = known(rows)
    make_set(indexed, tmp_path / "set", RGB)
    assert is_finished(str(tmp_path / "set"), indexed, claim_output(str(tmp_path / "set"), RGB, plan_shards(indexed)))
    assert is_finished(str(tmp_path / "set"), rows, claim_output(str(tmp_path / "set"), RGB, plan_shards(rows)))
    swap(rows)
    again = known(rows)
    assert not is_finished(str(tmp_path / "set"), again, claim_output(str(tmp_path / "set"), RGB, plan_shards(again)))


def test_sets_of_earlier_manifests_stay_what_they_are_and_go_on_with_later_ones(
    rows: list[ManifestRow], tmp_path: Path
) -> None:
    make_set(rows, tmp_path / "earlier", RGB)
    make_set(known(rows), tmp_path / "later", RGB)
    earlier, later = (json.loads((tmp_path / name / "dataset.json").read_text()) for name in ("earlier", "later"))
    assert (earlier["digest"], earlier["content"]) == (later["digest"], later["content"])
    assert [shard.pop("sources", None) is None for shard in earlier["shards"]] == [True]
    assert [shard.pop("sources", None) is None for shard in later["shards"]] == [False]
    assert earlier == later
    plan = claim_output(str(tmp_path / "earlier"), RGB, plan_shards(known(rows)))
    assert is_finished(str(tmp_path / "earlier"), known(rows), plan)
    before = (tmp_path / "earlier" / plan[0].name).stat().st_mtime_ns
    make_set(known(rows), tmp_path / "earlier", RGB)
    assert (tmp_path / "earlier" / plan[0].name).stat().st_mtime_ns == before
