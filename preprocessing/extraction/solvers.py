"""What tasks know of whoever makes pictures that decoding alone does not give: a flow solver, or a finder of poses."""

import os
import sys
from typing import Any, ClassVar, Protocol

from kinebert.preprocessing.plain_text import visible

_GPU_LOST = 71


class Solver(Protocol):
    """Makes pictures of frames, with what of the machine. No part of a recipe: what it makes does not depend on it."""

    title: ClassVar[str]
    """What it is, before its backend, for people."""
    most_per_gpu: ClassVar[int]
    """Tasks that one GPU serves side by side."""

    @property
    def backend(self) -> str:
        """Who does the work; recorded by :meth:`name` in more detail."""

    @property
    def num_threads(self) -> int:
        """Threads that it may use."""

    @property
    def on_gpu(self) -> bool:
        """Whether its task holds a share of a GPU."""

    @property
    def uses_gpu(self) -> bool:
        """Whether it is given a share of a GPU where there is one."""

    def placed(self, *, num_threads: int, on_gpu: bool) -> "Solver":
        """Return it with what of the machine its tasks will have."""

    def ready(self, solving: Any, /) -> "Solver":
        """Return it ready for what :attr:`.FrameRecipe.solving` of a recipe asks for; what takes time is done here.

        Raises:
            UserError: If the machine lacks what that takes.
        """

    def name(self) -> str:
        """Library and version, as shards record it. Known of one that is ready."""


def out_of_memory(error: RuntimeError, on_gpu: bool) -> bool:
    """Return whether an error says that there was no memory for so much at once.

    A GPU that is lost ends the process: whatever it were given next would fail as well, and no video is to blame.
    """
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for this
        return True
    if on_gpu and "CUDA error" in str(error):
        print(visible(f"the GPU is lost: {error}"), file=sys.stderr, flush=True)
        os._exit(_GPU_LOST)
    return False
