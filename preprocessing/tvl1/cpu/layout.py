"""How the state of one pyramid level lies in memory.

Ten quantities of ``LANES`` neighbouring pixels lie side by side in one *block*, blocks in rows: the iteration reads the
image as one stream, with every offset known when it is compiled. A row holds ``blocks_per_row(width)`` blocks, the
last one filled up with idle pixels. Before the first row there is a row of zeros, after the last one a spare block.
"""

from typing import Any

from numba import njit

from kinebert.preprocessing.tvl1.cpu.vectors import LANES

U1, U2, P11, P12, P21, P22, GX, GY, RHO, LIMIT = (LANES * i for i in range(10))
"""Offsets in a block: flow; dual variables; direction of the warped image's gradient; residual without the part of the
flow, divided by the gradient's length; largest change by the data term. All but the direction are multiplied by
tau / theta."""
BLOCK = 10 * LANES
compiled: Any = njit(error_model="numpy", nogil=True)
"""Compiles what :data:`entry` functions call."""
inlined: Any = njit(error_model="numpy", nogil=True, inline="always")
"""The same, for what LLVM would rather call than inline, at the price of passing vectors through memory."""
entry: Any = njit(error_model="numpy", nogil=True, cache=True)
"""Compiles what Python calls, and keeps it on disk."""


def blocks_per_row(width: int) -> int:
    """Blocks that hold ``width`` pixels."""
    return -(-width // LANES)


def state_size(height: int, width: int) -> int:
    """Number of values that the state of a level takes."""
    return BLOCK * (blocks_per_row(width) * (height + 1) + 1)
