"""Segments of a file: it is decoded once for all of them, and their pictures are its own."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.extraction.one_file import MOST_OPEN, passes
from kinebert.preprocessing.sets.folder import claim_output, is_finished
from kinebert.preprocessing.sets.plan import PlannedVideo, plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.frames import VideoFrames
from tests.helpers.segments import (
    FLOW,
    NUM_FRAMES,
    RGB,
    build,
    by_id,
    frames,
    independent,
    rows_of,
    seconds,
)
from tests.helpers.sets import make_set
from tests.helpers.videos import truncate_video


def as_bytes(pictures: Any) -> list[list[bytes]]:
    return [[column.to_pybytes() for column in picture] for picture in pictures]


class Counted(VideoFrames):
    """Notes which files are opened, and how many frames are given."""

    opened: list[str] = []  # noqa: RUF012 - shared on purpose
    given = 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        self.opened.append(Path(self.path).stem)
        for frame in super().__iter__():
            Counted.given += 1
            yield frame


def test_pictures_are_those_of_the_whole_video_and_the_file_is_opened_once(video: Path, tmp_path: Path) -> None:
    Counted.opened.clear()
    Counted.given = 0
    rows = rows_of(video, [frames(3, 9), frames(5, 30), seconds(0.2, 0.24), None])
    build(rows, tmp_path / "set", open_video=Counted)
    assert Counted.opened == ["film"]
    assert Counted.given == NUM_FRAMES
    found = make_set(rows, tmp_path / "again", RGB)
    entries = {entry.video_id: entry for entry in found.videos}
    whole = make_set([replace(rows[3], video_id="w", interval=None)], tmp_path / "whole", RGB)
    expected = whole.read_jpegs(whole.videos[0], range(NUM_FRAMES))
    for name, first, last in (("f3-9", 3, 9), ("f5-30", 5, 30), ("s0.2-0.24", 5, 6), ("whole", 0, NUM_FRAMES)):
        entry = entries[f"film_{name}"]
        pictures = found.read_jpegs(entry, range(entry.num_images))
        assert as_bytes(pictures) == as_bytes(expected[first:last]), name


def test_pictures_agree_with_an_independent_decode(video: Path, tmp_path: Path) -> None:
    found = make_set(rows_of(video, [seconds(0.4, 0.8)]), tmp_path, replace(RGB, resize="none", jpeg_quality=100))
    (entry,) = found.videos
    every = independent(video)
    expected = [i for i, (time, _) in enumerate(every) if Fraction(2, 5) <= time < Fraction(4, 5)]
    images = np.stack([image for _, image in every]).astype(int)
    pictures = found.read_clip(entry, range(entry.num_images))[..., ::-1].astype(int)
    nearest = [int(np.abs(images - picture).mean(axis=(1, 2, 3)).argmin()) for picture in pictures]
    assert nearest == expected


def test_nothing_is_decoded_after_the_last_end(video: Path, tmp_path: Path) -> None:
    Counted.given = 0
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(video.read_bytes())
    truncate_video(torn, 0.9)
    made = by_id(build(rows_of(torn, [frames(0, 4), frames(2, 8)]), tmp_path / "set", open_video=Counted))
    assert Counted.given == 8
    assert not any(summary.truncated for summary in made.values())


def test_frame_step_counts_from_each_segments_first_frame(video: Path, tmp_path: Path) -> None:
    rows = rows_of(video, [frames(4, 11), frames(5, 11)])
    found = make_set(rows, tmp_path / "set", replace(RGB, frame_step=3))
    whole = make_set(rows_of(video, [None]), tmp_path / "whole", RGB)
    images = as_bytes(whole.read_jpegs(whole.videos[0], range(NUM_FRAMES)))
    for name, expected in (("f4-11", [4, 7, 10]), ("f5-11", [5, 8])):
        entry = next(entry for entry in found.videos if entry.video_id == f"film_{name}")
        pictures = as_bytes(found.read_jpegs(entry, range(entry.num_images)))
        assert pictures == [images[i] for i in expected]


def test_flow_lies_between_frames_of_the_segment_only(video: Path, tmp_path: Path) -> None:
    found = make_set(rows_of(video, [frames(3, 9), frames(5, 12), seconds(0.36, 0.48)]), tmp_path / "set", FLOW)
    whole = make_set(rows_of(video, [None]), tmp_path / "whole", FLOW)
    expected = whole.read_jpegs(whole.videos[0], range(NUM_FRAMES - 1))
    for name, first, last in (("f3-9", 3, 8), ("f5-12", 5, 11), ("s0.36-0.48", 9, 11)):
        entry = next(entry for entry in found.videos if entry.video_id == f"film_{name}")
        assert (entry.num_frames, entry.num_images) == (last - first + 1, last - first)
        pictures = found.read_jpegs(entry, range(entry.num_images))
        assert [[c.to_pybytes() for c in p] for p in pictures] == [
            [c.to_pybytes() for c in p] for p in expected[first:last]
        ]


def test_the_same_bytes_come_out_every_time(video: Path, tmp_path: Path) -> None:
    rows = rows_of(video, [frames(k, k + 9) for k in range(0, 30, 2)])
    made = [build(rows, tmp_path / name) for name in ("a", "b")]
    assert made[0].sha256 == made[1].sha256


def test_segments_of_a_file_stay_in_one_shard_and_whole_videos_as_they_were(video: Path) -> None:
    rows = rows_of(video, [frames(k, k + 9) for k in range(7)])
    others = [replace(row, video_id=f"other{i}", path=f"other{i}", interval=None) for i, row in enumerate(rows)]
    shards = plan_shards(rows + others, 2)
    assert sum(any(v.path == str(video) for v in shard.videos) for shard in shards) == 1
    assert all(shard.videos for shard in shards)
    assert sorted(v.video_id for shard in shards for v in shard.videos) == sorted(r.video_id for r in rows + others)
    assert len(plan_shards(rows, 1)) == 1


def test_a_segment_that_moved_makes_its_shard_again(video: Path, tmp_path: Path) -> None:
    rows = [replace(row, video_id=f"v{i}") for i, row in enumerate(rows_of(video, [frames(0, 9), frames(5, 20)]))]
    make_set(rows, tmp_path, RGB)
    moved = [rows[0], replace(rows[1], interval=frames(5, 21))]
    shards = claim_output(str(tmp_path), RGB, plan_shards(moved, 2))
    assert is_finished(str(tmp_path), rows, plan_shards(rows, 2))
    assert not is_finished(str(tmp_path), moved, shards)
    assert [entry.num_frames for entry in make_set(moved, tmp_path, RGB).videos] == [9, 16]
    assert [entry.num_frames for entry in ShardSet.open(str(tmp_path)).videos] == [9, 16]


def test_more_segments_than_may_overlap_take_more_passes() -> None:
    planned = [PlannedVideo(f"v{k}", "", 0, None, frames(k, k + 40)) for k in range(80)]
    found = passes(planned, MOST_OPEN)
    assert sorted(video.video_id for some in found for video in some) == sorted(video.video_id for video in planned)
    assert len(found) == -(-40 // MOST_OPEN)
    for some in found:
        for k in range(120):
            assert sum(v.interval.start <= k < v.interval.end for v in some if v.interval) <= MOST_OPEN  # type: ignore[operator]
    assert len(passes([PlannedVideo(f"v{k}", "", 0, None, frames(k, k + 1)) for k in range(999)], MOST_OPEN)) == 1


def test_files_cut_in_more_passes_than_one_are_whole(video: Path, tmp_path: Path) -> None:
    Counted.opened.clear()
    rows = rows_of(video, [frames(k % 10, 20 + k) for k in range(MOST_OPEN + 3)])
    made = build(rows, tmp_path / "set", open_video=Counted)
    assert Counted.opened == ["film", "film"]
    assert {v.video_id: v.num_frames for v in made.videos} == {
        row.video_id: int(row.interval.end - row.interval.start) for row in rows if row.interval and row.interval.end
    }
