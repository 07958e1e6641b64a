"""Clips against hand-worked indices, and properties that hold for every length."""

import numpy as np
import pytest

from preprocessing import sampling
from preprocessing.ordering import sample_rng
from preprocessing.sampling import centre_clip, multi_clips, multi_sections, random_clip, random_sections, train_clip

LENGTHS = [1, 2, 5, 15, 16, 17, 31, 32, 33, 100]


@pytest.mark.parametrize(
    ("num_images", "length", "interval", "expected"),
    [
        (10, 4, 1, [3, 4, 5, 6]),
        (11, 4, 1, [3, 4, 5, 6]),
        (10, 4, 2, [1, 3, 5, 7]),
        (4, 4, 1, [0, 1, 2, 3]),
        (3, 8, 1, [0, 1, 2, 0, 1, 2, 0, 1]),
        (5, 4, 2, [0, 2, 4, 1]),
        (1, 3, 4, [0, 0, 0]),
    ],
)
def test_centre_clip_by_hand(num_images: int, length: int, interval: int, expected: list[int]) -> None:
    np.testing.assert_array_equal(centre_clip(num_images, length, interval), expected)


@pytest.mark.parametrize("num_frames", [17, 18, 40, 41, 99])
def test_the_centre_is_the_published_one(num_frames: int) -> None:
    """Published: D = N - 1, frames offset + 1 .. offset + L counted from 1, offset = int((D - L + 1) / 2)."""
    offset = int((num_frames - 1 - 16 + 1) / 2)
    np.testing.assert_array_equal(centre_clip(num_frames, 16, 1), np.arange(offset + 1, offset + 17) - 1)


def test_random_clips_reach_every_start_and_no_other() -> None:
    clips = [random_clip(10, 4, 2, sample_rng(0, 0, position)) for position in range(200)]
    assert {int(clip[0]) for clip in clips} == {0, 1, 2, 3}  # the last of them ends on image 9
    assert all((np.diff(clip) == 2).all() for clip in clips)


def test_a_short_video_starts_anywhere_and_wraps() -> None:
    clips = [random_clip(3, 5, 1, sample_rng(0, 0, position)) for position in range(60)]
    assert {tuple(clip) for clip in clips} == {(0, 1, 2, 0, 1), (1, 2, 0, 1, 2), (2, 0, 1, 2, 0)}


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [
        (12, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (11, [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (7, [[1, 2, 3, 4]]),
        (3, [[0, 1, 2, 0]]),
    ],
)
def test_multi_clips_by_hand(num_images: int, expected: list[list[int]]) -> None:
    np.testing.assert_array_equal(multi_clips(num_images, 4, 1), expected)


def test_multi_clips_with_an_interval_do_not_overlap() -> None:
    np.testing.assert_array_equal(multi_clips(11, 3, 2), [[0, 2, 4], [5, 7, 9]])


def test_sections_by_hand() -> None:
    np.testing.assert_array_equal(multi_sections(32, 8, 1)[0], [2, 6, 10, 14, 18, 22, 26, 30])  # TSN: int(4 / 2 + 4 i)
    np.testing.assert_array_equal(multi_sections(10, 4, 1)[0], [1, 3, 6, 8])  # the middles 1.25, 3.75, 6.25, 8.75
    np.testing.assert_array_equal(multi_sections(3, 6, 1)[0], [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(multi_sections(8, 2, 2), [[1, 5], [3, 7]])


def test_random_sections_take_one_image_of_each() -> None:
    clips = np.stack([random_sections(10, 4, sample_rng(3, 0, position)) for position in range(300)])
    assert [set(column) for column in clips.T] == [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8, 9}]


@pytest.mark.parametrize("mode", ["dense", "sections"])
@pytest.mark.parametrize("num_images", LENGTHS)
def test_every_clip_stays_in_its_video(mode: sampling.Sampling, num_images: int) -> None:
    for interval in (1, 3):
        for position in range(20):
            clip = train_clip(mode, num_images, 16, interval, sample_rng(0, 0, position))
            assert clip.shape == (16,)
            assert clip.min() >= 0
            assert clip.max() < num_images
        for views in ("single", "multi"):
            clips = sampling.eval_clips(mode, views, num_images, 16, interval)  # type: ignore[arg-type]
            assert clips.shape[1:] == (16,)
            assert clips.min() >= 0
            assert clips.max() < num_images
            if num_images >= 16 * interval:
                assert len(np.unique(clips)) == clips.size  # nothing is seen twice


def test_an_empty_video_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 image"):
        centre_clip(0, 4, 1)
