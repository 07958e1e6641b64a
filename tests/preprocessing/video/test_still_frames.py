"""Frames that show no motion: what is called a repeat, in samples by hand and in files that encoders wrote."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
import pytest

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.video.frame_choice import Cuts, EveryNth, Run
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.intervals import Interval
from kinebert.preprocessing.video.still_frames import LEVELS, Luma, StillCounts, StillFrames, UInt8
from tests.helpers.videos import moving_texture, write_video

FLAT = np.full((100, 200), 100, np.uint8)  # 20,000 samples: 10 are 5 in 10,000


def changed(num: int, by: int, of: UInt8 = FLAT) -> UInt8:
    """The samples with ``num`` of them brighter."""
    found = of.copy()
    found.ravel()[:num] += by
    return found


@pytest.mark.parametrize(
    ("num", "by", "kind"),
    [
        (0, 0, "repeat"),
        (20_000, LEVELS, "repeat"),  # as many as there are, each by no more than an encoder may
        (10, 200 - LEVELS, "repeat"),
        (11, LEVELS, "repeat"),
        (11, LEVELS + 1, "near still"),
        (40, 100, "near still"),
        (41, LEVELS + 1, "motion"),
    ],
)
def test_how_many_samples_differ_by_how_much(num: int, by: int, kind: str) -> None:
    still = StillFrames()
    assert not still.repeats(FLAT)
    assert still.repeats(changed(num, by % 156)) == (kind == "repeat")
    assert still.counts == StillCounts(repeated=kind == "repeat", near_still=kind == "near still")


def test_darker_counts_like_brighter() -> None:
    still = StillFrames()
    assert [still.repeats(samples) for samples in (changed(11, 9), FLAT)] == [False, False]


def test_slow_drift_adds_up() -> None:
    """Each frame is 3 levels brighter than the one before: every third is no repeat of the last that was none."""
    still = StillFrames()
    assert [still.repeats(FLAT + np.uint8(3 * t)) for t in range(10)] == [t % 3 != 0 for t in range(10)]
    assert still.counts.repeated == 6


def test_a_picture_of_another_size_is_no_repeat() -> None:
    still = StillFrames()
    assert not still.repeats(FLAT)
    assert not still.repeats(FLAT[:, :-1])
    assert still.repeats(FLAT[:, :-1])


@pytest.mark.parametrize(("step", "drop"), [(1, False), (2, False), (1, True), (2, True), (3, True)])
def test_repeats_are_dropped_before_steps_are_counted(step: int, drop: bool) -> None:
    kinds = "abbcddde"
    samples = {kind: changed(1000 + i, 50) for i, kind in enumerate(sorted(set(kinds)))}
    for (one, first), (other, second) in pairwise(samples.items()):
        first.ravel()[-1000 * (1 + ord(one) - 97) :] = 10
        assert one != other
        assert StillFrames().repeats(first) is StillFrames().repeats(second) is False
    run = Run(step, drop)
    taken = [kind for kind in kinds if run.takes(samples[kind])]
    assert taken == list("abcde"[::step] if drop else kinds[::step])
    assert run.num_frames == len(kinds)
    assert run.distinct == ([0, 1, 3, 4, 7] if drop else [])
    among = kinds if drop or step == 1 else kinds[::step]
    assert run.still.repeated == sum(one == other for one, other in pairwise(among))


def twice(num: int, width: int = 160, height: int = 120) -> tuple[list[UInt8], list[bool]]:
    """A moving texture with every third frame repeated; and which frames are repeats."""
    frames, repeats = list[UInt8](), list[bool]()
    for i, frame in enumerate(moving_texture(num, width, height, seed=3)):
        frames += [frame] * (1 + (i % 2))
        repeats += [False, True][: 1 + (i % 2)]
    return frames, repeats


def encoded(path: Path, frames: list[UInt8], codec: str, pix_fmt: str = "yuv420p", **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=30, options=options))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"crf": "18"}),
        ("libx264", {"crf": "23", "g": "12"}),
        ("libx264", {"crf": "28"}),
        ("libx264", {"crf": "18", "pix_fmt": "yuv444p"}),
        ("libx264", {"crf": "18", "pix_fmt": "yuv420p10le"}),
        ("mpeg4", {"b": "4M"}),
        ("ffv1", {"pix_fmt": "bgr0"}),
    ],
)
def test_what_encoders_make_of_repeats_is_found_and_no_motion_taken_for_it(
    codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    """A texture that moves a pixel a frame, which is the least that such a flow could show."""
    frames, repeats = twice(24)
    path = encoded(tmp_path / "v.mkv", frames, codec, **options)
    still, luma = StillFrames(), Luma()
    with av.open(str(path)) as container:
        found = [still.repeats(luma.of(frame)) for frame in container.decode(video=0)]
    assert found == repeats
    video = VideoFrames(str(path), FrameRecipe(resize="none", drop_repeats=True))
    assert sum(1 for _ in video) == repeats.count(False)
    assert video.still == StillCounts(repeated=sum(repeats), near_still=0)


def test_counts_do_not_depend_on_the_size_that_is_stored(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", twice(8)[0])
    found: list[StillCounts | None] = []
    for recipe in (FrameRecipe(resize="none"), FrameRecipe(width=34, height=26)):
        video = VideoFrames(str(path), recipe)
        assert video.still is None
        assert sum(1 for _ in video) == 12
        found.append(video.still)
    assert found == [StillCounts(repeated=4, near_still=0)] * 2


def test_each_segment_begins_with_its_first_frame_and_counts_for_itself(tmp_path: Path) -> None:
    frames, repeats = twice(10)  # 0, 1 1, 2, 3 3, ...: number 2 is a repeat
    path = write_video(tmp_path / "v.mp4", frames)
    cuts = Cuts([Interval(2, 6, "frames"), None], 1, lambda: None, drop_repeats=True)
    video = VideoFrames(str(path), FrameRecipe(resize="none", drop_repeats=True), choice=cuts)
    members = [list(cuts.members) for _ in video]
    assert sum(1 in some for some in members) == repeats.count(False)
    assert sum(0 in some for some in members) == 3  # frames 2, 3 and 4 of the file, and 5 repeats
    assert (cuts.still(0).repeated, cuts.still(1).repeated) == (1, sum(repeats))
    assert video.still is None


def test_planes_with_padding_and_rows_that_are_left_out() -> None:
    """Every third of 200 rows is looked at, and of a row what is picture."""
    rows = np.arange(200 * 256, dtype=np.uint64).reshape(200, 256).astype(np.uint8)
    plane = cast(Any, _Plane(rows.tobytes()))
    frame = cast(Any, SimpleNamespace(planes=[plane], height=200, width=250, format=SimpleNamespace(name="yuv420p")))
    np.testing.assert_array_equal(Luma().of(frame), rows[::3, :250])
    assert not np.shares_memory(Luma().of(frame), rows)


class _Plane(bytes):
    line_size = 256


def test_every_nth_knows_its_run() -> None:
    assert EveryNth(2).run.num_frames == 0
