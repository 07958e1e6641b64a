"""Frames that show no motion: repeats of the one before, and those that are nearly still.

Cameras that are slower than their files, conversions between frame rates, and clips that are padded hold frames twice.
A frame *repeats* the last one that was no repeat if at most 5 in 10,000 samples of its luma, as decoded, differ by more
than 8 of 255 levels; it is *nearly still* if at most 20 do. A repeat that x264 or an MPEG-4 encoder has compressed once
more at usual quality stays below the first bound in nearly all cases, and people who move lie above it (docs/flow.md
has what was measured). To compare with the last frame that was no repeat lets slow drifts add up until they count.

Samples are all columns of evenly spaced rows, 64 to 127 of them in pictures that have so many. What is counted depends
on the decoded file alone, not on the size at which frames are stored.

Axes: R sampled rows, W width.
"""

from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
LEVELS = 8
"""Of 255, by which a sample may differ without counting."""
REPEATED, NEAR_STILL = 5, 20
"""Most samples in 10,000 that differ by more, of a repeat and of a frame that is nearly still."""
_ROWS = 64
_PLANAR_8_BIT = frozenset(
    [f"yuv{j}{sampling}p" for j in ("", "j") for sampling in (410, 411, 420, 422, 440, 444)]
    + ["nv12", "nv16", "nv21", "gray", "yuva420p", "yuva422p", "yuva444p"]
)
"""Pixel formats whose first plane is luma, a byte a pixel; others are converted."""


@dataclass(frozen=True, kw_only=True)
class StillCounts:
    """How many frames of a video show no motion."""

    repeated: int
    """Repeats of the frame before."""
    near_still: int
    """Frames that are no repeats, but nearly still."""


class StillFrames:
    """Looks at the frames of one video, one after the other, and counts those that show no motion."""

    def __init__(self) -> None:
        self._last_RW: UInt8 | None = None
        self._repeated = self._near_still = 0

    def repeats(self, luma_RW: UInt8) -> bool:
        """Whether the next frame, known by its samples, is a repeat. The first one is none."""
        last_RW = self._last_RW
        if last_RW is not None and last_RW.shape == luma_RW.shape:
            changed = 10_000 * int(np.count_nonzero(cv2.absdiff(luma_RW, last_RW) > LEVELS))
            if changed <= REPEATED * luma_RW.size:
                self._repeated += 1
                return True
            self._near_still += changed <= NEAR_STILL * luma_RW.size
        self._last_RW = luma_RW
        return False

    @property
    def counts(self) -> StillCounts:
        """What was counted until now."""
        return StillCounts(repeated=self._repeated, near_still=self._near_still)


class Luma:
    """Samples the luma of decoded frames of one video."""

    def __init__(self) -> None:
        self._to_grey: VideoReformatter | None = None

    def of(self, frame: av.VideoFrame) -> UInt8:
        """Return the samples of a frame, ``(R, W)``, on their own."""
        plane: Any = frame.planes[0]
        if frame.format.name not in _PLANAR_8_BIT or plane.line_size < frame.width:  # below 0: stored upside down
            self._to_grey = self._to_grey or VideoReformatter()  # see VideoFrames: one for all frames, one thread
            plane = self._to_grey.reformat(frame, format="gray", threads=1).planes[0]
        rows_HL = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height]
        return np.ascontiguousarray(rows_HL[:: max(1, frame.height // _ROWS), : frame.width])
