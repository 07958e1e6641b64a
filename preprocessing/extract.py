"""One video to segments: decoding, flow and encoding side by side, a few images in memory at a time.

Axes: T frames, H height, W width.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from preprocessing import storage
from preprocessing.errors import VideoError
from preprocessing.guard import TimeIsUp
from preprocessing.images import encode_jpeg, quantize_flow
from preprocessing.overlap import prefetch
from preprocessing.plan import PlannedVideo
from preprocessing.recipe import FlowRecipe, FrameRecipe
from preprocessing.schema import SEGMENT_LENGTH, SEGMENTS
from preprocessing.shards import VideoSummary
from preprocessing.tvl1 import tvl1_flow
from preprocessing.video import in_words

UInt8 = NDArray[np.uint8]
_PAIRS_AT_ONCE = 1  # OpenCV gains nothing from more, and the clock of the video is looked at after each
_DEPTH = 16


class Frames(Protocol):
    """What :class:`preprocessing.video.VideoFrames` is to a task."""

    problem: str | None

    def __iter__(self) -> Iterator[UInt8]: ...


OpenVideo = Callable[[str, FrameRecipe], Frames]


class Spool:
    """Segments of one video on this node's disk, until it is known that the video is to stay."""

    def __init__(self, modality: str) -> None:
        self._file = tempfile.TemporaryFile(prefix="kinebert-")  # noqa: SIM115 - it outlives this function
        self._writer = pa.ipc.new_stream(self._file, SEGMENTS[modality])
        self.num_segments = 0

    def append(self, row: pa.RecordBatch) -> None:
        """Add one segment."""
        with storage.explained(tempfile.gettempdir(), "keep a video's images for a while (TMPDIR)"):
            self._writer.write_batch(row)
        self.num_segments += 1

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Read the segments back, one at a time; the spool is gone afterwards."""
        self._writer.close()
        self._file.seek(0)
        yield from pa.ipc.open_stream(self._file)
        self._file.close()


def extract_video(
    video: PlannedVideo, recipe: FrameRecipe, open_video: OpenVideo, beat: Callable[[], None]
) -> tuple[VideoSummary, Spool]:
    """Decode ``video`` once and encode what ``recipe`` asks for.

    Args:
        video: Which file.
        recipe: A :class:`FlowRecipe` stores flow between the frames, any other the frames themselves.
        open_video: Gives the frames; :class:`preprocessing.video.VideoFrames` outside tests.
        beat: Called for every image; may raise TimeIsUp.

    Raises:
        VideoError: If the video has to be left out.
    """
    frames = _Counted(open_video(video.path, recipe))
    flow = isinstance(recipe, FlowRecipe)
    images = _encode_flow(video.video_id, frames, recipe) if flow else _encode_frames(frames, recipe)  # type: ignore[arg-type]
    spool = Spool(recipe.modality)
    batch: list[tuple[bytes, ...]] = []
    num_images = 0
    try:
        for image in images:
            beat()
            batch.append(image)
            num_images += 1
            if len(batch) == SEGMENT_LENGTH:
                spool.append(_segment(video.video_id, batch, spool.num_segments, frames, recipe))
                batch = []
    except TimeIsUp as error:
        raise VideoError(video.video_id, "time", str(error).removeprefix("time: ")) from None
    except OSError as error:  # of the storage that the video lies on; another time it may be read
        raise VideoError(video.video_id, "read", in_words(error)) from error
    except (cv2.error, MemoryError, ValueError) as error:  # pictures that are too large to resize or to encode
        raise VideoError(video.video_id, "encode", in_words(error)) from error
    if batch:
        spool.append(_segment(video.video_id, batch, spool.num_segments, frames, recipe))
    _check(video.video_id, frames, recipe)
    if num_images != frames.count - flow:
        raise RuntimeError(f"{video.video_id}: {num_images} images of {frames.count} frames; the shard is not written")
    summary = VideoSummary(
        video_id=video.video_id,
        num_row_groups=spool.num_segments,
        num_frames=frames.count,
        num_images=num_images,
        width=frames.width,
        height=frames.height,
        truncated=frames.problem is not None,
        problem=frames.problem,
    )
    return summary, spool


class _Counted:
    """Frames of a video, with their number and size."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.count = self.width = self.height = 0

    def __iter__(self) -> Iterator[UInt8]:
        for frame_HW3 in self._frames:
            self.count += 1
            self.height, self.width = frame_HW3.shape[:2]
            yield frame_HW3

    @property
    def problem(self) -> str | None:
        return self._frames.problem


def _check(video_id: str, frames: _Counted, recipe: FrameRecipe) -> None:
    said = f"; {frames.problem}" if frames.problem else ""
    if frames.count < recipe.min_frames:
        raise VideoError(video_id, "decode", f"{frames.count} frames, at least {recipe.min_frames} are needed{said}")
    if frames.problem and recipe.on_decode_error == "reject":
        raise VideoError(video_id, "decode", f"broke off after {frames.count} frames{said} (on_decode_error = reject)")


def _encode_frames(frames: Iterable[UInt8], recipe: FrameRecipe) -> Iterator[tuple[bytes, ...]]:
    for frame_HW3 in prefetch(frames, _DEPTH):
        yield (encode_jpeg(frame_HW3, recipe.jpeg_quality),)


def _encode_flow(video_id: str, frames: Iterable[UInt8], recipe: FlowRecipe) -> Iterator[tuple[bytes, ...]]:
    for codes_T2HW in prefetch(_solve(video_id, prefetch(frames, _DEPTH), recipe), 2):
        for codes_2HW in codes_T2HW:
            yield encode_jpeg(codes_2HW[0], recipe.jpeg_quality), encode_jpeg(codes_2HW[1], recipe.jpeg_quality)


def _solve(video_id: str, frames: Iterable[UInt8], recipe: FlowRecipe) -> Iterator[UInt8]:
    """Yield 8-bit flow ``(T, 2, H, W)`` of a few pairs at a time."""
    grey: list[UInt8] = []

    def flow() -> UInt8:
        try:
            return quantize_flow(tvl1_flow(np.stack(grey), recipe.tvl1), recipe.bound)
        except Exception as error:  # a solver that refuses a video must not end the others
            raise VideoError(video_id, "flow", in_words(error)) from error

    for frame_HW3 in frames:
        grey.append(cv2.cvtColor(frame_HW3, cv2.COLOR_BGR2GRAY))  # type: ignore[arg-type]
        if len(grey) == _PAIRS_AT_ONCE + 1:
            yield flow()
            del grey[:-1]
    if len(grey) > 1:
        yield flow()


def _segment(
    video_id: str, images: list[tuple[bytes, ...]], segment: int, frames: _Counted, recipe: FrameRecipe
) -> pa.RecordBatch:
    columns = [list(column) for column in zip(*images, strict=True)]
    start = segment * SEGMENT_LENGTH
    values = [video_id, segment, start, len(images), frames.width, frames.height, *columns]
    schema = SEGMENTS[recipe.modality]
    return pa.record_batch([pa.array([value], field.type) for value, field in zip(values, schema, strict=True)], schema)
