"""The memory that solving a pair takes, made once and used again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.tvl1.cpu import median, warp
from kinebert.preprocessing.tvl1.cpu.layout import blocks_per_row, state_size
from kinebert.preprocessing.tvl1.cpu.resize import MARGIN, image_stride
from kinebert.preprocessing.tvl1.cpu.vectors import LANES
from kinebert.preprocessing.tvl1.params import TvL1Params
from kinebert.preprocessing.tvl1.pyramid import level_sizes

Float32 = NDArray[np.float32]
_KEPT = 4
"""Workspaces kept for the next caller."""


class Workspace:
    """Everything that :func:`.solve_sequence` needs for frames of one size.

    One thread uses it at a time. At 340x256 it takes about 8 MB.
    """

    _idle: ClassVar["OrderedDict[int, Workspace]"] = OrderedDict()
    _lock = threading.Lock()

    def __init__(self, height: int, width: int, params: TvL1Params) -> None:
        self.key = (height, width, params)
        self.step = 1 / params.scale_step
        sizes = level_sizes(height, width, params)
        rows = []
        place = MARGIN
        for h, w in sizes:
            blocks = blocks_per_row(w)
            rows.append((h, w, blocks, place, image_stride(blocks)))
            place += h * image_stride(blocks)
        self.levels = np.array(rows, np.int64)
        """Per level: height, width, blocks of a row, place of the first pixel in a pyramid, values of a row there."""
        self.pyramids = _memory(place), _memory(place)
        blocks = blocks_per_row(width)
        line = _memory(2 * (blocks + 2) * LANES)
        columns = np.zeros(blocks * LANES, np.int32)
        self.line = columns, line
        self.memory = (
            _memory(state_size(height, width)),
            _memory(warp.table_size(height, blocks)),
            _memory(max([2 * h * blocks_per_row(w) * LANES for h, w in sizes[:-1]], default=LANES)),
            line,
            _memory(median.scratch_size(width)),
            _memory(warp.SCRATCH_SIZE),
        )
        self.iterations = np.zeros((len(sizes), max(params.warps_at(k) for k in range(len(sizes)))), np.int64)
        """Of the last pair, on each level (the finest first) after each warp."""
        scale = params.tau / params.theta
        thresholds = [params.epsilon_at(k) ** 2 * h * w * scale**2 for k, (h, w) in enumerate(sizes)]
        self._settings = (
            np.array([params.warps_at(k) for k in range(len(sizes))], np.int64),
            np.array(thresholds, np.float64),
            self.step,
            scale,
            params.tau,
            params.lambda_ * params.theta,
            params.inner_iterations,
            params.outer_iterations,
            params.median_filtering,
            params.estimates or None,
        )

    @property
    def num_bytes(self) -> int:
        """Bytes that all of its arrays take."""
        return sum(array.nbytes for array in (*self.pyramids, *self.memory, self.line[0]))

    def solve(self, solve_pair: Callable[..., None], one: Float32, two: Float32, result_2HW: Float32) -> None:
        """Run ``solve_pair`` on two pyramids."""
        solve_pair(one, two, self.levels, *self._settings, self.memory, self.line[0], self.iterations, result_2HW)

    @classmethod
    @contextmanager
    def borrow(cls, height: int, width: int, params: TvL1Params) -> Iterator["Workspace"]:
        """A workspace that nobody else uses meanwhile."""
        key = (height, width, params)
        with cls._lock:
            found = next((each for each in cls._idle.values() if each.key == key), None)
            if found is not None:
                del cls._idle[id(found)]
        workspace = found or cls(height, width, params)
        yield workspace
        with cls._lock:
            cls._idle[id(workspace)] = workspace
            while len(cls._idle) > _KEPT:
                cls._idle.popitem(last=False)


def _memory(size: int) -> Float32:
    """Zeros at the start of a cache line."""
    room: Float32 = np.zeros(size + 16, np.float32)
    start = (-room.ctypes.data % 64) // 4
    return room[start : start + size]
