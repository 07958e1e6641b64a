"""One video in, its frames out: decode order, upright, at the recipe's size.

Axes: H height, W width, 3 colours (BGR, OpenCV's order).
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.recipe import FrameRecipe
from preprocessing.storage import is_local, open_input

UInt8 = NDArray[np.uint8]
_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}


class VideoFrames:
    """Iterate over the frames of one video; afterwards ``problem`` says why decoding ended early, if it did.

    Frames come in the decoder's output order (time stamps of XviD files are scrambled, so nothing is sorted by them),
    rotated as the file's display matrix says, resized by the recipe: ``uint8 (H, W, 3)`` BGR. All frames of a video
    have the size of its first. Nothing that is wrong with a file raises: what decodes before an error is yielded.
    """

    def __init__(self, path: str, recipe: FrameRecipe) -> None:
        self.path = path
        self.recipe = recipe
        self.problem: str | None = None

    def __iter__(self) -> Iterator[UInt8]:
        size: tuple[int, int] | None = None
        frames = self._decoded()
        while True:
            try:
                frame = next(frames, None)
                if frame is None:
                    return
                image_HW3 = _upright(cast(UInt8, frame.to_ndarray(format="bgr24")), frame.rotation)
            except Exception as error:  # whatever a decoder says of a damaged file is data, not a bug
                self.problem = in_words(error)
                return
            if size is None:
                size = target_size(image_HW3.shape[1], image_HW3.shape[0], self._pixel_aspect(frame), self.recipe)
            if (image_HW3.shape[1], image_HW3.shape[0]) != size:
                image_HW3 = cv2.resize(image_HW3, size, interpolation=_INTERPOLATION[self.recipe.interpolation])  # type: ignore[assignment]
            yield image_HW3

    def _decoded(self) -> Iterator[av.VideoFrame]:
        with ExitStack() as stack:
            source = self.path if is_local(self.path) else stack.enter_context(open_input(self.path))
            container = stack.enter_context(av.open(source, metadata_errors="ignore"))
            if not container.streams.video:
                raise ValueError("there is no video stream in this file")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # the cores belong to the tasks, not to each decoder
            self._aspect = stream.sample_aspect_ratio
            for i, frame in enumerate(container.decode(stream)):
                if i % self.recipe.frame_step == 0:
                    yield frame

    def _pixel_aspect(self, frame: av.VideoFrame) -> float:
        aspect = float(self._aspect) if self._aspect else 1.0
        return 1 / aspect if frame.rotation % 180 else aspect


def in_words(error: BaseException) -> str:
    """An error in one line, without the parts that differ from machine to machine."""
    said = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def target_size(width: int, height: int, pixel_aspect: float, recipe: FrameRecipe) -> tuple[int, int]:
    """Size ``(width, height)`` in pixels at which a recipe stores upright pictures of ``width`` x ``height``."""
    if recipe.resize == "fixed":
        return recipe.width, recipe.height
    shown = width * pixel_aspect if recipe.square_pixels else float(width)
    scale = recipe.short_side / min(shown, height) if recipe.resize == "short_side" else 1.0
    return max(1, round(shown * scale)), max(1, round(height * scale))


def _upright(image_HW3: UInt8, rotation: int) -> UInt8:
    """Turn a picture counter-clockwise by ``rotation`` degrees; anything but quarter turns is left alone."""
    quarters, rest = divmod(rotation % 360, 90)
    if rest or not quarters:
        return image_HW3
    return np.ascontiguousarray(np.rot90(image_HW3, quarters))
