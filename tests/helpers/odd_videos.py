"""Videos as they come from cameras, phones and scripts, made here: what the folder of real odd clips has, and more.

Frame ``i`` of each is of the plain grey level ``8 * i + 20``, but for a white corner at its top left, so that order,
number and uprightness can be read off what is decoded.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.helpers.videos import truncate_video

UInt8 = NDArray[np.uint8]
_ONE = 1 << 16
MATRICES = {90: (0, _ONE, 0, -_ONE, 0), 180: (-_ONE, 0, 0, 0, -_ONE), 270: (0, -_ONE, 0, _ONE, 0)}
"""First five numbers of the display matrix that turns a picture by so many degrees clockwise."""


def levels(count: int) -> NDArray[np.float64]:
    """Grey levels of the first ``count`` frames."""
    return np.arange(20.0, 20 + 8 * count, 8)


def marked(count: int, width: int, height: int) -> list[UInt8]:
    """RGB frames of :func:`levels`, with a white corner."""
    frames = [np.full((height, width, 3), level, np.uint8) for level in levels(count)]
    for frame in frames:
        frame[: height // 3, : width // 3] = 255
    return frames


@dataclass(frozen=True, kw_only=True)
class Odd:
    """How to encode one odd video, and what must come out of it."""

    name: str
    """Of the file; its suffix is the container."""
    codec: str = "libx264"
    pixels: str = "yuv420p"
    size: tuple[int, int] = (96, 64)
    """As coded: width and height."""
    count: int = 24
    rate: int = 25
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the encoder."""
    container: Mapping[str, str] = field(default_factory=dict)
    """Options of the container's writer."""
    times: Sequence[int] | None = None
    """Time stamps in units of 1/1000 s, for a rate that varies."""
    aspect: Fraction | None = None
    """Width over height of a pixel."""
    sound_first: bool = False
    """A stream of sound comes before the pictures."""
    after: Callable[[Path], object] = lambda path: None
    """What is done to the file afterwards."""
    turned: int = 0
    """Degrees clockwise by which the file wants its pictures turned."""

    def write(self, folder: Path) -> Path:
        """Encode it into ``folder``."""
        path = folder / self.name
        with av.open(str(path), "w", options=dict(self.container)) as file:
            if self.sound_first:
                sound = file.add_stream("aac", rate=8000, layout="mono")
            stream = file.add_stream(self.codec, rate=self.rate, options=dict(self.options))
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = self.size
            stream.pix_fmt = self.pixels
            if self.aspect is not None:
                stream.codec_context.sample_aspect_ratio = self.aspect
            if self.times is not None:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            if self.sound_first:
                assert isinstance(sound, av.AudioStream)
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate = 8000
                file.mux(sound.encode(silence))
                file.mux(sound.encode())
            for i, picture in enumerate(marked(self.count, *self.size)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                if self.times is not None:
                    frame.pts, frame.time_base = self.times[i], Fraction(1, 1000)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        if self.turned:
            write_matrix(path, MATRICES[self.turned])
        self.after(path)
        return path


def write_matrix(path: Path, matrix: tuple[int, ...]) -> Path:
    """Write a display matrix into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 20 + 16
    data[start : start + 20] = struct.pack(">5i", *matrix)
    path.write_bytes(data)
    return path


VARIABLE = [0, 20, 40, 60, 200, 210, 220, 600, 1000, 1040, 1080, 1120, 2000, 2010, 2020, 2030]
WHOLE = [
    Odd(name="plain.mp4"),
    *(Odd(name=f"turned{degrees}.mp4", turned=degrees) for degrees in MATRICES),
    Odd(name="variable.mkv", times=VARIABLE, count=len(VARIABLE)),
    Odd(name="variable.mp4", times=VARIABLE, count=len(VARIABLE)),
    Odd(name="b-frames.mp4", options={"bf": "5", "b_strategy": "0", "g": "24"}),
    Odd(name="b-frames.avi", codec="mpeg4", options={"bf": "2", "g": "12", "qmin": "1", "qmax": "2"}),
    Odd(name="ten-bit.mp4", pixels="yuv420p10le", options={"profile": "high10"}),
    Odd(name="odd-size.avi", codec="mpeg4", size=(95, 63), options={"qmin": "1", "qmax": "2"}),
    Odd(name="odd-size-444.mp4", pixels="yuv444p", size=(95, 63)),
    Odd(name="tiny.mp4", size=(16, 16)),
    Odd(name="full-range.avi", codec="mjpeg", pixels="yuvj420p", options={"qmin": "1", "qmax": "2"}),
    Odd(name="lossless.mkv", codec="ffv1", pixels="bgr0"),
    Odd(name="grey.mkv", codec="ffv1", pixels="gray"),
    Odd(name="anamorphic.mp4", aspect=Fraction(4, 3)),
    Odd(name="fragments.mp4", container={"movflags": "frag_keyframe+empty_moov"}, options={"g": "6"}),
    Odd(name="sound-first.mkv", sound_first=True),
    Odd(name="raw.h264"),
    Odd(name="one-frame.mp4", count=1),
    Odd(name="transport.ts"),
]
"""Odd, and whole: every frame comes out."""
DAMAGED = [
    Odd(name="truncated.mp4", options={"g": "1"}, after=lambda path: truncate_video(path, 0.8)),
    Odd(name="truncated-b-frames.mp4", options={"bf": "3", "b_strategy": "0"}, after=lambda p: truncate_video(p, 0.9)),
    Odd(name="cut.mkv", options={"g": "1"}, after=lambda path: path.write_bytes(path.read_bytes()[:-1500])),
    Odd(name="cut.avi", codec="mjpeg", pixels="yuvj420p", after=lambda p: p.write_bytes(p.read_bytes()[:9000])),
]
"""Some frames come out, and then it is said why no more do."""
