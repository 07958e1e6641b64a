"""From the frames of a video to the images that a shard stores: as they are, their flow, or poses of people in them.

One thread decodes, one solves or looks for people, one encodes, with a few images in memory at a time.

Axes: T frames, H height, W width, P people, J joints (25), 2 components (x, y).
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError, VideoError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.extraction.prefetch import frames_ahead, prefetch
from kinebert.preprocessing.extraction.solvers import Solver
from kinebert.preprocessing.extraction.timing import NoTiming
from kinebert.preprocessing.pose.drawing import draw
from kinebert.preprocessing.pose.estimator import PoseEstimator
from kinebert.preprocessing.pose.joints import from_bytes, to_bytes
from kinebert.preprocessing.pose.skeleton import People
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.video.container import in_words
from kinebert.preprocessing.video.frames import resized, target_size
from kinebert.preprocessing.video.h264 import SegmentEncoder
from kinebert.preprocessing.video.images import encode_jpeg, quantize_flow
from kinebert.preprocessing.video.jpeg_parts import restart_interval

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Image = tuple[bytes, ...]
"""What is stored of one image: a JPEG or packet for each column of its modality and, with joints, their bytes."""
_BATCHES_AHEAD = 1
_SOLVING = threading.Lock()
"""Segments of a file run side by side, solvers have one workspace, and a task's threads are counted for one of them."""


def images_of(
    video_id: str, frames: Iterable[UInt8], recipe: FrameRecipe, solver: Solver, timing: NoTiming
) -> Iterator[Image]:
    """Yield what is stored of a video, image by image.

    Args:
        video_id: Of the video.
        frames: BGR ``(H, W, 3)``, as ``recipe.decoded`` asks for them.
        recipe: A :class:`FlowRecipe` stores flow between the frames, a :class:`PoseRecipe` with a backend the people in
            them, any other what its ``pictures`` yields.
        solver: Who makes flow or poses; ready for use.
        timing: Learns how long the stages take.
    """
    if isinstance(recipe, FlowRecipe):
        assert isinstance(solver, FlowSolver), "flow is solved"
        return _Flow(video_id, recipe, solver, timing).images(frames)
    if isinstance(recipe, PoseRecipe) and recipe.backend:
        assert isinstance(solver, PoseFinder), "people are looked for"
        return _Poses(video_id, recipe, solver, timing).images(frames)
    return _encode(recipe.pictures(prefetch(frames, frames_ahead)), recipe, timing)


def stored_size(frame_HW3: UInt8, recipe: FrameRecipe) -> tuple[int, int]:
    """Return the width and height at which an image of a decoded frame is stored."""
    height, width = frame_HW3.shape[:2]
    return (width, height) if recipe.decoded is recipe else target_size(width, height, 1.0, recipe)


def _encode(images: Iterable[tuple[UInt8, ...]], recipe: FrameRecipe, timing: NoTiming) -> Iterator[Image]:
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
    """Flow of one video, from its frames to 8-bit pictures."""

    video_id: str
    recipe: FlowRecipe
    solver: FlowSolver
    timing: NoTiming

    def images(self, frames: Iterable[UInt8]) -> Iterator[Image]:
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


@dataclass(frozen=True)
class _Poses:
    """Poses of one video: pictures of its people, drawn of joints as they are stored, and those joints."""

    video_id: str
    recipe: PoseRecipe
    finder: PoseFinder
    timing: NoTiming

    def images(self, frames: Iterable[UInt8]) -> Iterator[Image]:
        """Yield the JPEG or packet of every frame, and the bytes of its people."""
        waiting: deque[bytes] = deque()  # an encoder of video gives packets later than it takes pictures
        for (picture,) in _encode(self._drawn(frames, waiting), self.recipe, self.timing):
            yield picture, waiting.popleft()

    def _drawn(self, frames: Iterable[UInt8], joints: deque[bytes]) -> Iterator[tuple[UInt8, ...]]:
        """Yield a picture of every frame's people, and add the people to ``joints``."""
        for batch, found in prefetch(self._found(prefetch(frames, frames_ahead)), _BATCHES_AHEAD):
            for frame_HW3, kept in zip(batch, found, strict=True):
                joints.append(kept)
                with self.timing.stage("draw"):
                    picture_HW3 = self._picture(from_bytes(kept).astype(np.float32), frame_HW3)
                with self.timing.stage("resize"):
                    picture_HW3 = resized(picture_HW3, stored_size(frame_HW3, self.recipe), self.recipe)
                yield (picture_HW3,)

    def _picture(self, people_PJ3: People, frame_HW3: UInt8) -> UInt8:
        recipe, (height, width) = self.recipe, frame_HW3.shape[:2]
        background_HW3 = frame_HW3 if recipe.background == "frame" else None
        return draw(
            people_PJ3, height, width, look=recipe.look, threshold=recipe.threshold, background_HW3=background_HW3
        )

    def _found(self, frames: Iterable[UInt8]) -> Iterator[tuple[list[UInt8], list[bytes]]]:
        """Yield as many frames at a time as the estimator likes, and the rest at the end, with the bytes of people."""
        with ExitStack() as stack:
            with self._blamed():
                estimator = stack.enter_context(self.finder.session(self.video_id))
            batch: list[UInt8] = []
            for frame_HW3 in frames:
                batch.append(frame_HW3)
                if len(batch) >= estimator.pictures_at_once(*frame_HW3.shape[:2]):
                    yield batch, self._look(estimator, batch)
                    batch = []
            if batch:
                yield batch, self._look(estimator, batch)

    def _look(self, estimator: PoseEstimator, batch: list[UInt8]) -> list[bytes]:
        with self._blamed(), _SOLVING, self.timing.stage("pose"):
            return [to_bytes(people_PJ3) for people_PJ3 in self.finder.find(estimator, batch)]

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Say of the video what an estimator refuses it for: it must not end the others."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise VideoError(self.video_id, "pose", in_words(error)) from error
