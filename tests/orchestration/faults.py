"""Videos that misbehave in the worker that decodes them. Sent to workers by value: they need not find this file."""

import os
import signal
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from preprocessing.errors import UserError
from preprocessing.video import VideoFrames

Frames = Iterator[NDArray[np.uint8]]


class Segfaulting(VideoFrames):
    """Takes its process along at one video, as a bug in a C library does."""

    def __iter__(self) -> Frames:
        frames = super().__iter__()
        yield next(frames)
        if self.path.endswith("v01.mp4"):
            os.kill(os.getpid(), signal.SIGSEGV)
        yield from frames


class Hanging(VideoFrames):
    """Gives nothing more after the first image of one video."""

    def __iter__(self) -> Frames:
        frames = super().__iter__()
        yield next(frames)
        if self.path.endswith("v01.mp4"):
            time.sleep(3600)
        yield from frames


class Refusing(VideoFrames):
    """Finds that the user must act."""

    def __iter__(self) -> Frames:
        raise UserError(f"{self.path}: expected a clean lens.")


class Buggy(VideoFrames):
    """Has a bug."""

    def __iter__(self) -> Frames:
        raise KeyError("bug")
