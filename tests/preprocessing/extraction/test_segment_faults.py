"""Segments of files that are damaged, and of work that fails: each is rejected or marked by name."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.guard import MAX_ATTEMPTS, Attempts, Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.video.frames import VideoFrames
from tests.helpers.segments import (
    NUM_FRAMES,
    RGB,
    build,
    by_id,
    frames,
    rows_of,
    seconds,
)
from tests.helpers.videos import truncate_video


def test_a_file_that_breaks_off_marks_the_segments_that_it_cuts(video: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(video.read_bytes())
    truncate_video(torn, 0.8)
    there = sum(1 for _ in VideoFrames(str(torn), RGB))
    assert 10 < there < NUM_FRAMES
    cuts = [frames(0, 8), frames(5, there), frames(5, there + 1), frames(there, NUM_FRAMES), frames(6, None)]
    made = by_id(build(rows_of(torn, list(cuts)), tmp_path / "set"))
    before, up_to, over, after, open_end = (made[f"torn_{cut.suffix()}"] for cut in cuts)
    assert [before.truncated, up_to.truncated, over.truncated, open_end.truncated] == [False, False, True, True]
    assert over.problem == open_end.problem is not None
    assert after.rejected
    assert after.problem is not None
    said = f"decode: 0 frames in [{there}, 40) frames, at least 1 are needed; the video has {there} frames, "
    assert after.problem.startswith(said)


def test_segments_without_frames_are_rejected_by_name_with_what_the_video_has(video: Path, tmp_path: Path) -> None:
    rows = rows_of(video, [seconds(5, 6), seconds(0.41, 0.43), seconds(0, 0.4)])
    made = by_id(build(rows, tmp_path / "set"))
    assert made["film_s5-6"].problem == (
        "decode: 0 frames in [5, 6) s, at least 1 are needed; the video has 40 frames, 1.60 s"
    )
    assert made["film_s0.41-0.43"].problem == "decode: 0 frames in [0.41, 0.43) s, at least 1 are needed"
    assert not made["film_s0-0.4"].rejected


def test_a_bad_file_rejects_each_of_its_segments_by_name(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing" * 99)
    made = by_id(build(rows_of(broken, [seconds(0, 1), frames(0, 9), None]), tmp_path / "set"))
    assert sorted(made) == ["broken_f0-9", "broken_s0-1", "broken_whole"]
    assert all(summary.rejected and "at least 1 are needed" in str(summary.problem) for summary in made.values())


def test_a_file_that_killed_three_workers_rejects_its_segments(video: Path, tmp_path: Path) -> None:
    rows = rows_of(video, [frames(0, 9), frames(5, 20)])
    (tmp_path / "set").mkdir()
    unfinished = [Attempts(str(tmp_path / "set"), "job").attempt(str(video)) for _ in range(MAX_ATTEMPTS)]
    for attempt in unfinished:  # held, as by a process that died
        attempt.__enter__()
    made = build(rows, tmp_path / "set")
    assert {v.problem for v in made.videos} == {"crash: its worker process died 3 times at this video"}
    assert len(made.videos) == 2


class Refusing(VideoFrames):
    """Finds, in the middle, that the user must act."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        yield next(super().__iter__())
        raise UserError("expected a clean lens.")


class Failing(VideoFrames):
    """Lies on a storage that fails after some frames."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for i, frame in enumerate(super().__iter__()):
            if i == 12:
                raise OSError(5, "Input/output error")
            yield frame


def test_what_the_user_must_act_on_ends_the_task(video: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="clean lens"):
        build(rows_of(video, [frames(0, 9), frames(5, 20)]), tmp_path / "set", open_video=Refusing)
    assert not list((tmp_path / "set").glob("shard-*"))


def test_storage_that_fails_rejects_the_segments_that_were_not_done(video: Path, tmp_path: Path) -> None:
    rows = rows_of(video, [frames(0, 9), frames(5, 20), frames(30, 35)])
    made = by_id(build(rows, tmp_path / "set", open_video=Failing))
    assert made["film_f0-9"].num_frames == 9
    assert {made["film_f5-20"].problem, made["film_f30-35"].problem} == {"read: OSError: Input/output error"}


def test_a_segment_that_takes_too_long_does_not_hang(video: Path, tmp_path: Path) -> None:
    (shard,) = plan_shards(rows_of(video, [frames(0, 9), frames(5, 20)]), 9)
    limits = Limits(time_limit_s=1e-9)
    (tmp_path / "set").mkdir()
    made = BuildShard(output=str(tmp_path / "set"), recipe=RGB, limits=limits, run_id="job")(shard)
    assert all(str(summary.problem).startswith("time: not done after 1e-09 s") for summary in made.videos)
