"""TV-L1 with numba: the pyramid, the warps and the rounds of a pair, and threads that each solve pairs of their own.

Axes: T frames, H height, W width, 2 components (x, y).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.tvl1.cpu.iterate import iterate
from kinebert.preprocessing.tvl1.cpu.layout import U1, U2, compiled, entry
from kinebert.preprocessing.tvl1.cpu.median import filter_medians
from kinebert.preprocessing.tvl1.cpu.resize import begin_level, enlarge_flow, read_frame, shrink_image, write_flow
from kinebert.preprocessing.tvl1.cpu.warp import build_table, warp
from kinebert.preprocessing.tvl1.cpu.workspace import Workspace
from kinebert.preprocessing.tvl1.params import TvL1Params


def solve_numba(grey_THW: NDArray[np.uint8], params: TvL1Params, num_threads: int = 1) -> NDArray[np.float32]:
    """Solve every pair of neighbouring frames ``(T, H, W)`` on CPUs; arguments as :func:`.tvl1_flow` takes them."""
    num_pairs, height, width = len(grey_THW) - 1, *grey_THW.shape[1:]
    fields_T2HW = np.empty((num_pairs, 2, height, width), np.float32)
    num_threads = min(num_threads, num_pairs)
    step = num_pairs if num_threads == 1 else max(1, min(4, num_pairs // (4 * num_threads)))  # pairs differ in cost
    starts = range(0, num_pairs, step)

    def solve(start: int) -> None:
        stop = min(start + step, num_pairs)
        with Workspace.borrow(height, width, params) as workspace:
            solve_sequence(grey_THW[start : stop + 1], workspace, fields_T2HW[start:stop])

    if num_threads == 1:
        solve(0)
    else:
        with ThreadPoolExecutor(num_threads, thread_name_prefix="tvl1") as threads:
            list(threads.map(solve, starts))
    return fields_T2HW


def solve_sequence(grey_THW: NDArray[np.uint8], workspace: Workspace, fields_T2HW: NDArray[np.float32]) -> None:
    """Solve the pairs of a sequence one after the other; every frame's pyramid is built once."""
    for t, frame_HW in enumerate(grey_THW):
        frame = np.ascontiguousarray(frame_HW)
        build_pyramid(frame, workspace.pyramids[t % 2], workspace.levels, workspace.step, *workspace.line)
        if t:
            pyramids = workspace.pyramids[(t + 1) % 2], workspace.pyramids[t % 2]
            workspace.solve(solve_pair, *pyramids, fields_T2HW[t - 1])


@entry
def build_pyramid(frame: Any, pyramid: Any, levels: Any, step: float, columns: Any, line: Any) -> None:
    """Fill a pyramid with a ``uint8 (H, W)`` frame and its coarser versions; ``step`` is ``1 / scale_step``."""
    read_frame(frame, pyramid, levels[0, 3], levels[0, 4])
    for k in range(1, len(levels)):
        height, width, blocks, first, stride = levels[k - 1]
        new_height, new_width, _, new_first, new_stride = levels[k]
        shrink_image(
            pyramid,
            first,
            stride,
            height,
            width,
            blocks,
            new_first,
            new_stride,
            new_height,
            new_width,
            step,
            columns,
            line,
        )


@entry
def solve_pair(
    one,
    two,
    levels,
    warps,
    thresholds,
    step,
    scale,
    tau,
    limit,
    inner,
    outer,
    side,
    estimates,
    memory,
    columns,
    iterations,
    result,
):
    """Solve a pair of pyramids, the coarsest level first; note the ``iterations`` of each level and warp."""
    state, table, flow, line, medians, places = memory
    for k in range(len(levels) - 1, -1, -1):
        height, width, blocks, first, stride = levels[k]
        begin_level(state, height, blocks, flow, k < len(levels) - 1)
        build_table(two, first, stride, height, width, blocks, table)
        for i in range(warps[k]):
            warp(state, one, first, stride, height, width, blocks, table, places, scale, limit)
            iterations[k, i] = _settle(
                state, height, width, blocks, tau, thresholds[k], inner, outer, side, estimates, medians
            )
        if k:
            new_height, new_width, new_blocks = levels[k - 1, 0], levels[k - 1, 1], levels[k - 1, 2]
            enlarge_flow(state, height, width, blocks, flow, new_height, new_width, new_blocks, step, columns, line)
    write_flow(state, levels[0, 0], levels[0, 1], levels[0, 2], 1 / scale, result)


@compiled
def _settle(state, height, width, blocks, tau, threshold, inner, outer, side, estimates, medians):
    """Iterate until the flow changes by less than ``threshold``; return the number of iterations."""
    num_iterations = 0
    for _ in range(outer):
        if side > 1:
            filter_medians(state, height, width, blocks, U1, side, medians)
            filter_medians(state, height, width, blocks, U2, side, medians)
        for _ in range(inner):
            num_iterations += 1
            if iterate(state, height, width, blocks, tau, estimates) <= threshold:
                return num_iterations
    return num_iterations
