"""Sets of poses that are looked for: one picture per frame, drawn of the joints that lie beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.extraction import pose_finder
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.extraction.video_as_set import recipe_of, video_set
from kinebert.preprocessing.pose.drawing import draw
from kinebert.preprocessing.pose.estimator import Means
from kinebert.preprocessing.pose.joints import from_bytes, to_bytes
from kinebert.preprocessing.pose.skeleton import People
from kinebert.preprocessing.pose.weights import FOLDER_VARIABLE
from kinebert.preprocessing.recipe import FrameRecipe, PoseRecipe
from kinebert.preprocessing.sets.folder import claim_output, describe_poses
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.video.frames import VideoFrames, resized
from kinebert.preprocessing.video.images import encode_jpeg
from kinebert.preprocessing.video.intervals import Interval
from tests.helpers.poses import SHA256, Bright, BrightParams, bright_backend, write_weights
from tests.helpers.sets import make_rows, make_set

FINDER = PoseFinder(backend="bright")


def recipe(**changes: Any) -> PoseRecipe:
    """Poses of the test's backend at another size than the videos have."""
    return PoseRecipe(**{"backend": "bright", "weights": {"network": SHA256}, "width": 40, "height": 36, **changes})


@pytest.fixture(autouse=True)
def backend(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The backend is there, and its weights are found."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(write_weights(tmp_path_factory.mktemp("weights")).parent))
    pose_finder._started.cache_clear()
    with bright_backend():
        yield


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    """Videos of 64x48, one of more than a segment, and one that cannot be read."""
    made = make_rows(tmp_path_factory.mktemp("videos"), [40, 9, 7, 12])
    Path(made[-1].path).write_bytes(b"nothing")
    return [replace(row, bytes=Path(row.path).stat().st_size, fingerprint=None) for row in made]


def looked_at(path: str, params: BrightParams | None = None) -> tuple[list[NDArray[np.uint8]], list[People]]:
    """The frames of a video as they are decoded, and their people."""
    frames = list(VideoFrames(path, FrameRecipe(resize="none")))
    return frames, Bright(params or BrightParams(), Means())(frames)


def test_every_frame_has_its_people_as_decoded_and_a_picture_drawn_of_them(
    rows: list[ManifestRow], tmp_path: Path
) -> None:
    shards = make_set(rows, tmp_path / "pose", recipe(), solver=FINDER)
    frames_set = make_set(rows, tmp_path / "rgb", FrameRecipe(width=40, height=36))
    counts = [(v.video_id, v.num_frames, v.num_images, v.width, v.height, v.num_near_still) for v in shards.videos]
    rgb = [(v.video_id, v.num_frames, v.num_images, v.width, v.height, v.num_near_still) for v in frames_set.videos]
    assert counts == rgb
    assert [v.problem for v in shards.rejected] == [v.problem for v in frames_set.rejected]
    assert len(shards.rejected) == 1
    for entry in shards.videos:
        frames, people = looked_at(next(row.path for row in rows if row.video_id == entry.video_id))
        found = shards.read_joints(entry)
        assert (found.width, found.height) == (64, 48)
        jpegs = [bytes(jpeg) for (jpeg,) in shards.read_jpegs(entry, range(entry.num_images))]
        for i, kept in enumerate(found.people):
            assert kept.dtype == np.float16
            assert np.array_equal(kept, people[i].astype(np.float16))
            picture = resized(draw(kept.astype(np.float32), 48, 64, look="gpu"), (40, 36), recipe())
            assert jpegs[i] == encode_jpeg(picture, 95)
            assert picture.any() == (i % 5 != 4), "who shows nobody is black"
        del frames
    assert verify_set(shards.uri).problems == ()
    assert shards.solvers == {"bright 1.0": 56}
    assert describe_poses(shards.dataset.poses, shards.recipe) == "poses found by bright: bright 1.0 (56 frames)"


def test_joints_are_read_by_place_and_the_bytes_are_the_same_again(rows: list[ManifestRow], tmp_path: Path) -> None:
    shards, again = (make_set(rows, tmp_path / name, recipe(), solver=FINDER) for name in ("a", "b"))
    assert (shards.digest, shards.content) == (again.digest, again.content)
    entry = max(shards.videos, key=lambda video: video.num_images)
    every = shards.read_joints(entry).people
    some = shards.read_joints(entry, [39, 0, 32, 0]).people
    assert all(np.array_equal(a, b) for a, b in zip(some, [every[39], every[0], every[32], every[0]], strict=True))
    with pytest.raises(IndexError, match="image 40 of 40"):
        shards.read_joints(entry, [40])
    far = replace(entry, first_byte=None, row_group_bytes=())  # by the footer, as of a set of other tools
    assert all(np.array_equal(a, b) for a, b in zip(shards.read_joints(far).people, every, strict=True))


@pytest.mark.parametrize("choice", [{"frame_step": 3}, {"drop_repeats": True}])
def test_frames_are_chosen_as_for_the_set_of_frames(
    choice: dict[str, Any], rows: list[ManifestRow], tmp_path: Path
) -> None:
    poses = make_set(rows, tmp_path / "pose", recipe(**choice), solver=FINDER)
    frames = make_set(rows, tmp_path / "rgb", FrameRecipe(**choice))
    assert [v.num_frames for v in poses.videos] == [v.num_frames for v in frames.videos]


def test_segments_side_by_side_are_tracked_each_for_itself(rows: list[ManifestRow], tmp_path: Path) -> None:
    film = next(row for row in rows if row.video_id.endswith("v00"))
    spans = [(0, 12), (5, 33), (5, 20), (30, None)]
    cut = [replace(film, video_id=f"cut{i}", interval=Interval(*span, "frames")) for i, span in enumerate(spans)]
    shards = make_set(cut, tmp_path / "pose", recipe(), solver=FINDER)
    frames = list(VideoFrames(film.path, FrameRecipe(resize="none")))
    for video, (start, end) in zip(shards.videos, spans, strict=True):
        people = Bright(BrightParams(), Means())(frames[start:end])
        found = shards.read_joints(video).people
        assert len(found) == len(people)
        assert all(np.array_equal(a, b.astype(np.float16)) for a, b in zip(found, people, strict=True))


def test_a_video_that_an_estimator_gives_up_is_left_out_alone(rows: list[ManifestRow], tmp_path: Path) -> None:
    shards = make_set(rows, tmp_path / "pose", recipe(params={"fails_at": 8}), solver=FINDER)
    assert [video.num_images for video in shards.videos] == [7]
    problems = {video.video_id[-3:]: video.problem for video in shards.rejected}
    assert problems["v00"] == problems["v01"]
    assert "pose" in problems["v00"]
    assert "no idea at picture 8" in problems["v00"]


@pytest.mark.parametrize("people", [np.zeros((2, 24, 3)), np.full((1, 25, 3), np.nan), np.full((1, 25, 3), 1e6)])
def test_what_is_no_people_is_not_stored(
    people: NDArray[Any], rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bright, "__call__", lambda self, frames: [people.astype(np.float32)] * len(frames))
    shards = make_set(rows, tmp_path / "pose", recipe(), solver=FINDER)
    assert len(shards.rejected) == 4
    assert all("pose" in video.problem for video in shards.rejected[:3])


class OutOfMemoryError(RuntimeError):
    """Bears the name of torch's."""


def test_fewer_pictures_are_given_where_memory_is_short(
    rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = make_set(rows, tmp_path / "usual", recipe(), solver=FINDER)
    look, sizes = Bright.__call__, []

    def short(self: Bright, frames: Sequence[NDArray[np.uint8]]) -> list[People]:
        sizes.append(len(frames))
        if len(frames) > 1:
            raise OutOfMemoryError("CUDA out of memory")
        return look(self, frames)

    monkeypatch.setattr(Bright, "__call__", short)
    assert make_set(rows, tmp_path / "short", recipe(), solver=FINDER).content == usual.content
    assert set(sizes) == {1, 2, 3}


def test_another_recipe_does_not_mix(rows: list[ManifestRow], tmp_path: Path) -> None:
    make_set(rows, tmp_path / "pose", recipe(), solver=FINDER)
    for other in (recipe(params={"people": 2}), recipe(look="cpu"), recipe(threshold=0.1), PoseRecipe()):
        with pytest.raises(ConfigError, match="was made with another recipe"):
            claim_output(str(tmp_path / "pose"), other, plan_shards(rows, 2))


def test_frames_are_drawn_over_and_stored_as_video_where_asked(rows: list[ManifestRow], tmp_path: Path) -> None:
    over = make_set(rows, tmp_path / "over", recipe(background="frame", look="cpu"), solver=FINDER)
    frames, people = looked_at(next(row.path for row in rows if row.video_id == over.videos[0].video_id))
    drawn = draw(people[0].astype(np.float16).astype(np.float32), 48, 64, look="cpu", background_HW3=frames[0])
    assert bytes(over.read_jpegs(over.videos[0], [0])[0][0]) == encode_jpeg(resized(drawn, (40, 36), recipe()), 95)
    coded = make_set(rows, tmp_path / "coded", recipe(codec="h264"), solver=FINDER)
    plain = make_set(rows, tmp_path / "plain", recipe(), solver=FINDER)
    assert verify_set(coded.uri).problems == ()
    for a, b in zip(coded.videos, plain.videos, strict=True):
        pairs = zip(coded.read_joints(a).people, plain.read_joints(b).people, strict=True)
        assert all(np.array_equal(x, y) for x, y in pairs)
        difference = coded.read_clip(a, range(a.num_images)).astype(int) - plain.read_clip(b, range(b.num_images))
        assert np.abs(difference).mean() < 6  # both are lossy; pictures of other frames differ by 20 and more


def test_one_video_becomes_the_same_pictures_as_in_an_extraction(rows: list[ManifestRow], tmp_path: Path) -> None:
    shards = make_set(rows, tmp_path / "pose", recipe(params={"people": 2}), solver=FINDER)
    again = recipe_of(shards.recipe, shards.digest, "a checkpoint")
    assert again.from_video
    (tmp_path / "one").mkdir()
    row, entry = rows[0], shards.entry(rows[0].video_id)
    alone = video_set(row.path, str(tmp_path / "one"), again, ["a", "b"], PoseFinder())
    indices = range(entry.num_images)
    assert alone.read_jpegs(alone.videos[0], indices) == shards.read_jpegs(entry, indices)


def test_a_task_without_the_weights_says_so(
    rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(b"bright, but others")
    with pytest.raises(UserError, match=f"expected {SHA256}"):
        make_set(rows, tmp_path / "pose", recipe(), solver=PoseFinder(files={"network": str(other)}))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(UserError, match=f"with the SHA-256 {SHA256} on "):
        make_set(rows, tmp_path / "pose", recipe(), solver=FINDER)


def test_sets_of_poses_that_others_drew_are_what_they_were(rows: list[ManifestRow], tmp_path: Path) -> None:
    shards = make_set(rows, tmp_path / "drawn", PoseRecipe(resize="none"))
    assert not shards.has_joints
    assert shards.solvers == {}
    assert verify_set(shards.uri).problems == ()
    with pytest.raises(UserError, match=r"without joints\. `kinebert extract-pose` makes one"):
        shards.read_joints(shards.videos[0])


def test_damaged_joints_are_noticed(rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = iter([to_bytes(np.zeros((1, 25, 3)))[:-2], np.full((1, 25, 3), np.inf, "<f2").tobytes()])
    monkeypatch.setattr("kinebert.preprocessing.extraction.images.from_bytes", lambda data: np.zeros((0, 25, 3)))
    monkeypatch.setattr(
        "kinebert.preprocessing.extraction.images.to_bytes", lambda people: next(broken, to_bytes(people))
    )
    shards = make_set(rows[:1], tmp_path / "pose", recipe(), solver=FINDER)
    (problem,) = verify_set(shards.uri).problems
    assert "joints of segment 0: 148 bytes are no people of 150 bytes each" in problem
    with pytest.raises(UserError, match="148 bytes are no people"):
        shards.read_joints(shards.videos[0])
    with pytest.raises(UserError, match="a joint is not finite"):
        shards.read_joints(shards.videos[0], [1])


def test_the_columns_say_what_they_hold(rows: list[ManifestRow], tmp_path: Path) -> None:
    shards = make_set(rows[:1], tmp_path / "pose", recipe(), solver=FINDER)
    with pq.ParquetFile(Path(shards.uri) / shards.videos[0].shard) as file:
        assert file.schema_arrow.names[-4:] == ["frames", "joints", "seen_width", "seen_height"]
        assert b"float16, little-endian" in file.schema_arrow.field("joints").metadata[b"about"]
        (items,) = file.read_row_group(0, columns=["joints"])["joints"].to_pylist()
    assert len(from_bytes(items[0])) == 1
