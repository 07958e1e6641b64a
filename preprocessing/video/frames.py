"""One video in, its frames out: decode order, upright, at the recipe's size.

Axes: H height, W width, 3 colours (BGR, OpenCV's order).
"""

import errno
import struct
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from kinebert.preprocessing.extraction.guard import MAX_PIXELS
from kinebert.preprocessing.extraction.timing import OFF, NoTiming
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.stores.answers import StoreAwayError
from kinebert.preprocessing.video.container import check_size, in_words, open_video
from kinebert.preprocessing.video.ending import Ending
from kinebert.preprocessing.video.frame_choice import Choice, EveryNth, Run
from kinebert.preprocessing.video.still_frames import StillCounts

UInt8 = NDArray[np.uint8]
_STORAGE_TROUBLE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.ENOTCONN, errno.ENETUNREACH}
_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}


class VideoFrames:
    """Iterate over the frames of one video; afterwards ``problem`` says why decoding ended early, if it did.

    Frames come in the decoder's output order (time stamps of XviD files are scrambled, so nothing is sorted by them),
    turned and mirrored as the file's display matrix says, resized by the recipe: ``uint8 (H, W, 3)`` BGR. All frames of
    a video have the size of its first. Nothing that is wrong with a file raises: what decodes before an error is
    yielded. A file that ends well before its header says is a problem as well, though no decoder complains. Pictures of
    more than ``max_pixels`` are not decoded, which is a problem, too. ``choice`` says which frames are given, in place
    of the recipe's ``frame_step`` and ``drop_repeats``; what comes after the last of them is not looked at.

    Where other recipes want the same frames ``beside`` this one, each in its own size, a tuple of pictures is yielded
    for every frame: this recipe's, and theirs in their order.

    ``run`` counts what was taken and left out, unless there is a ``choice``.

    Raises:
        OSError: While iterating, if the storage fails, which says nothing of the video.
        StoreAwayError: If it is a store that is out of reach.
    """

    def __init__(
        self,
        path: str,
        recipe: FrameRecipe,
        timing: NoTiming = OFF,
        *,
        max_pixels: int = MAX_PIXELS,
        choice: Choice | None = None,
        beside: Sequence[FrameRecipe] = (),
    ) -> None:
        self.path = path
        self.recipe = recipe
        self.beside = tuple(beside)
        self.timing = timing
        self.max_pixels = max_pixels
        self.choice = choice
        self.run: Run | None = None
        self.problem: str | None = None

    @property
    def still(self) -> StillCounts | None:
        """How many frames show no motion; None where ``choice`` knows it of each of its segments."""
        return None if self.run is None else self.run.still

    def __iter__(self) -> Iterator[Any]:
        recipes = (self.recipe, *self.beside)
        sizes: list[tuple[int, int]] = []
        turn: Turn | None = None
        frames = self._decoded()
        # one for all frames, with one thread: left to themselves, frames start threads for all cores of the node, each
        to_bgr = VideoReformatter()
        while True:
            try:
                with self.timing.stage("decode"):
                    frame, taken = next(frames, (None, False))
                    if frame is None:
                        return
                    if turn is None:  # asked for its side data, a frame stays in memory until garbage is collected
                        turn = display_turn(frame)
                    image_HW3 = turn.apply(cast(UInt8, to_bgr.reformat(frame, format="bgr24", threads=1).to_ndarray()))
            except StoreAwayError:
                raise
            except Exception as error:  # whatever a decoder says of a damaged file is data, not a bug
                if getattr(error, "errno", None) in _STORAGE_TROUBLE:
                    raise OSError(error.errno, in_words(error)) from error  # type: ignore[attr-defined]
                self.problem = in_words(error)
                return
            if not sizes:
                aspect = float(self._aspect) if self._aspect else 1.0
                aspect = 1 / aspect if turn.transpose else aspect
                sizes = [target_size(image_HW3.shape[1], image_HW3.shape[0], aspect, recipe) for recipe in recipes]
            if not taken:
                continue
            pictures = self._resized(image_HW3, list(zip(recipes, sizes, strict=True)))
            yield pictures if self.beside else pictures[0]

    def _resized(self, image_HW3: UInt8, wanted: Sequence[tuple[FrameRecipe, tuple[int, int]]]) -> tuple[UInt8, ...]:
        """The picture of each recipe in its size, made once for those that want the same."""
        made: dict[tuple[tuple[int, int], str], UInt8] = {}
        for recipe, size in wanted:
            if (size, recipe.interpolation) in made:
                continue
            is_right = (image_HW3.shape[1], image_HW3.shape[0]) == size
            with nullcontext() if is_right else self.timing.stage("resize"):
                made[size, recipe.interpolation] = resized(image_HW3, size, recipe)
        return tuple(made[size, recipe.interpolation] for recipe, size in wanted)

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Frames to give; and the first one in any case, by which all of them are turned and resized."""
        every = EveryNth(self.recipe.frame_step, self.recipe.drop_repeats)
        choice, self.run = self.choice or every, None if self.choice else every.run
        with open_video(self.path, self.recipe.video_stream, self.max_pixels) as video:
            stream = video.stream
            self._aspect = stream.sample_aspect_ratio
            first, ending = True, Ending(video.container, stream)
            choice.begin(video)
            for packet in video.container.demux():
                ending.hear(packet)
                if packet.stream is not stream:
                    continue
                choice.hear(packet)
                for frame in packet.decode():
                    check_size(frame.width, frame.height, self.max_pixels)
                    taken = choice.takes(frame)
                    if taken or first:
                        yield frame, taken
                    first = False
                    if choice.finished:
                        return
            self.problem = ending.problem(self.path)


def resized(image_HW3: UInt8, size: tuple[int, int], recipe: FrameRecipe) -> UInt8:
    """Return a picture in the size ``(width, height)``, as the recipe interpolates; itself where it has that size."""
    if (image_HW3.shape[1], image_HW3.shape[0]) == size:
        return image_HW3
    return cast(UInt8, cv2.resize(image_HW3, size, interpolation=_INTERPOLATION[recipe.interpolation]))


def target_size(width: int, height: int, pixel_aspect: float, recipe: FrameRecipe) -> tuple[int, int]:
    """Size ``(width, height)`` in pixels at which a recipe stores upright pictures of ``width`` x ``height``."""
    if recipe.resize == "fixed":
        return recipe.width, recipe.height
    shown = width * pixel_aspect if recipe.square_pixels else float(width)
    scale = recipe.short_side / min(shown, height) if recipe.resize == "short_side" else 1.0
    return max(1, round(shown * scale)), max(1, round(height * scale))


@dataclass(frozen=True)
class Turn:
    """One of the eight ways in which a picture can lie: transposed first, then mirrored."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def apply(self, image_HW3: UInt8) -> UInt8:
        """Lay a picture upright."""
        if self == Turn():
            return image_HW3
        turned = image_HW3.transpose(1, 0, 2) if self.transpose else image_HW3
        return np.ascontiguousarray(turned[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1])


def display_turn(frame: av.VideoFrame) -> Turn:
    """How a frame's display matrix wants it shown; matrices of other angles than quarter turns are left alone."""
    side_data: Any = frame.side_data
    data = side_data.get(SideData.DISPLAYMATRIX)
    if data is None:
        return Turn()
    a, b, _, c, d = struct.unpack("<5i", bytes(data)[:20])  # x' = a x + c y, y' = b x + d y
    if min(abs(a), abs(b)) > 0.01 * max(abs(a), abs(b), 1):
        return Turn()
    return Turn(False, a < 0, d < 0) if abs(a) > abs(b) else Turn(True, c < 0, b < 0)
