"""How a task uses a flow solver: made ready before any video's clock runs, and fed the right number of pairs at a time.

Axes: T frames, H height, W width, 2 components (x, y).
"""

import fcntl
import functools
import importlib
import importlib.metadata
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.solvers import out_of_memory
from kinebert.preprocessing.private_folder import keep_compiled_kernels
from kinebert.preprocessing.tvl1 import Backend, TvL1Params, choose_backend, tvl1_flow

_ORDINARY_PIXELS = 340 * 256
_GPU_PAIRS = 256
"""As many as the solver takes at once: a GPU waits less often for the few that take long. 230 bytes a pixel are 5.1 GB
of its memory, 41 GB for eight tasks; on the host 178 MB of flow."""
_COMPILING_S = 180.0


@dataclass(frozen=True, kw_only=True)
class FlowSolver:
    """Who solves TV-L1 in a task, with what of the machine. No part of a recipe: the flow does not depend on it."""

    title: ClassVar[str] = "solver"
    most_per_gpu: ClassVar[int] = 8
    """A core decodes and encodes 200 (720p) to 1,000 (small clips) pairs per second; each task takes memory on it."""

    backend: Backend = "auto"
    num_threads: int = 1
    """Pairs that ``numba`` solves at the same time."""
    on_gpu: bool = False
    """The task holds a share of a GPU, and torch does not work without it."""

    @property
    def uses_gpu(self) -> bool:
        """Whether GPUs are asked for, or preferred."""
        return self.backend in ("auto", "torch")

    def placed(self, *, num_threads: int, on_gpu: bool) -> "FlowSolver":
        """Decide who solves: were the CPUs to help GPUs with another solver, bytes would depend on who came first."""
        backend: Backend = ("torch" if on_gpu else "numba") if self.backend == "auto" else self.backend
        return FlowSolver(backend=backend, num_threads=num_threads, on_gpu=on_gpu and backend == "torch")

    def ready(self, params: TvL1Params) -> "FlowSolver":
        """Decide on the backend, import and compile it, and return the solver that is ready for use.

        Raises:
            UserError: If the task holds a GPU that cannot be used, or the backend lacks what ``params`` ask for.
        """
        backend = choose_backend(self.backend)
        solver = replace(self, backend=backend, on_gpu=backend == "torch" and choose_backend() == "torch")
        if self.on_gpu and not solver.on_gpu:
            raise UserError(
                f"A task on {socket.gethostname()} holds a GPU, but torch sees none there. Install a torch that is "
                "made for this GPU (torch.cuda.is_available() must be true there), or choose --backend numba."
            )
        _warm_up(solver, params)
        return solver

    def name(self) -> str:
        """Library and version, such as ``numba 0.68.1``, as shards record it."""
        if self.backend == "opencv":
            return f"opencv {cv2.__version__}"
        library = f"{self.backend} {importlib.metadata.version(self.backend)}"
        return f"{library} on a GPU" if self.on_gpu else library

    def pairs_at_once(self, height: int, width: int) -> int:
        """How many pairs of ``height`` x ``width`` pixels to give to :meth:`solve`.

        Enough to share pyramids and to fill a GPU; few enough that the clock of a slow video is looked at often, and
        that memory does not grow with the size of the frames.
        """
        if self.backend == "opencv":
            return 1  # OpenCV gains nothing from more
        pairs = {"numba": 8 * self.num_threads, "torch": _GPU_PAIRS if self.on_gpu else 4}[self.backend]
        return max(1, min(pairs, pairs * _ORDINARY_PIXELS // (height * width)))

    def solve(self, grey_THW: NDArray[np.uint8], params: TvL1Params) -> NDArray[np.float32]:
        """Solve every pair of neighbouring frames: flow ``(T - 1, 2, H, W)`` in pixels, as :func:`.tvl1_flow` does.

        On a GPU that has no memory left, half as many pairs are tried. A GPU that is lost ends the process: whatever
        it were given next would fail as well, and no video is to blame.
        """
        try:
            return tvl1_flow(grey_THW, params, self.backend, num_threads=self.num_threads)
        except RuntimeError as error:
            if not out_of_memory(error, self.on_gpu) or len(grey_THW) <= 2:
                raise
            half = len(grey_THW) // 2
            return np.concatenate([self.solve(grey_THW[: half + 1], params), self.solve(grey_THW[half:], params)])


@functools.lru_cache(maxsize=8)
def _warm_up(solver: FlowSolver, params: TvL1Params) -> None:
    """Solve a tiny pair, so that no video pays for imports and compilation, nor is thought to hang meanwhile."""
    grey_THW = np.random.default_rng(0).integers(0, 256, (3, 40, 48), np.uint8)
    if solver.backend != "numba" and not solver.on_gpu:
        solver.solve(grey_THW, params)
        return
    keep_compiled_kernels()
    importlib.import_module(solver.backend)  # outside the lock: it takes seconds and compiles nothing
    with _first_alone():
        solver.solve(grey_THW, params)


@contextmanager
def _first_alone() -> Iterator[None]:
    """Let one process of this node in, and the others when it is done: they find in the cache what it compiled.

    Without it nothing breaks, but every core of a node would compile the same. The lock is on this very file: it
    leaves no trace, and goes with a process that is killed.
    """
    deadline = time.monotonic() + _COMPILING_S
    with open(__file__, "rb") as file:
        kind = fcntl.LOCK_EX
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # somebody was first; those who waited for him go together
                kind = fcntl.LOCK_SH
            except OSError:  # a filesystem without locks
                break
            time.sleep(0.05)
        yield
