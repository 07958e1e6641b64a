"""Decoding: counts, order, uprightness and damage, against OpenCV and the real odd clips."""

import csv
import gc
import os
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.video.frames import VideoFrames, target_size
from tests.helpers.odd_videos import MATRICES, write_matrix
from tests.helpers.requirements import missing
from tests.helpers.videos import moving_texture, truncate_video, write_video

AS_CODED = FrameRecipe(resize="none")
_ONE = 1 << 16


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_are_upright_as_opencv_shows_them(tmp_path: Path, degrees: int) -> None:
    path = write_matrix(write_video(tmp_path / "a.mp4", moving_texture(3, 96, 64)), MATRICES[degrees])
    _, expected = cv2.VideoCapture(str(path)).read()
    first = next(iter(VideoFrames(str(path), AS_CODED)))
    assert first.shape == expected.shape
    assert np.abs(first.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((-_ONE, 0, 0, 0, _ONE), lambda picture: picture[:, ::-1]),
        ((_ONE, 0, 0, 0, -_ONE), lambda picture: picture[::-1]),
        ((0, _ONE, 0, _ONE, 0), lambda picture: picture.transpose(1, 0, 2)),
    ],
)
def test_mirrored_pictures_are_laid_right(
    tmp_path: Path, matrix: tuple[int, ...], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    path = write_video(tmp_path / "a.mp4", moving_texture(3, 96, 64))
    plain = next(iter(VideoFrames(str(path), AS_CODED)))
    shown = next(iter(VideoFrames(str(write_matrix(path, matrix)), AS_CODED)))
    assert np.array_equal(shown, expected(plain))


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.ts", "libx264")])
def test_a_file_that_was_cut_off_is_marked_even_if_no_decoder_complains(tmp_path: Path, name: str, codec: str) -> None:
    path = write_video(tmp_path / name, moving_texture(60), codec)
    whole = VideoFrames(str(path), AS_CODED)
    assert sum(1 for _ in whole) == 60
    assert whole.problem is None
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 4 // 5])
    cut = VideoFrames(str(path), AS_CODED)
    assert 0 < sum(1 for _ in cut) < 55
    assert name == "a.ts" or "the file ends" in str(cut.problem)  # a transport stream has no length to fall short of


def test_trouble_of_the_storage_is_no_fault_of_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", moving_texture(3))

    def unplugged(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("kinebert.preprocessing.video.frames.av.open", unplugged)
    with pytest.raises(OSError, match="Input/output error"):
        list(VideoFrames(str(path), AS_CODED))


def test_frames_come_in_order_and_at_the_recipes_size(tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), 10 * i, np.uint8) for i in range(20)]
    path = write_video(tmp_path / "Ünï (1)+!.mp4", frames)
    video = VideoFrames(str(path), FrameRecipe(width=34, height=26))
    means = [frame.mean() for frame in video]
    assert np.abs(np.array(means) - 10 * np.arange(20)).max() < 4
    assert {frame.shape for frame in video} == {(26, 34, 3)}
    assert video.problem is None


def test_frame_step_takes_every_nth_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [np.full((48, 64, 3), 10 * i, np.uint8) for i in range(20)])
    means = [frame.mean() for frame in VideoFrames(str(path), FrameRecipe(frame_step=3))]
    assert np.abs(np.array(means) - 10 * np.arange(0, 20, 3)).max() < 4


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (FrameRecipe(), (340, 256)),
        (FrameRecipe(resize="short_side"), (455, 256)),
        (FrameRecipe(resize="none"), (1280, 720)),
        (FrameRecipe(resize="none", square_pixels=True), (1920, 720)),
        (FrameRecipe(resize="short_side", short_side=128, square_pixels=True), (341, 128)),
    ],
)
def test_target_size(recipe: FrameRecipe, expected: tuple[int, int]) -> None:
    assert target_size(1280, 720, 1.5, recipe) == expected


def test_what_decodes_before_an_error_is_kept(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_texture(60))
    whole = list(VideoFrames(str(path), AS_CODED))
    video = VideoFrames(str(truncate_video(path)), AS_CODED)
    kept = list(video)
    assert 0 < len(kept) < 60
    assert video.problem is not None
    assert video.problem.startswith("InvalidDataError")
    assert all(np.array_equal(a, b) for a, b in zip(kept[:10], whole, strict=False))


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "InvalidDataError"), (b"no video at all" * 100, "InvalidDataError"), (None, "NotFound")]
)
def test_a_file_that_is_no_video_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    video = VideoFrames(str(path), AS_CODED)
    assert list(video) == []
    assert said in str(video.problem)


def test_odd_clips_have_exactly_their_frames(shared: Callable[[str], Path]) -> None:
    folder = shared("data/odd-clips")
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found, expected, truncated = {}, {}, []
    for row in rows:
        video = VideoFrames(str(folder / row["file"]), FrameRecipe(width=34, height=26))
        found[row["file"]] = sum(1 for _ in video)
        expected[row["file"]] = int(row["frames_pyav"])
        if video.problem:
            truncated.append(row["file"])
    assert found == expected
    assert truncated == ["decord_corrupted.mp4"]


def test_a_decoder_starts_no_threads(tmp_path: Path) -> None:
    """On a node of 64 cores a task would otherwise start 64 with every frame."""
    if not Path("/proc/self/task").exists():
        missing("system", "there is no /proc")
    path = write_video(tmp_path / "v.mp4", moving_texture(30, 320, 240))
    before = set(os.listdir("/proc/self/task"))
    for _ in VideoFrames(str(path), AS_CODED):
        assert set(os.listdir("/proc/self/task")) <= before


def test_frames_go_as_soon_as_they_are_used(tmp_path: Path) -> None:
    """Those that wait for the collector of garbage took hundreds of megabytes."""
    path = write_video(tmp_path / "v.mp4", moving_texture(30))
    gc.collect()
    gc.disable()
    gc.freeze()  # what is there already is not looked at again and again
    try:
        for _ in VideoFrames(str(path), AS_CODED):
            assert sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects()) <= 10
    finally:
        gc.unfreeze()
        gc.enable()
