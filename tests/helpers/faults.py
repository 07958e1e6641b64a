"""Videos that misbehave in the worker that decodes them. Sent to workers by value: they need not find this file."""

import os
import signal
import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.video.frames import VideoFrames

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


class Deadly(Segfaulting):
    """Crashes at one video, and gives nothing of another."""

    def __iter__(self) -> Frames:
        if self.path.endswith("v02.mp4"):
            time.sleep(3600)
        yield from super().__iter__()


class Paired(VideoFrames):
    """Begins only once another process is at a video of the same folder, too."""

    def __iter__(self) -> Frames:
        folder = os.path.dirname(self.path)
        with open(os.path.join(folder, f"at-work-{os.getpid()}"), "w"):
            deadline = time.monotonic() + 240
        while sum(name.startswith("at-work-") for name in os.listdir(folder)) < 2:
            if time.monotonic() > deadline:
                raise UserError("nobody else is at work.")
            time.sleep(0.02)
        yield from super().__iter__()


class Refusing(VideoFrames):
    """Finds that the user must act."""

    def __iter__(self) -> Frames:
        raise UserError(f"{self.path}: expected a clean lens.")


class Buggy(VideoFrames):
    """Has a bug."""

    def __iter__(self) -> Frames:
        raise KeyError("bug")


class OnAGpuNode(VideoFrames):
    """Refuses to be anywhere else, or in a process to which no GPU was given."""

    def __iter__(self) -> Frames:
        import ray

        here = ray.get_runtime_context().get_node_id()
        gpus = next(node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["NodeID"] == here)
        if not gpus or os.environ.get("CUDA_VISIBLE_DEVICES") != "0":
            raise UserError(f"no GPU here: {gpus}, {os.environ.get('CUDA_VISIBLE_DEVICES')}")
        yield from super().__iter__()


class WithoutTorch(VideoFrames):
    """Refuses to be in a process that has imported torch."""

    def __iter__(self) -> Frames:
        yield from super().__iter__()
        if "torch" in sys.modules:
            raise UserError("torch is here")
