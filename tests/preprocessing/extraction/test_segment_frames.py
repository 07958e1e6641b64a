"""Segments of a file: which frames each has, by an independent decode."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import pytest

from tests.helpers.segments import NUM_FRAMES, build, by_id, frames, independent, rows_of, seconds, write_with_times
from tests.helpers.videos import moving_texture, write_video

SECONDS = [(0, 0.4), (0.4, 1.2), (0.5, 0.9), (0.1, None), (1.0, 1.6), (0.04, 0.08), (0.3, 0.9)]
FRAMES = [(0, 10), (10, 31), (5, 12), (39, 40), (33, None)]


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
