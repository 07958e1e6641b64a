"""Clips against hand-worked indices, and properties that hold for every length."""

import numpy as np
import pytest

from kinebert.training.clips import sampling
from kinebert.training.clips.ordering import sample_rng
from kinebert.training.clips.sampling import (
    centre_clip,
    eccv2020_clips,
    multi_clips,
    multi_sections,
    offset_sections,
    random_clip,
    random_sections,
    spread_clips,
    train_clip,
)

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


def test_multi_clips_with_a_step_overlap_and_stay_in_the_middle() -> None:
    np.testing.assert_array_equal(multi_clips(9, 4, 1, step=2), [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]])
    np.testing.assert_array_equal(multi_clips(12, 4, 1, step=3)[:, 0], [1, 4, 7])  # 2 images are left, one on each side
    np.testing.assert_array_equal(multi_clips(3, 4, 1, step=2), [[0, 1, 2, 0]])


def published_clips(num_frames: int, length: int) -> list[list[int]]:
    """As the BERT paper's: D = N - 1, starts range(1, D - L, L), moved by int((D - (last + L)) / 2), frames start + 1
    to start + L counted from 1; without any start, frames 1 to N repeated to L of them."""
    duration = num_frames - 1
    starts = list(range(1, duration - length, length))
    if not starts:
        return [[i % num_frames for i in range(length)]]
    shift = int((duration - (starts[-1] + length)) / 2)
    return [[start + shift + i for i in range(length)] for start in starts]


def test_the_clips_of_the_bert_paper_by_hand() -> None:
    # 100 frames, clips of 16: starts 1, 17, 33, 49, 65, 81; moved by int((99 - 97) / 2) = 1
    np.testing.assert_array_equal(eccv2020_clips(100, 16, 1)[:, 0], [2, 18, 34, 50, 66, 82])
    # 34 frames: range(1, 17, 16) is 1 alone, moved by int((33 - 17) / 2) = 8; all that fit would be two
    np.testing.assert_array_equal(eccv2020_clips(34, 16, 1), [range(9, 25)])
    assert len(multi_clips(34, 16, 1)) == 2


@pytest.mark.parametrize("length", [8, 16, 64])
def test_the_clips_of_the_bert_paper_of_every_video(length: int) -> None:
    for num_frames in range(1, 5 * length):
        ours = eccv2020_clips(num_frames, length, 1)
        np.testing.assert_array_equal(ours, published_clips(num_frames, length), err_msg=str(num_frames))
        if num_frames % length > 2:
            np.testing.assert_array_equal(ours, multi_clips(num_frames, length, 1))


def test_so_many_clips_by_hand() -> None:
    # as np.linspace(0, 10 - 4, m, dtype=int) and, with every second image, np.linspace(0, 10 - 8, 3)
    np.testing.assert_array_equal(spread_clips(10, 4, 1, 4)[:, 0], [0, 2, 4, 6])
    np.testing.assert_array_equal(spread_clips(10, 4, 1, 5)[:, 0], [0, 1, 3, 4, 6])
    np.testing.assert_array_equal(spread_clips(10, 4, 2, 3), [[0, 2, 4, 6], [1, 3, 5, 7], [2, 4, 6, 8]])
    np.testing.assert_array_equal(spread_clips(3, 4, 1, 2), [[0, 1, 2, 0]] * 2)
    np.testing.assert_array_equal(sampling.eval_clips("dense", 1, 10, 4, 1), [[3, 4, 5, 6]])


def test_sections_with_offsets_by_hand() -> None:
    # 32 images in 8 sections of 4: middles 2, 6, ...; three clips are 1 before, at, and 1 after them
    np.testing.assert_array_equal(offset_sections(32, 8, 1), multi_sections(32, 8, 1))
    np.testing.assert_array_equal(offset_sections(32, 8, 3)[:, :3], [[1, 5, 9], [2, 6, 10], [3, 7, 11]])
    # ten clips: offsets -4 to 5, of which a section of 4 holds -2 to 1
    np.testing.assert_array_equal(offset_sections(32, 8, 10)[:, 0], [0, 0, 0, 1, 2, 3, 3, 3, 3, 3])
    np.testing.assert_array_equal(offset_sections(3, 6, 2), [[0, 0, 1, 1, 2, 2]] * 2)


@pytest.mark.parametrize("num_images", [17, 40, 61, 99, 300])
@pytest.mark.parametrize("num_clips", [1, 2, 3, 10])
def test_sections_with_offsets_are_the_published_ones(num_images: int, num_clips: int) -> None:
    tick, expected = num_images / 16, []
    for offset in range(-num_clips // 2 + 1, num_clips // 2 + 1):
        kept = min(max(offset, -tick / 2), tick / 2 - 1e-4)
        expected.append([int(tick / 2 + kept + tick * x) for x in range(16)])
    np.testing.assert_array_equal(offset_sections(num_images, 16, num_clips), expected)


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
        choices: tuple[sampling.Clips, ...] = ("single", "first", "multi", "eccv2020", 1, 3, 10)
        for choice in choices:
            clips = sampling.eval_clips(mode, choice, num_images, 16, interval)
            assert clips.shape[1:] == (16,)
            assert len(clips) == choice or not isinstance(choice, int)
            assert clips.min() >= 0
            assert clips.max() < num_images
            if num_images >= 16 * interval and not isinstance(choice, int):
                assert len(np.unique(clips)) == clips.size  # nothing is seen twice


def test_the_first_clip_begins_with_the_first_image() -> None:
    np.testing.assert_array_equal(sampling.eval_clips("dense", "first", 100, 4, 2), [[0, 2, 4, 6]])
    np.testing.assert_array_equal(sampling.eval_clips("dense", "first", 3, 4, 1), [[0, 1, 2, 0]])


def test_an_empty_video_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 image"):
        centre_clip(0, 4, 1)
