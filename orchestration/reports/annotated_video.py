"""A video with what a recognizer says of it written below the picture.

Axes: H height, W width, 3 colours (BGR, OpenCV's order).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kinebert.orchestration.reports.drawing import FAINT, INK, class_name, fit_fonts, style
from kinebert.preprocessing import storage
from kinebert.preprocessing.extraction.guard import MAX_PIXELS
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.video.frames import VideoFrames

UInt8 = NDArray[np.uint8]
_LEAST_WIDTH = 320
_PANEL_HEIGHT, _DPI = 92, 100
_UNKNOWN_FPS = 25.0
LONGEST_IN_PANEL = 34
"""Characters of a class name that are shown below a picture."""
BEST, OTHER = "#56B4E9", "#b5d9ee"  # light enough for the names to be read on them


@dataclass(frozen=True)
class Window:
    """What is said of some frames of a video."""

    first: int
    """First frame, from 0."""
    last: int
    """Last frame."""
    top: tuple[tuple[str, float], ...]
    """Names of the best classes, best first, with their probabilities."""


def codec() -> str:
    """Return the name of the encoder for MP4 files: H.264 where this build of FFmpeg has it, else MPEG-4."""
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"


def annotate_video(
    path: str,
    output: str,
    windows: Sequence[Window],
    fps: float,
    *,
    video_stream: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> int:
    """Write the video ``path`` to the MP4 file ``output`` with the windows' best classes below each frame.

    A frame shows the window whose middle is nearest. Frames come and go one at a time, whatever the video's length.
    They are shown at a constant rate, in the size in which they are coded (at least 320 pixels wide), without sound.

    Args:
        path: Local path or URI.
        output: File to write, whole or not at all. Its folder must exist.
        windows: At least one, by time.
        fps: Frames per second of the video; 0 where it is not known.
        video_stream: Which of several video streams, as in :class:`.FrameRecipe`.
        max_pixels: Most pixels of one of its pictures as coded.

    Returns:
        Frames written.
    """
    middles = np.array([(window.first + window.last) / 2 for window in windows])
    count = 0
    frames = VideoFrames(path, FrameRecipe(resize="none", video_stream=video_stream), max_pixels=max_pixels)
    with (
        storage.explained(output, "write this video"),
        storage.whole_file(output) as partial,
        av.open(str(partial), "w", format="mp4") as container,
    ):
        stream: Any = container.add_stream(codec(), rate=Fraction(fps or _UNKNOWN_FPS).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        for number, frame_HW3 in enumerate(frames):
            image_HW3 = _with_panel(frame_HW3, windows[int(np.abs(middles - number).argmin())])
            if not count:
                stream.height, stream.width = image_HW3.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image_HW3, format="bgr24")))
            count += 1
        container.mux(stream.encode())
    return count


def _with_panel(frame_HW3: UInt8, window: Window) -> UInt8:
    """Put the panel below a frame, both with even sides, as H.264 wants them."""
    height, width = frame_HW3.shape[:2]
    scale = max(1.0, _LEAST_WIDTH / width)
    size = round(width * scale) // 2 * 2, round(height * scale) // 2 * 2
    if size != (width, height):
        frame_HW3 = np.asarray(cv2.resize(frame_HW3, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.concatenate([frame_HW3, _panel(window, size[0])])


@lru_cache(maxsize=8)
def _panel(window: Window, width: int) -> UInt8:
    """Draw the bars of a window, ``(92, width, 3)``."""
    with style():
        figure = Figure(figsize=(width / _DPI, _PANEL_HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        rows = len(window.top)
        for i, (name, value) in enumerate(window.top):
            y = rows - 1 - i
            axes.barh(y, 1, 0.86, color=FAINT)
            axes.barh(y, value, 0.86, color=BEST if i == 0 else OTHER)
            font: dict[str, Any] = {
                "va": "center",
                "fontsize": 10,
                "color": INK,
                "weight": "bold" if i == 0 else "normal",
            }
            axes.text(0.015, y, class_name(name, LONGEST_IN_PANEL), ha="left", **font)
            axes.text(0.985, y, f"{value:.0%}", ha="right", **font)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.6, rows - 0.4)
        fit_fonts(figure)
        canvas.draw()
    picture = np.asarray(canvas.buffer_rgba(), np.uint8)[:_PANEL_HEIGHT, :width, 2::-1]
    return np.ascontiguousarray(cv2.resize(picture, (width, _PANEL_HEIGHT)) if picture.shape[1] != width else picture)
