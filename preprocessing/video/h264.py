"""Frames to segments of video and back: H.264, each segment decodable by itself.

A segment begins with a picture that needs no other, and every frame is one packet, in the order in which they are shown
(no B-frames): as many packets as frames. x264 runs with one thread and fixed settings, so that the same frames give the
same bytes. Its ``fastdecode`` (no CABAC, no loop filter) costs an eighth of the disk and halves the time of readers.

Axes: T frames, H height, W width, 3 colours.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.schema import SEGMENT_LENGTH
from kinebert.preprocessing.video.parts import Part

UInt8 = NDArray[np.uint8]
_SETTINGS = {
    "preset": "medium",
    "tune": "fastdecode",
    "bf": "0",
    "g": str(SEGMENT_LENGTH),
    "rc-lookahead": "10",  # few large pictures wait in memory
    "mbtree": "0",  # with it the same frames now and then gave other bytes
}
_ROOM = 256
"""Pixels by which the decoder's buffers may be wider and higher than its pictures."""
_RATE = 25
"""Frames per second that the encoder is told: it decides nothing where the quality is given."""


class SegmentEncoder:
    """Encodes the frames of one video, segment by segment.

    Args:
        crf: x264's constant rate factor, 0 (no loss but that of the colours' half resolution) to 51.
    """

    def __init__(self, crf: int) -> None:
        self._options = {**_SETTINGS, "crf": str(crf)}
        self._codec: av.VideoCodecContext | None = None
        self._packets: list[bytes] = []
        self._count = 0

    def add(self, frame_HW3: UInt8) -> list[bytes]:
        """Take one BGR frame; all have one size. Return the packets of a segment that is full, else nothing.

        Raises:
            ValueError: If it is larger than H.264 allows.
        """
        frame = av.VideoFrame.from_ndarray(_yuv(frame_HW3), format="yuv420p")
        try:
            codec = self._codec = self._codec or self._opened(frame)
            frame.pts = self._count
            self._packets += map(bytes, codec.encode(frame))
        except av.FFmpegError as error:
            size = f"{frame_HW3.shape[1]}x{frame_HW3.shape[0]}"
            raise ValueError(f"a picture of {size} pixels cannot be H.264: {error.strerror}") from None
        self._count += 1
        return self.end() if self._count == SEGMENT_LENGTH else []

    def end(self) -> list[bytes]:
        """Return the packets of the last segment, which may be shorter; nothing if it has no frames."""
        if self._codec is not None:
            self._packets += map(bytes, self._codec.encode(None))
        packets, count = self._packets, self._count
        self._codec, self._packets, self._count = None, [], 0
        assert len(packets) == count, f"{len(packets)} packets of {count} frames"
        return packets

    def _opened(self, frame: av.VideoFrame) -> av.VideoCodecContext:
        codec = av.CodecContext.create("libx264", "w")
        codec.height, codec.width = frame.height, frame.width
        codec.pix_fmt, codec.framerate, codec.time_base = "yuv420p", Fraction(_RATE), Fraction(1, _RATE)
        codec.thread_count = 1
        codec.options = self._options
        return codec


def decode_segment(
    packets: Sequence[Any], wanted: Sequence[int], size: tuple[int, int], part: Part | None = None
) -> UInt8:
    """Decode the beginning of a segment, and return what lies in ``part`` of some frames, RGB ``(T, H, W, 3)``.

    Args:
        packets: From the first one to that of the last wanted frame (bytes or buffers).
        wanted: Positions of frames in the segment, ascending.
        size: Height and width of its pictures.
        part: A rectangle of them; None for all.

    Raises:
        ValueError: If the packets are no such segment.
    """
    codec = av.CodecContext.create("h264", "r")
    codec.thread_count = 1
    even = tuple(side + side % 2 for side in size)
    codec.options = {"err_detect": "explode", "max_pixels": str((even[0] + _ROOM) * (even[1] + _ROOM))}
    try:
        frames = [frame for packet in packets for frame in codec.decode(av.Packet(packet))]
        frames += codec.decode(None)
    except av.FFmpegError as error:
        raise ValueError(f"{len(packets)} packets that are not H.264 of this size: {error.strerror}") from None
    if len(frames) != len(packets) or any((frame.height, frame.width) != even or frame.is_corrupt for frame in frames):
        found = f"{frames[0].width}x{frames[0].height}" if frames else "nothing"
        raise ValueError(
            f"{len(packets)} packets of H.264 that are {len(frames)} frames, {found}; expected {even[1]}x{even[0]}"
        )
    chosen = [frames[position] for position in wanted]
    return np.stack([_rgb(frame, part or Part(0, 0, *size)) for frame in chosen])


def _yuv(frame_HW3: UInt8) -> UInt8:
    """Convert a BGR picture to planes of brightness and, at half the resolution, colour, as OpenCV lays them out.

    OpenCV rounds; swscale, without its slowest settings, drops bits and darkens every picture by two levels.
    """
    height, width = frame_HW3.shape[:2]
    even_HW3 = np.pad(frame_HW3, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    return cast(UInt8, cv2.cvtColor(even_HW3, cv2.COLOR_BGR2YUV_I420))


def _rgb(frame: av.VideoFrame, part: Part) -> UInt8:
    """Convert what lies in ``part`` of a frame back to RGB ``(H, W, 3)``."""
    top, left = part.top // 2, part.left // 2  # in pixels of the planes of colour
    height, width = -(-(part.top + part.height) // 2) - top, -(-(part.left + part.width) // 2) - left
    planes = np.empty(6 * height * width, np.uint8)
    start = 0
    for plane, zoom in zip(frame.planes, (2, 1, 1), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        rows = rows[zoom * top : zoom * (top + height), zoom * left : zoom * (left + width)]
        planes[start : start + rows.size].reshape(rows.shape)[...] = rows
        start += rows.size
    whole_HW3 = cv2.cvtColor(planes.reshape(3 * height, 2 * width), cv2.COLOR_YUV2RGB_I420)
    down, right = part.top - 2 * top, part.left - 2 * left
    return cast(UInt8, whole_HW3[down : down + part.height, right : right + part.width])
