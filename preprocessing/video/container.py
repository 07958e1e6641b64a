"""A video's file opened: only containers that hold their own pictures, one stream of them, and no giant pictures.

Every video that a user names is opened here, so that looking into it, extracting it and predicting it agree.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import av
from av.stream import Disposition

from kinebert.preprocessing.extraction.guard import MAX_PIXELS
from kinebert.preprocessing.storage import is_local, open_input

FORMATS = (
    "3gp,amv,apng,asf,asf_o,av1,avi,cavsvideo,dirac,dv,flv,gif,gxf,h261,h263,h264,hevc,ivf,kux,m4v,matroska,mjpeg,mov,"
    "mp4,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,vc1,vvc,webm,wtv,yuv4mpegpipe"
)
"""Names of libavformat's readers that are let in. None of them opens another file or address: playlists (concat, hls,
dash, sdp), numbered pictures (image2) and filter graphs (lavfi) do, and are left out."""


class Unusable(Exception):  # noqa: N818 - it says what a file is; it becomes a row of a table
    """Why a file is no video that can be read, in words for the user."""


@dataclass(frozen=True)
class OpenVideo:
    """A container that is open, and the stream of it that is the video."""

    container: Any
    stream: Any
    num_streams: int
    """Video streams that there are to choose from; cover pictures are none."""


@contextmanager
def open_video(path: str, video_stream: int | None = None, max_pixels: int = MAX_PIXELS) -> Iterator[OpenVideo]:
    """Open the video at ``path``, an absolute local path or URI, for decoding with one thread.

    Args:
        path: The file. Its name says nothing of what is in it.
        video_stream: Which of several video streams, from 0, cover pictures not counted. By default the one that is
            marked as default, then the largest, then the first.
        max_pixels: Most pixels that a picture may have; the decoder refuses larger ones before it takes memory.

    Raises:
        Unusable: If it is no file, not in one of :data:`FORMATS`, or has no such stream that can be decoded.
        OSError: If it cannot be read; also what the decoder makes of a damaged header.
    """
    options = {"max_pixels": str(max_pixels)}
    inside = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "enable_drefs": "0"}
    with ExitStack() as stack:
        if is_local(path):
            _check_regular(path)
        source = path if is_local(path) else stack.enter_context(open_input(path))
        try:
            container = stack.enter_context(
                av.open(source, metadata_errors="ignore", options=options, container_options=inside)
            )
        except av.ArgumentError:
            raise Unusable(
                "not a container of videos that is read here; playlists and lists of other files are not followed"
            ) from None
        streams = _videos(container)
        stream = _chosen(streams, video_stream)
        check_size(stream.width, stream.height, max_pixels)
        stream.codec_context.options = options
        stream.codec_context.thread_count = 1  # the cores belong to the tasks, not to each decoder
        try:
            yield OpenVideo(container, stream, len(streams))
        except av.FFmpegError:  # decoders give no reason where they refuse a size
            check_size(stream.width, stream.height, max_pixels)
            if stream.width * stream.height == 0:
                raise Unusable(f"pictures of no known size, or of more than max_pixels = {max_pixels}") from None
            raise


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise :class:`Unusable` if a picture of ``width`` x ``height`` is larger than is allowed."""
    if width * height > max_pixels:
        raise Unusable(f"pictures of {width}x{height} pixels, more than max_pixels = {max_pixels} allows")


def _check_regular(path: str) -> None:
    """Let nothing be opened that would wait or never end, such as a pipe or a device."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Unusable("not a regular file")


def _videos(container: Any) -> list[Any]:
    """Streams of moving pictures. A cover that lies in a song or a film is none, though it is stored as a stream."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & still]


def _chosen(streams: list[Any], video_stream: int | None) -> Any:
    if not streams:
        raise Unusable("no video stream")
    if video_stream is not None and not 0 <= video_stream < len(streams):
        raise Unusable(f"no video stream {video_stream}: there are {len(streams)}, counted from 0")
    candidates = streams if video_stream is None else [streams[video_stream]]
    known = [stream for stream in candidates if stream.codec_context is not None]
    if not known:
        raise Unusable("the codec of its video stream is not known to this decoder")
    return max(known, key=_rank)  # of equals the first


def _rank(stream: Any) -> tuple[bool, int]:
    return bool(stream.disposition & Disposition.default), stream.width * stream.height


def in_words(error: BaseException) -> str:
    """An error in one line, without the parts that differ from machine to machine."""
    if isinstance(error, Unusable):
        return str(error)
    said = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
