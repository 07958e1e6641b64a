"""One video to segments: decoding, flow and encoding side by side, a few images in memory at a time.

Axes: T frames, H height, W width.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol, cast, runtime_checkable

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError, VideoError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import TimeIsUp
from kinebert.preprocessing.extraction.prefetch import frames_ahead, prefetch
from kinebert.preprocessing.extraction.timing import OFF, NoTiming
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.schema import SEGMENT_LENGTH, segment_schema
from kinebert.preprocessing.sets.plan import PlannedVideo
from kinebert.preprocessing.sets.writer import VideoSummary
from kinebert.preprocessing.stores.answers import StoreAwayError
from kinebert.preprocessing.video.container import in_words
from kinebert.preprocessing.video.h264 import SegmentEncoder
from kinebert.preprocessing.video.images import encode_jpeg, quantize_flow
from kinebert.preprocessing.video.jpeg_parts import restart_interval
from kinebert.preprocessing.video.still_frames import StillCounts

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
_BATCHES_AHEAD = 1
_SOLVING = threading.Lock()
"""Segments of a file run side by side, and solvers have one workspace."""


class Frames(Protocol):
    """Frames of a video, BGR ``(H, W, 3)``, and afterwards why they ended early; such as :class:`.VideoFrames`."""

    problem: str | None

    def __iter__(self) -> Iterator[UInt8]: ...


@runtime_checkable
class CountsStill(Protocol):
    """Frames that know afterwards how many of them show no motion, as :class:`.VideoFrames` do."""

    @property
    def still(self) -> StillCounts | None:
        """How many; None where that is not known."""


OpenVideo = Callable[[str, FrameRecipe, NoTiming], Frames]


class Spool:
    """Segments of one video on this node's disk, until it is known that the video is to stay."""

    def __init__(self, modality: str) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="kinebert-")  # noqa: SIM115 - it outlives this function
        self._start: int | None = None
        self._writer = pa.ipc.new_stream(self._file, segment_schema(modality))
        self.num_segments = 0

    def append(self, row: pa.RecordBatch) -> None:
        """Add one segment, a batch of one row."""
        with storage.explained(tempfile.gettempdir(), "keep a video's images for a while (TMPDIR)"):
            self._writer.write_batch(row)
        self.num_segments += 1

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Read the segments back, one at a time; the spool is gone afterwards."""
        if self._start is None:
            self._writer.close()
        self._file.seek(self._start or 0)
        yield from pa.ipc.open_stream(self._file)
        if self._start is None:
            self._file.close()

    def move_into(self, store: IO[bytes]) -> None:
        """Move everything to the end of ``store``, a file that many spools share; nothing can be added afterwards."""
        self._writer.close()
        self._file.seek(0)
        self._start = store.seek(0, os.SEEK_END)
        shutil.copyfileobj(self._file, store, 1 << 20)
        self._file.close()
        self._file = store


def extract_video(
    video: PlannedVideo,
    recipe: FrameRecipe,
    open_video: OpenVideo,
    beat: Callable[[], None],
    solver: FlowSolver,
    timing: NoTiming = OFF,
) -> tuple[VideoSummary, Spool]:
    """Decode ``video`` once and encode what ``recipe`` asks for.

    Args:
        video: Which file.
        recipe: A :class:`FlowRecipe` stores flow between the frames, any other what its ``pictures`` yields.
        open_video: Gives the frames; :class:`kinebert.preprocessing.video.frames.VideoFrames` outside tests.
        beat: Called for every image; may raise TimeIsUp.
        solver: Who solves the flow; ready for use.
        timing: Learns how long the stages take.

    Raises:
        VideoError: If the video has to be left out.
    """
    return extract_frames(video.video_id, open_video(video.path, recipe, timing), recipe, beat, solver, timing)


def extract_frames(
    video_id: str,
    given: Frames,
    recipe: FrameRecipe,
    beat: Callable[[], None],
    solver: FlowSolver,
    timing: NoTiming = OFF,
    about: Callable[[], tuple[str, str]] = lambda: ("", ""),
) -> tuple[VideoSummary, Spool]:
    """Encode what ``recipe`` asks for of the frames of one video.

    Args:
        video_id: Of the video.
        given: Its frames.
        recipe: As for :func:`extract_video`, like ``beat``, ``solver`` and ``timing``.
        about: Says of frames that are too few where they lie, and how long their video is.

    Raises:
        VideoError: If the video has to be left out.
        StoreAwayError: If the store that it lies in is out of reach.
    """
    frames = _Counted(given)
    if isinstance(recipe, FlowRecipe):
        images = _Flow(video_id, recipe, solver, timing).images(frames)
    else:
        images = _encode(frames, recipe, timing)
    spool = Spool(recipe.modality)
    batch: list[tuple[bytes, ...]] = []
    num_images = 0
    try:
        for image in images:
            beat()
            batch.append(image)
            num_images += 1
            if len(batch) == SEGMENT_LENGTH:
                with timing.stage("write"):
                    spool.append(_segment(video_id, batch, spool.num_segments, frames, recipe))
                batch = []
    except TimeIsUp as error:
        raise VideoError(video_id, "time", str(error).removeprefix("time: ")) from None
    except StoreAwayError:  # it would be said of every video
        raise
    except OSError as error:  # of the storage that the video lies on; another time it may be read
        raise VideoError(video_id, "read", in_words(error)) from error
    except (cv2.error, MemoryError, ValueError) as error:  # pictures that are too large to resize or to encode
        raise VideoError(video_id, "encode", in_words(error)) from error
    if batch:
        spool.append(_segment(video_id, batch, spool.num_segments, frames, recipe))
    _check(video_id, frames, recipe, about)
    if num_images != frames.count - modality_of(recipe.modality).fewer:
        raise RuntimeError(f"{video_id}: {num_images} images of {frames.count} frames; the shard is not written")
    still = frames.still
    summary = VideoSummary(
        video_id=video_id,
        num_row_groups=spool.num_segments,
        num_frames=frames.count,
        num_images=num_images,
        width=frames.width,
        height=frames.height,
        truncated=frames.problem is not None,
        problem=frames.problem,
        num_repeated=None if still is None else still.repeated,
        num_near_still=None if still is None else still.near_still,
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

    @property
    def still(self) -> StillCounts | None:
        return self._frames.still if isinstance(self._frames, CountsStill) else None


def _check(video_id: str, frames: _Counted, recipe: FrameRecipe, about: Callable[[], tuple[str, str]]) -> None:
    said = f"; {frames.problem}" if frames.problem else ""
    if frames.count < recipe.min_frames:
        where, length = about()
        dropped = frames.still.repeated if recipe.drop_repeats and frames.still else 0
        besides = f" besides {dropped} that repeat the one before" if dropped else ""
        few = f"{frames.count} frames{where}{besides}, at least {recipe.min_frames} are needed{length}{said}"
        raise VideoError(video_id, "decode", few)
    if frames.problem and recipe.on_decode_error == "reject":
        raise VideoError(video_id, "decode", f"broke off after {frames.count} frames{said} (on_decode_error = reject)")


def _encode(frames: Iterable[UInt8], recipe: FrameRecipe, timing: NoTiming) -> Iterator[tuple[bytes, ...]]:
    images = recipe.pictures(prefetch(frames, frames_ahead))
    if recipe.codec == "h264":
        encoder = SegmentEncoder(recipe.crf)
        for (picture,) in images:
            with timing.stage("encode"):
                packets = encoder.add(picture)
            yield from ((packet,) for packet in packets)
        with timing.stage("encode"):
            packets = encoder.end()
        yield from ((packet,) for packet in packets)
        return
    for pictures in images:
        with timing.stage("encode"):
            image = tuple(_jpeg(picture, recipe) for picture in pictures)
        yield image


def _jpeg(picture: UInt8, recipe: FrameRecipe) -> bytes:
    interval = restart_interval(picture.shape[1], picture.ndim == 3) if recipe.restart_markers else 0
    return encode_jpeg(picture, recipe.jpeg_quality, interval)


@dataclass(frozen=True)
class _Flow:
    """Flow of one video, from its frames to 8-bit pictures. One thread decodes, one solves, one encodes."""

    video_id: str
    recipe: FlowRecipe
    solver: FlowSolver
    timing: NoTiming

    def images(self, frames: Iterable[UInt8]) -> Iterator[tuple[bytes, ...]]:
        """Yield the JPEGs of x and y of every field."""
        grey = prefetch(self._grey(frames), frames_ahead)
        for fields_T2HW in prefetch(self._solve(grey), _BATCHES_AHEAD):
            for field_2HW in fields_T2HW:
                with self.timing.stage("quantise"):
                    codes_2HW = quantize_flow(field_2HW, self.recipe.bound)
                with self.timing.stage("encode"):
                    image = tuple(_jpeg(codes_HW, self.recipe) for codes_HW in codes_2HW)
                yield image

    def _grey(self, frames: Iterable[UInt8]) -> Iterator[UInt8]:
        for frame_HW3 in frames:
            with self.timing.stage("grey"):
                grey_HW = cast(UInt8, cv2.cvtColor(frame_HW3, cv2.COLOR_BGR2GRAY))
            yield grey_HW

    def _solve(self, frames: Iterable[UInt8]) -> Iterator[Float32]:
        """Yield flow ``(T, 2, H, W)`` of as many pairs at a time as the solver likes, and of the rest at the end."""
        grey: list[UInt8] = []
        for grey_HW in frames:
            grey.append(grey_HW)
            if len(grey) == self.solver.pairs_at_once(*grey_HW.shape) + 1:
                yield self._solved(grey)
                del grey[:-1]
        if len(grey) > 1:
            yield self._solved(grey)

    def _solved(self, grey: list[UInt8]) -> Float32:
        try:
            with _SOLVING, self.timing.stage("solve"):
                return self.solver.solve(np.stack(grey), self.recipe.tvl1)
        except UserError:
            raise
        except Exception as error:  # a solver that refuses a video must not end the others
            raise VideoError(self.video_id, "flow", in_words(error)) from error


def _segment(
    video_id: str, images: list[tuple[bytes, ...]], segment: int, frames: _Counted, recipe: FrameRecipe
) -> pa.RecordBatch:
    columns = [list(column) for column in zip(*images, strict=True)]
    start = segment * SEGMENT_LENGTH
    values = [video_id, segment, start, len(images), frames.width, frames.height, *columns]
    schema = segment_schema(recipe.modality)
    return pa.record_batch([pa.array([value], field.type) for value, field in zip(values, schema, strict=True)], schema)
