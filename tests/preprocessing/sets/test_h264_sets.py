"""Frame sets that are stored as video: made, read, checked and exported like those of JPEGs, only smaller."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinebert.preprocessing.config import differences
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.video_as_set import recipe_of, video_set
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.sets.export import export_frames
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from tests.helpers.sets import make_rows, make_set

LENGTHS = (5, 70, 33)
VIDEO = FrameRecipe(resize="fixed", width=65, height=47, codec="h264")
PICTURES = replace(VIDEO, codec="jpeg")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), LENGTHS)


@pytest.fixture(scope="module")
def coded(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return make_set(rows, tmp_path_factory.mktemp("sets") / "h264", VIDEO)


@pytest.fixture(scope="module")
def pictures(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return make_set(rows, tmp_path_factory.mktemp("sets") / "jpeg", PICTURES)


def test_it_holds_the_same_videos_in_the_same_row_groups(coded: ShardSet, pictures: ShardSet) -> None:
    assert coded.videos == pictures.videos
    assert [entry.num_images for entry in coded.videos] == [5, 33, 70]
    assert coded.dataset.counts.bytes < pictures.dataset.counts.bytes / 3
    assert (coded.codec, pictures.codec) == ("h264", "jpeg")
    assert coded.digest != pictures.digest


def test_frames_are_those_of_the_pictures(coded: ShardSet, pictures: ShardSet) -> None:
    for entry in coded.videos:
        ours = coded.read_clip(entry, range(entry.num_images)).astype(int)
        theirs = pictures.read_clip(entry, range(entry.num_images)).astype(int)
        assert np.abs(ours - theirs).mean(axis=(1, 2, 3)).max() < 8  # both lose colours, each in its own way
        farther = np.abs(ours[1:] - theirs[:-1]).mean()
        assert np.abs(ours[1:] - theirs[1:]).mean() < farther / 1.5


def test_clips_may_repeat_wrap_and_go_back(coded: ShardSet) -> None:
    entry = coded.entry("class1/v01")
    whole = coded.read_clip(entry, range(70))
    for indices in ([69, 0, 31, 32, 32, 5, 69], [33], list(range(40, 56)), [64, 63]):
        np.testing.assert_array_equal(coded.read_clip(entry, indices), whole[indices])
    with pytest.raises(IndexError, match="image 70 of 70"):
        coded.read_clip(entry, [0, 70])


def test_made_again_it_has_the_same_bytes(rows: list[ManifestRow], coded: ShardSet, tmp_path: Path) -> None:
    again = make_set(rows, tmp_path / "again", VIDEO)
    assert again.content == coded.content
    assert again.dataset.shards == coded.dataset.shards


def test_it_is_verified_packet_by_packet(
    rows: list[ManifestRow], coded: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def add(_: object, frame_HW3: np.ndarray) -> list[bytes]:
        seen.append(frame_HW3)
        return [bytes(64)]

    assert verify_set(coded.uri).problems == ()
    monkeypatch.setattr("kinebert.preprocessing.extraction.images.SegmentEncoder.add", add)
    monkeypatch.setattr("kinebert.preprocessing.extraction.images.SegmentEncoder.end", lambda self: [])
    broken = make_set(rows[:1], tmp_path / "broken", VIDEO)
    (problem,) = verify_set(broken.uri).problems
    assert "an image of segment 0 does not decode: 5 packets" in problem
    assert len(seen) == 5
    with pytest.raises(ValueError, match=r"shard-00000-of-00001.parquet: class0/v00: 2 packets"):
        broken.read_clip(broken.videos[0], [1])


def test_exported_frames_are_jpegs(coded: ShardSet, tmp_path: Path) -> None:
    assert export_frames(coded, tmp_path) == sum(LENGTHS)
    assert export_frames(coded, tmp_path) == 0
    entry = coded.entry("class1/v01")
    picture = cv2.imread(str(tmp_path / "class1" / "v01" / "img_00070.jpg"))
    assert picture is not None
    assert np.abs(picture[..., ::-1].astype(int) - coded.read_clip(entry, [69])[0]).mean() < 5


def test_a_new_video_is_coded_as_the_set_was(rows: list[ManifestRow], coded: ShardSet, tmp_path: Path) -> None:
    """What a network was trained on is what prediction shows it."""
    recipe = recipe_of(coded.recipe, coded.digest, "here")
    assert recipe == VIDEO
    row = next(row for row in rows if row.video_id == "class1/v01")
    alone = video_set(row.path, str(tmp_path), recipe, coded.classes, FlowSolver())
    indices = [3, 40, 69]
    np.testing.assert_array_equal(
        alone.read_clip(alone.videos[0], indices), coded.read_clip(coded.entry(row.video_id), indices)
    )


def test_it_is_a_part_of_the_recipe_s_digest_and_older_sets_are_as_they_were() -> None:
    assert FrameRecipe(crf=30).plain() == FrameRecipe().plain()
    assert not {"codec", "crf"} & FrameRecipe().plain().keys()
    assert replace(VIDEO, jpeg_quality=80).digest() == VIDEO.digest()
    assert replace(VIDEO, crf=20).digest() != VIDEO.digest()
    assert PoseRecipe(codec="h264").plain()["codec"] == "h264"
    found = differences(VIDEO.plain(), PICTURES.plain())
    assert any(difference.startswith("codec") for difference in found)


def test_flow_and_nonsense_are_refused() -> None:
    with pytest.raises(ConfigError, match="codec = h264 is for frames in colour, and this is flow"):
        FlowRecipe(codec="h264")
    with pytest.raises(ConfigError, match="crf must lie between 0 and 51, got 52"):
        FrameRecipe(crf=52)
