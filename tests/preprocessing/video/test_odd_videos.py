"""Odd videos that are made here decode to exactly their frames, in order, upright; damaged ones say where they end."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.probe import probe_video
from tests.helpers.odd_videos import DAMAGED, MATRICES, VARIABLE, WHOLE, Odd, levels

AS_CODED = FrameRecipe(resize="none")
CORNERS = {0: (0, 0), 90: (0, -1), 180: (-1, -1), 270: (-1, 0)}
"""Row and column of the corner pixel that is white, by the degrees clockwise that a picture is turned."""


def brightness(frame: NDArray[np.uint8]) -> float:
    """Mean of the middle, as far as every picture has one."""
    height, width = frame.shape[:2]
    return float(frame[height // 2 : height // 2 + 6, width // 2 : width // 2 + 6].mean())


def params(odds: list[Odd]) -> list[object]:
    return [pytest.param(odd, id=odd.name) for odd in odds]


@pytest.mark.parametrize("odd", params(WHOLE))
def test_every_frame_comes_in_order_and_upright(odd: Odd, tmp_path: Path) -> None:
    path = odd.write(tmp_path)
    video = VideoFrames(str(path), AS_CODED)
    frames = list(video)
    assert video.problem is None
    assert len(frames) == odd.count
    width, height = odd.size if odd.turned % 180 == 0 else odd.size[::-1]
    assert {frame.shape for frame in frames} == {(height, width, 3)}
    middle = [brightness(frame) for frame in frames]
    assert np.abs(middle - levels(odd.count)).max() < 4  # neighbours are 8 apart
    white = [corner for corner in CORNERS.values() if min(frame[corner].min() for frame in frames) > 235]
    assert white == [CORNERS[odd.turned]]


@pytest.mark.parametrize("odd", params(WHOLE))
def test_what_the_index_says_of_it_is_so(odd: Odd, tmp_path: Path) -> None:
    path = odd.write(tmp_path)
    facts = probe_video(str(path))
    assert facts.problem is None
    assert (facts.width, facts.height) == odd.size
    assert facts.pixel_aspect == pytest.approx(float(odd.aspect or 1))
    assert facts.rotation % 360 == (-odd.turned) % 360
    assert facts.bytes == path.stat().st_size
    assert facts.codec == {"libx264": "h264"}.get(odd.codec, odd.codec)
    if odd.times is None:
        assert facts.fps == pytest.approx(odd.rate)
    if path.suffix == ".mp4" and odd.times is None and not odd.container:
        assert facts.duration_s == pytest.approx(odd.count / odd.rate, abs=0.05)


@pytest.mark.parametrize("odd", params([odd for odd in WHOLE if odd.codec in ("libx264", "mpeg4")]))
def test_opencv_sees_the_same_pictures(odd: Odd, tmp_path: Path) -> None:
    """Another decoder's view, where it reads the file."""
    path = odd.write(tmp_path)
    capture = cv2.VideoCapture(str(path))
    for frame in VideoFrames(str(path), AS_CODED):
        read, expected = capture.read()
        assert read
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).max() <= 3  # its conversion to RGB rounds otherwise
    assert not capture.read()[0]


@pytest.mark.parametrize("odd", params(DAMAGED))
def test_a_damaged_one_gives_what_it_has_and_says_that_it_ends(odd: Odd, tmp_path: Path) -> None:
    path = odd.write(tmp_path)
    video = VideoFrames(str(path), AS_CODED)
    frames = list(video)
    assert 0 < len(frames) < odd.count
    assert video.problem
    sound = [brightness(frame) for frame in frames][:2]
    assert np.abs(sound - levels(len(sound))).max() < 4
    again = list(VideoFrames(str(path), AS_CODED))
    assert all(np.array_equal(a, b) for a, b in zip(again, frames, strict=True))
    assert probe_video(str(path)).problem is None, "its first frame decodes, so it is indexed"


def test_b_frames_lie_in_another_order_than_they_are_shown(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    (odd,) = (odd for odd in WHOLE if odd.name == "b-frames.mp4")
    with av.open(str(odd.write(tmp_path))) as file:
        times = [packet.pts for packet in file.demux(video=0) if packet.pts is not None]
    assert times != sorted(times)


def test_frames_of_a_variable_rate_are_neither_doubled_nor_dropped(tmp_path: Path) -> None:
    """Their time stamps play no part: what is stored is what was recorded, one after the other."""
    (odd,) = (odd for odd in WHOLE if odd.name == "variable.mkv")
    path = odd.write(tmp_path)
    with av.open(str(path)) as file:
        times = [round(1000 * float(frame.time or 0)) for frame in file.decode(video=0)]
    assert times == VARIABLE
    assert sum(1 for _ in VideoFrames(str(path), FrameRecipe(frame_step=5))) == -(-len(VARIABLE) // 5)


def test_pixels_of_ten_bits_are_ten(tmp_path: Path) -> None:
    (odd,) = (odd for odd in WHOLE if odd.name == "ten-bit.mp4")
    with av.open(str(odd.write(tmp_path))) as file:
        assert file.streams.video[0].pix_fmt == "yuv420p10le"


@pytest.mark.parametrize("degrees", [0, *MATRICES])
def test_wide_pixels_are_made_square_also_when_turned(degrees: int, tmp_path: Path) -> None:
    odd = Odd(name="wide.mp4", aspect=Fraction(4, 3), turned=degrees, count=2)
    shapes = {
        frame.shape for frame in VideoFrames(str(odd.write(tmp_path)), FrameRecipe(resize="none", square_pixels=True))
    }
    assert shapes == ({(64, 128, 3)} if degrees % 180 == 0 else {(96, 48, 3)} | shapes & {(128, 64, 3)})


def test_all_frames_have_the_size_of_the_first(tmp_path: Path) -> None:
    """Two recordings of different sizes in one raw stream, as cameras that switch write them."""
    first = Odd(name="first.h264", size=(96, 64), count=6).write(tmp_path)
    second = Odd(name="second.h264", size=(64, 48), count=6).write(tmp_path)
    both = tmp_path / "both.h264"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames = list(VideoFrames(str(both), AS_CODED))
    assert len(frames) == 12
    assert {frame.shape for frame in frames} == {(64, 96, 3)}
    middle = np.array([brightness(frame) for frame in frames])
    assert np.abs(middle - np.concatenate([levels(6)] * 2)).max() < 4
