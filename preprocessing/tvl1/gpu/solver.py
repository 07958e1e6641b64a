"""TV-L1 for many pairs at once, on a GPU if there is one.

Axes: T frames, B pairs, H height, W width, 2 components of flow (x, y), 3 planes (image, x gradient, y gradient).
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache, partial
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinebert.preprocessing.tvl1.gpu import plain
from kinebert.preprocessing.tvl1.gpu.level import Late, LevelParams, LevelSolver, all_levels
from kinebert.preprocessing.tvl1.gpu.resample import enlarge_flow, pyramid, with_gradients
from kinebert.preprocessing.tvl1.params import TvL1Params
from kinebert.preprocessing.tvl1.pyramid import MIN_SIDE

_MOST_PIXELS = 256 * 340 * 256  # per batch: enough that a few pairs that take long do not leave the device idle
_CPU_PIXELS = 340 * 256  # a batch that stays in the caches: a third faster than 16 times as many
_MOST_PAIRS = 1024  # of small frames: one program lists the pairs that are left
_KERNEL_BYTES, _PLAIN_BYTES = 230, 700  # per pixel of a frame: buffers, pyramids and what lives beside them
_MEMORY_SHARE = 0.6  # of what is free: other processes and fragments need some
_PINNED_BYTES = 1 << 30  # larger results are copied the slow way: pinned memory is taken from everybody


@dataclass(frozen=True)
class PlainSolver:
    """Solves levels with torch operations; see :mod:`.gpu.plain`."""

    capacity: int
    levels: tuple[LevelParams, ...]
    turn: AbstractContextManager[object] = field(default_factory=nullcontext)

    def solve_level(
        self, index: int, first_BHW: Tensor, second_B3HW: Tensor, flow_B2HW: Tensor, without: Sequence[int] = ()
    ) -> tuple[Tensor, None]:
        """Return the flow of all pairs on level ``index``, in a new tensor; none is left."""
        assert not without
        return plain.solve_level(first_BHW, second_B3HW, flow_B2HW, self.levels[index]), None


def solve_torch(
    grey_THW: NDArray[np.uint8], params: TvL1Params, device: torch.device | str | None = None
) -> NDArray[np.float32]:
    """Solve every pair of neighbouring frames: ``(T - 1, 2, H, W)`` in pixels; by default on a GPU if there is one."""
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    t, h, w = grey_THW.shape
    is_pinned = device.type == "cuda" and (t - 1) * 8 * h * w <= _PINNED_BYTES
    fields_T2HW = torch.empty((t - 1, 2, h, w), dtype=torch.float32, device="cpu", pin_memory=is_pinned)
    step = _find_solver(device, h, w, params, t - 1).capacity
    for start in range(0, t - 1, step):
        frames_BHW = torch.from_numpy(np.array(grey_THW[start : start + step + 1])).to(device)
        flow_B2HW = solve_pairs(frames_BHW[:-1], frames_BHW[1:], params)
        fields_T2HW[start : start + step].copy_(flow_B2HW, non_blocking=True)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    result_T2HW: NDArray[np.float32] = fields_T2HW.numpy()
    return result_T2HW


def solve_pairs(first_BHW: Tensor, second_BHW: Tensor, params: TvL1Params) -> Tensor:
    """Solve any pairs of images, of one video or of many, on the device where they are.

    Args:
        first_BHW: First images, values 0..255 of any type, H and W at least 16.
        second_BHW: Second images.
        params: Solver parameters.

    Returns:
        Flow ``(B, 2, H, W)``, float32, pixels from the first to the second image. Its bits do not depend on which pairs
        are solved together.

    Raises:
        ValueError: If the images do not have one such shape.
    """
    shape = tuple(first_BHW.shape)
    if tuple(second_BHW.shape) != shape or len(shape) != 3 or min(shape) < 1 or min(shape[1:]) < MIN_SIDE:
        raise ValueError(
            f"expected two (B >= 1, H >= {MIN_SIDE}, W >= {MIN_SIDE}), got {shape} and {tuple(second_BHW.shape)}"
        )
    b, h, w = shape
    solver = _find_solver(first_BHW.device, h, w, params, b)
    flow_B2HW = torch.empty((b, 2, h, w), dtype=torch.float32, device=first_BHW.device)
    for start in range(0, b, solver.capacity):
        part = slice(start, start + solver.capacity)
        flow_B2HW[part] = solve_batch(first_BHW[part], second_BHW[part], params, solver)
    return flow_B2HW


def solve_batch(first_BHW: Tensor, second_BHW: Tensor, params: TvL1Params, solver: LevelSolver) -> Tensor:
    """Solve at most ``solver.capacity`` pairs, from the coarsest level to the finest."""
    sizes = [(level.height, level.width) for level in solver.levels]
    with _on(first_BHW.device), solver.turn:
        firsts = pyramid(first_BHW, sizes, params.scale_step)
        seconds = pyramid(second_BHW, sizes, params.scale_step)
        flow_B2HW = firsts[-1].new_zeros((len(first_BHW), 2, *sizes[-1]))
        return _descend(firsts, seconds, flow_B2HW, params, solver)


def _descend(
    firsts: list[Tensor], seconds: list[Tensor], flow_B2HW: Tensor, params: TvL1Params, solver: LevelSolver
) -> Tensor:
    """Solve from the last of these levels, whose flow is given, to the first.

    Pairs that take long leave the batch: another solver takes them to the finest level, beside the others.
    """
    late: Late | None = None
    for i in reversed(range(len(firsts))):
        if i < len(firsts) - 1:
            h, w = firsts[i].shape[-2:]
            flow_B2HW = enlarge_flow(flow_B2HW, (h, w), params.scale_step)
        given = firsts[i], with_gradients(seconds[i]), flow_B2HW
        solved_B2HW, left = solver.solve_level(i, *given, without=late.pairs if late else ())
        if left:
            late = left
            theirs = [[level[late.pairs] for level in levels[: i + 1]] for levels in (firsts, seconds)]
            rest = late.start(partial(_finish, theirs[0], theirs[1], flow_B2HW[late.pairs], params, late.solver))
        flow_B2HW = solved_B2HW
    if late:
        flow_B2HW[late.pairs] = rest.result()
    return flow_B2HW


def _finish(
    firsts: list[Tensor], seconds: list[Tensor], flow_B2HW: Tensor, params: TvL1Params, solver: LevelSolver
) -> Tensor:
    with _on(flow_B2HW.device), solver.turn:
        return _descend(firsts, seconds, flow_B2HW, params, solver)


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """Plain float32 on this device, whatever surrounds it; kernels start on the current device."""
    on_device = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with torch.no_grad(), torch.autocast(device.type, enabled=False), on_device:
        yield


class _Kept(NamedTuple):
    key: object
    wanted: int
    """Pairs for which it was made; where memory is short it holds fewer."""
    solver: LevelSolver


_kept: list[_Kept] = []  # at most one: a solver with kernels holds gigabytes
_kept_lock = Lock()


def _find_solver(device: torch.device, height: int, width: int, params: TvL1Params, num_pairs: int) -> LevelSolver:
    """Return the solver of the last call if it fits, so that its buffers and graphs are used again, else a new one."""
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    most = max(1, min(_MOST_PIXELS // (height * width), _MOST_PAIRS))
    wanted = min(1 << (num_pairs - 1).bit_length(), most)
    key = device, height, width, params
    with _kept_lock:
        if not _kept or _kept[0].key != key or _kept[0].wanted < wanted:
            _kept.clear()
            _kept.append(_Kept(key, wanted, _make_solver(device, height, width, params, wanted)))
        return _kept[0].solver


def _make_solver(device: torch.device, height: int, width: int, params: TvL1Params, wanted: int) -> LevelSolver:
    area = height * width
    exact = all_levels(height, width, params, torch.float32)
    if device.type != "cuda":
        return PlainSolver(max(1, _CPU_PIXELS // area), exact)
    if not _kernels_work(device):
        return PlainSolver(min(wanted, _fitting(device, area * _PLAIN_BYTES)), exact)
    from kinebert.preprocessing.tvl1.gpu.fused import FusedSolver

    levels = all_levels(height, width, params, torch.int16)
    return FusedSolver(min(wanted, _fitting(device, area * _KERNEL_BYTES)), levels, device)


def _fitting(device: torch.device, pair_bytes: int) -> int:
    """Return how many pairs fit into what is free of the device's memory."""
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # kept by torch, but not in use
    return max(1, int(free * _MEMORY_SHARE) // pair_bytes)


@lru_cache
def _kernels_work(device: torch.device) -> bool:
    """Whether Triton is there and can start a kernel; it needs a C compiler on the machine, which it calls once."""
    try:
        from kinebert.preprocessing.tvl1.gpu.fused import try_kernel

        try_kernel(device)
    except Exception as error:  # whatever Triton is missing, there is another way
        warnings.warn(
            f"TV-L1 runs on plain torch operations, about ten times slower than with Triton, which fails here: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
