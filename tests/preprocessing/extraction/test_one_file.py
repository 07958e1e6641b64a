"""Segments of a file: which frames each has, by an independent decode, and that the file is decoded once for all."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.guard import MAX_ATTEMPTS, Attempts, Limits
from kinebert.preprocessing.extraction.one_file import MOST_OPEN, passes
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.folder import claim_output, is_finished
from kinebert.preprocessing.sets.plan import PlannedVideo, plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.intervals import Interval
from tests.helpers.sets import make_set
from tests.helpers.videos import moving_texture, truncate_video, write_video

RGB = FrameRecipe(width=48, height=32, min_frames=1)
FLOW = FlowRecipe(width=48, height=32, tvl1=TvL1Params(warps=1, nscales=1, outer_iterations=1))
NUM_FRAMES = 40
SECONDS = [(0, 0.4), (0.4, 1.2), (0.5, 0.9), (0.1, None), (1.0, 1.6), (0.04, 0.08), (0.3, 0.9)]
FRAMES = [(0, 10), (10, 31), (5, 12), (39, 40), (33, None)]


def seconds(start: float, end: float | None) -> Interval:
    return Interval(start, end, "s")


def frames(start: float, end: float | None) -> Interval:
    return Interval(start, end, "frames")


def rows_of(path: Path, intervals: list[Interval | None], group: str = "g") -> list[ManifestRow]:
    return [
        ManifestRow(
            video_id=f"{path.stem}_{interval.suffix() if interval else 'whole'}",
            path=str(path),
            label=i % 2,
            label_name=f"class{i % 2}",
            group=group,
            splits={"split1": "train"},
            width=64,
            height=48,
            fps=25.0,
            duration_s=NUM_FRAMES / 25,
            bytes=path.stat().st_size,
            interval=interval,
        )
        for i, interval in enumerate(intervals)
    ]


def build(rows: list[ManifestRow], output: Path, recipe: FrameRecipe = RGB, **options: Any) -> ShardSummary:
    output.mkdir(exist_ok=True)
    (shard,) = plan_shards(rows, 99)
    return BuildShard(output=str(output), recipe=recipe, limits=Limits(), run_id="job", **options)(shard)


def by_id(made: ShardSummary) -> dict[str, VideoSummary]:
    return {video.video_id: video for video in made.videos}


def write_with_times(path: Path, pts: list[int], time_base: Fraction, codec: str = "libx264") -> Path:
    """Encode one frame for each presentation time."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = time_base
        for image, stamp in zip(moving_texture(len(pts)), pts, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def independent(path: Path) -> list[tuple[Fraction, NDArray[np.uint8]]]:
    """Frames in the order in which they are shown, with the container's own presentation times, from the first."""
    with av.open(str(path)) as container:
        decoded: Iterator[Any] = container.decode(container.streams.video[0])
        found = [(f.pts * f.time_base, f.to_ndarray(format="bgr24")) for f in decoded]
    found.sort(key=lambda entry: entry[0])
    return [(time - found[0][0], image) for time, image in found]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("one_file") / "film.mp4", moving_texture(NUM_FRAMES))


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


def test_frames_are_those_whose_time_lies_in_the_segment(video: Path, tmp_path: Path) -> None:
    made = by_id(build(rows_of(video, [seconds(*each) for each in SECONDS]), tmp_path / "set"))
    times = [time for time, _ in independent(video)]
    for start, end in SECONDS:
        stop = Fraction(9999) if end is None else Fraction(str(end))
        expected = sum(Fraction(str(start)) <= time < stop for time in times)
        assert made[f"film_{seconds(start, end).suffix()}"].num_frames == expected, (start, end)
    assert made["film_s0-0.4"].num_frames == 10  # 0.4 s is frame 10, which is the next segment's
    assert made["film_s0.4-1.2"].num_frames == 20
    assert not any(summary.truncated for summary in made.values())


