"""One video to segments, with a few images in memory at a time.

Axes: T frames, H height, W width.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Protocol, runtime_checkable

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import VideoError
from kinebert.preprocessing.extraction.guard import TimeIsUp
from kinebert.preprocessing.extraction.images import images_of, stored_size
from kinebert.preprocessing.extraction.solvers import Solver
from kinebert.preprocessing.extraction.timing import OFF, NoTiming
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.schema import SEGMENT_LENGTH, segment_schema
from kinebert.preprocessing.sets.plan import PlannedVideo
from kinebert.preprocessing.sets.writer import VideoSummary
from kinebert.preprocessing.stores.answers import StoreAwayError
from kinebert.preprocessing.video.container import in_words
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

    def __init__(self, recipe: FrameRecipe) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="kinebert-")  # noqa: SIM115 - it outlives this function
        self._start: int | None = None
        self._writer = pa.ipc.new_stream(self._file, segment_schema(recipe.modality, recipe.has_joints))
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
    solver: Solver,
    timing: NoTiming = OFF,
) -> tuple[VideoSummary, Spool]:
    """Decode ``video`` once and encode what ``recipe`` asks for.

    Args:
        video: Which file.
        recipe: What is stored, see :func:`.images_of`.
        open_video: Gives the frames; :class:`kinebert.preprocessing.video.frames.VideoFrames` outside tests.
        beat: Called for every image; may raise TimeIsUp.
        solver: Who makes what decoding does not give; ready for use.
        timing: Learns how long the stages take.

    Raises:
        VideoError: If the video has to be left out.
    """
    return extract_frames(video.video_id, open_video(video.path, recipe.decoded, timing), recipe, beat, solver, timing)


def extract_frames(
    video_id: str,
    given: Frames,
    recipe: FrameRecipe,
    beat: Callable[[], None],
    solver: Solver,
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
    frames = _Counted(given, recipe)
    images = images_of(video_id, frames, recipe, solver, timing)
    spool = Spool(recipe)
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
    """Frames of a video, with their number and size, and the size in which they are stored."""

    def __init__(self, frames: Frames, recipe: FrameRecipe) -> None:
        self._frames, self._recipe = frames, recipe
        self.count = self.width = self.height = self.seen_width = self.seen_height = 0

    def __iter__(self) -> Iterator[UInt8]:
        for frame_HW3 in self._frames:
            self.count += 1
            self.seen_height, self.seen_width = frame_HW3.shape[:2]
            self.width, self.height = stored_size(frame_HW3, self._recipe)
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


def _segment(
    video_id: str, images: list[tuple[bytes, ...]], segment: int, frames: _Counted, recipe: FrameRecipe
) -> pa.RecordBatch:
    columns = [list(column) for column in zip(*images, strict=True)]
    start = segment * SEGMENT_LENGTH
    seen = [frames.seen_width, frames.seen_height] if recipe.has_joints else []
    values = [video_id, segment, start, len(images), frames.width, frames.height, *columns, *seen]
    schema = segment_schema(recipe.modality, recipe.has_joints)
    return pa.record_batch([pa.array([value], field.type) for value, field in zip(values, schema, strict=True)], schema)
