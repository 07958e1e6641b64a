"""TV-L1 on one level of the pyramid with Triton kernels: buffers on the device, and chunks of launches.

A chunk warps, filters, iterates ten times and lists the pairs that are left; what a pair needs of it is decided on the
device (see :mod:`.gpu.kernels`). With CUDA a chunk is one captured graph, and the host looks back at
the chunk before the last to see whether anybody is left, so that the device never waits for it.

Programs work on the pairs that are left only. When those are few (unrelated pictures, as at a scene cut, run every
iteration there is), chunks are launched that have programs for so few: then they cost the start of their kernels. If
that goes on, a small solver takes those pairs, on a stream of its own, and the others go on to the next level.

Axes: N pairs, B pairs that fit (N <= B), H height, W width, 2 components of flow, 3 planes (image and gradients).
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import torch
import triton
from torch import Tensor

from kinebert.preprocessing.tvl1.gpu import kernels, warping
from kinebert.preprocessing.tvl1.gpu.beside import URGENT, Beside
from kinebert.preprocessing.tvl1.gpu.level import Late, LevelParams
from kinebert.preprocessing.tvl1.networks import median_network

STEPS_PER_CHUNK = 10
FEW = 8
"""Pairs for which a second, small graph of each chunk is kept: programs for 256 that find nothing to do take longer to
start and end than 8 pairs to solve."""
PATIENCE = 10
"""Chunks for which the others wait for those few: enough for most ordinary pairs, since who is left behind begins the
level again."""
BUSY_PIXELS = 64 * 340 * 256
"""Of a batch, from which on the others keep the device busy meanwhile."""
_TILE = {"BLOCK_Y": 16, "BLOCK_X": 32, "num_warps": 4}  # a row of a tile is what one warp reads at once
_SMALL_TILE = {"BLOCK_Y": 8, "BLOCK_X": 32, "num_warps": 4}  # many values are alive per pixel
_FUSION = {"enable_fp_fusion": True}  # said, because Triton's default changes with its version, and bits with it
_PROGRAMS_PER_PROCESSOR = 64  # more than are resident, so that those that finish early are replaced
_URGENT_PROGRAMS_PER_PROCESSOR = 2  # each has to wait for a place among those of others


def try_kernel(device: torch.device) -> None:
    """Start the smallest kernel and wait for it; raises whatever Triton raises where it cannot."""
    state = torch.zeros((1, kernels.FIELDS.value), dtype=torch.int32, device=device)
    order = torch.zeros(2, dtype=torch.int32, device=device)
    with torch.cuda.device(device):
        kernels.order_kernel[(1,)](state, order, 1, BLOCK=1, num_warps=4, **_FUSION)
    assert order.tolist() == [1, 0], "the one pair that is not done is listed"


class FusedSolver:
    """Solves levels of up to ``capacity`` pairs; keeps its buffers and graphs for the next batch of the same size.

    Args:
        capacity: Pairs that fit.
        levels: Settings of every level, the finest first.
        device: A CUDA device, or the CPU where kernels are interpreted.
        is_urgent: Its kernels come before those of others, and it never leaves a pair to somebody else.
    """

    def __init__(
        self, capacity: int, levels: tuple[LevelParams, ...], device: torch.device, is_urgent: bool = False
    ) -> None:
        self.capacity, self.levels, self.device, self.is_urgent = capacity, levels, device, is_urgent
        self.turn = _Turn(device)
        area = max(level.height * level.width for level in levels)
        tiles = max(_num_tiles(level, _TILE) for level in levels)
        buffer = functools.partial(torch.empty, dtype=torch.float32, device=device)
        self._flow = buffer(capacity * 6 * area)
        self._dual = buffer(capacity * 8 * area, dtype=levels[0].dual_dtype)
        self._gradient = buffer(capacity * 2 * area)
        self._constant = buffer(capacity * area)
        self._first = buffer(capacity * area)
        self._second = buffer(capacity * 3 * area)
        self._partial = buffer(capacity * tiles)
        self._state = torch.full((capacity, kernels.FIELDS.value), kernels.DONE.value, dtype=torch.int32, device=device)
        self._order = torch.zeros(1 + capacity, dtype=torch.int32, device=device)
        self._chunks: dict[tuple[int, int], Callable[[], None]] = {}
        self._watch = _Watch(self._order)

    def solve_level(
        self, index: int, first_NHW: Tensor, second_N3HW: Tensor, flow_N2HW: Tensor, without: Sequence[int] = ()
    ) -> tuple[Tensor, Late | None]:
        """Improve the flow of every pair on level ``index``, but for those ``without``; see :class:`.LevelSolver`."""
        n, level = len(first_NHW), self.levels[index]
        b, h, w = self.capacity, level.height, level.width
        assert n <= b, f"{n} pairs do not fit into {b}"
        assert first_NHW.shape[1:] == (h, w), f"level {index} is {h} x {w}, got {tuple(first_NHW.shape)}"
        few = min(FEW, b)
        chunks = self._chunk(index, b), self._chunk(index, few)
        flow_B32HW = self._flow[: b * 6 * h * w].view(b, 3, 2, h, w)
        flow_B32HW[:n, 0] = flow_N2HW
        self._first[: b * h * w].view(b, h, w)[:n] = first_NHW
        self._second[: b * 3 * h * w].view(b, 3, h, w)[:n] = second_N3HW
        self._dual[: n * 8 * h * w].zero_()
        self._state.fill_(kernels.DONE.value)
        self._state[:n] = 0  # needs a warp; slot, warp, round and iteration 0
        if without:
            self._state[list(without), kernels.PHASE.value] = kernels.DONE.value
        self._launch_order()
        may_leave = index > 0 and not without and self._is_many(n) and self._beside.is_free
        left = self._run(level, *chunks, few, may_leave)
        slots_N = self._state[:n, kernels.SLOT.value].long()
        solved_N2HW = flow_B32HW[torch.arange(n, device=self.device), slots_N]
        return solved_N2HW, self._late(index, left) if left else None

    def _run(
        self, level: LevelParams, chunk: Callable[[], None], chunk_of_few: Callable[[], None], few: int, may_leave: bool
    ) -> list[int]:
        """Launch chunks until nobody is left, or so few for so long that they may be left; return those."""
        waited = 0
        for i in range(_most_chunks(level) + 2):  # one more than needed is looked at late, one is to spare
            chunk()
            left = self._watch.num_left(i)
            if not left:
                return []
            if left <= few:  # never more again
                chunk = chunk_of_few
                waited += 1
                if may_leave and waited > PATIENCE:
                    count, *pairs = self._order.tolist()
                    return pairs[:count]
        raise AssertionError("a pair took more iterations than there are")

    def _is_many(self, pairs: int) -> bool:
        finest = self.levels[0]
        return pairs > FEW and pairs * finest.height * finest.width > BUSY_PIXELS and not self.is_urgent

    @functools.cached_property
    def _beside(self) -> Beside:
        return Beside(self.device)

    @functools.cached_property
    def _small(self) -> "FusedSolver":
        """Who solves the few that are left behind."""
        return FusedSolver(FEW, self.levels, self.device, is_urgent=True)

    def _late(self, index: int, pairs: list[int]) -> Late:
        """Record whatever both will launch before one of them does: afterwards it would disturb the other."""
        small = self._small
        for i in range(index + 1):
            for solver, size in ((self, self.capacity), (self, small.capacity), (small, small.capacity)):
                solver._chunk(i, size)
        return Late(pairs, small, self._beside.start)

    def _chunk(self, index: int, pairs: int) -> Callable[[], None]:
        """Return what launches a chunk of a level for at most so many listed pairs.

        The first time kernels are compiled and, with CUDA, the launches recorded.
        """
        key = index, pairs
        if key in self._chunks:
            return self._chunks[key]

        def launch() -> None:
            self._launch_chunk(self.levels[index], pairs)

        if self.device.type == "cuda":
            self._state.fill_(kernels.DONE.value)
            self._order.zero_()
            launch()  # nobody is listed, so this only compiles
            self._chunks[key] = _captured(launch, URGENT if self.is_urgent else 0)
        else:
            self._chunks[key] = launch
        return self._chunks[key]

    def _launch_chunk(self, level: LevelParams, pairs: int) -> None:
        size = (level.height, level.width)
        warping.warp_kernel[self._grid(level, _SMALL_TILE, pairs)](
            self._flow, self._first, self._second, self._gradient, self._constant, self._state, self._order,
            *size, **_SMALL_TILE, **_FUSION,
        )  # fmt: skip
        if level.median_filtering > 1:
            warping.median_kernel[self._grid(level, _SMALL_TILE, pairs)](
                self._flow, self._state, self._order, *size, **_network(level.median_filtering), **_SMALL_TILE,
                **_FUSION,
            )  # fmt: skip
        for i in range(_steps(level)):
            self._launch_step(level, is_first=i == 0, pairs=pairs)
        self._launch_order()

    def _launch_step(self, level: LevelParams, is_first: bool, pairs: int | None = None) -> None:
        pairs = pairs or self.capacity
        is_int16 = self._dual.dtype == torch.int16
        tiles = _num_tiles(level, _TILE)
        kernels.step_kernel[self._grid(level, _TILE, pairs)](
            self._flow, self._dual, self._gradient, self._constant, self._state, self._order, self._partial,
            level.height, level.width, level.tau, level.dual_step, level.limit, level.dual_scale, 1 / level.dual_scale,
            IS_FIRST=is_first, HAS_MEDIAN=level.median_filtering > 1, IS_INT16=is_int16, **_TILE, **_FUSION,
        )  # fmt: skip
        kernels.decide_kernel[(pairs,)](
            self._state, self._order, self._partial, tiles, level.threshold, level.warps, level.outer_iterations,
            level.inner_iterations, IS_FIRST=is_first, BLOCK=256, num_warps=1, **_FUSION,
        )  # fmt: skip

    def _launch_order(self) -> None:
        block = triton.next_power_of_2(self.capacity)
        kernels.order_kernel[(1,)](self._state, self._order, self.capacity, BLOCK=block, num_warps=4, **_FUSION)

    def _grid(self, level: LevelParams, tile: dict[str, int], pairs: int) -> tuple[int]:
        """Programs that take turns on so many pairs; their number has no influence on the result."""
        processors = 1
        if self.device.type == "cuda":
            processors = torch.cuda.get_device_properties(self.device).multi_processor_count
        most = processors * (_URGENT_PROGRAMS_PER_PROCESSOR if self.is_urgent else _PROGRAMS_PER_PROCESSOR)
        return (min(pairs * _num_tiles(level, tile), most),)


def _captured(launch: Callable[[], None], priority: int) -> Callable[[], None]:
    """Record the kernels that ``launch`` starts, so that starting them again costs the host nothing per kernel."""
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(priority=priority)  # type: ignore[no-untyped-call] # kernels keep its priority
    try:
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            launch()
    except RuntimeError as error:
        warnings.warn(f"CUDA graphs do not work here, TV-L1 will be slower: {error}", RuntimeWarning, stacklevel=2)
        return launch
    return graph.replay


class _Turn(AbstractContextManager[None]):
    """One batch at a time, because it lives in the buffers; also when callers work on streams of their own."""

    def __init__(self, device: torch.device) -> None:
        self._lock = Lock()
        self._finished = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._finished:
            torch.cuda.current_stream().wait_event(self._finished)

    def __exit__(self, *_: object) -> None:
        if self._finished:
            self._finished.record()
        self._lock.release()


class _Watch:
    """Says how many pairs are left; with CUDA as of the chunk before the last, so that nothing waits."""

    def __init__(self, order: Tensor) -> None:
        self._count = order[:1]
        if order.is_cuda:
            self._seen = torch.zeros((2, 1), dtype=torch.int32, device="cpu", pin_memory=True)
            self._copied = torch.cuda.Event(), torch.cuda.Event()  # type: ignore[no-untyped-call]

    def num_left(self, chunk: int) -> int:
        """Return the pairs left after chunk number ``chunk``, or with CUDA after the one before."""
        if not self._count.is_cuda:
            return int(self._count)
        now, before = chunk % 2, (chunk + 1) % 2
        self._seen[now].copy_(self._count, non_blocking=True)
        self._copied[now].record()
        if chunk == 0:
            return 1
        self._copied[before].synchronize()
        return int(self._seen[before])


def _network(side: int) -> dict[str, Any]:
    """Return a median network as the kernel takes it: the columns of the window first, then across them."""
    network = median_network(side)
    columns = [
        (low * side + column, high * side + column, keep_low, keep_high)
        for column in range(side)
        for low, high, keep_low, keep_high in network.column
    ]
    return {"NETWORK": (*columns, *map(tuple, network.window)), "MEDIAN": network.median, "SIDE": side}


def _num_tiles(level: LevelParams, tile: dict[str, int]) -> int:
    return math.ceil(level.height / tile["BLOCK_Y"]) * math.ceil(level.width / tile["BLOCK_X"])


def _steps(level: LevelParams) -> int:
    """Iterations in a chunk: about ten, so that chunks fill a round."""
    return math.ceil(level.inner_iterations / math.ceil(level.inner_iterations / STEPS_PER_CHUNK))


def _most_chunks(level: LevelParams) -> int:
    return level.warps * level.outer_iterations * math.ceil(level.inner_iterations / _steps(level))