def test_frames_are_those_whose_numbers_lie_in_the_segment(video: Path, tmp_path: Path) -> None:
    made = by_id(build(rows_of(video, [frames(*each) for each in FRAMES]), tmp_path / "set"))
    counts = {name: summary.num_frames for name, summary in made.items()}
    assert counts == {"film_f0-10": 10, "film_f10-31": 21, "film_f5-12": 7, "film_f39-40": 1, "film_f33-end": 7}


@pytest.mark.parametrize(
    ("name", "fps", "codec"),
    [("ntsc.mp4", Fraction(30000, 1001), "libx264"), ("ms.mkv", Fraction(30000, 1001), "libx264"),
     ("ten.webm", Fraction(10), "libvpx"), ("odd.ts", Fraction(24000, 1001), "libx264")],
)  # fmt: skip
def test_rates_and_containers(name: str, fps: Fraction, codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, moving_texture(NUM_FRAMES), codec, fps)  # type: ignore[arg-type]
    cuts = [(k / 10, (k + 3) / 10) for k in range(0, 10, 2)] + [(0.1, 0.2), (1.001, 1.3013)]
    made = by_id(build(rows_of(path, [seconds(*cut) for cut in cuts]), tmp_path / "set"))
    times = [time for time, _ in independent(path)]
    for start, end in cuts:
        expected = sum(Fraction(str(start)) <= time < Fraction(str(end)) for time in times)
        assert made[f"{path.stem}_{seconds(start, end).suffix()}"].num_frames == expected, (start, end)


def test_a_rate_that_varies_and_a_start_that_is_not_0(tmp_path: Path) -> None:
    pts = [500, 540, 1000, 1033, 1066, 2500, 2501, 2600]
    path = write_with_times(tmp_path / "vfr.mkv", pts, Fraction(1, 1000))
    cuts = [seconds(0, 0.04), seconds(0, 0.041), seconds(0.5, 2), seconds(2.001, 2.1), seconds(2.001, 2.101)]
    made = by_id(build(rows_of(path, list(cuts)), tmp_path / "set"))
    counts = [made[f"vfr_{cut.suffix()}"].num_frames for cut in cuts]
    assert counts == [1, 2, 3, 1, 2]  # counted from the first frame, at 0.5 s of the container's clock


@pytest.mark.parametrize(("codec", "options"), [("mpeg4", {"bf": "2"}), ("libx264", {"bf": "3"})])
def test_avi_whose_stamps_are_scrambled_goes_by_its_packets(
    codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "old.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in moving_texture(NUM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    made = build(rows_of(path, [seconds(0.2, 0.4), seconds(0.4, 1.0), seconds(1.0, None)]), tmp_path / "set")
    assert [by_id(made)[f"old_{name}"].num_frames for name in ("s0.2-0.4", "s0.4-1", "s1-end")] == [5, 15, 15]
    capture = cv2.VideoCapture(str(path))  # an independent reader counts as many
    assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == NUM_FRAMES


def test_avi_that_repeats_pictures_goes_by_when_they_come(tmp_path: Path) -> None:
    """A recording of a screen stores nothing while nothing moves: the container fills the gap with empty packets."""
    stamps = [*range(10), *range(20, 30)]
    path = write_with_times(tmp_path / "screen.avi", stamps, Fraction(1, 25), "mpeg4")
    made = by_id(build(rows_of(path, [seconds(0, 0.8), seconds(0.8, 1.2), frames(10, 20)]), tmp_path / "set"))
    counts = {name: summary.num_frames for name, summary in made.items()}
    assert counts == {"screen_s0-0.8": 10, "screen_s0.8-1.2": 10, "screen_f10-20": 10}


def test_a_stream_without_times_goes_by_its_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", moving_texture(NUM_FRAMES))
    made = by_id(build(rows_of(path, [seconds(0.4, 1.0), frames(3, 9)]), tmp_path / "set"))
    assert {name: summary.num_frames for name, summary in made.items()} == {"raw_s0.4-1": 15, "raw_f3-9": 6}


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
