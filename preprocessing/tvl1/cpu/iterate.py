"""One iteration of TV-L1 in one pass over the image: the primal step of a row, then the dual step of the row above.

Zach, Pock & Bischof 2007, equations 10 and 14, in OpenCV's order. The dual step of a block is spread over three turns
of the loop, so that nobody waits for a square root or a quotient.
"""

from typing import Any

import numpy as np

from kinebert.preprocessing.tvl1.cpu.layout import BLOCK, GX, GY, LIMIT, P11, P12, P21, P22, RHO, U1, U2, compiled
from kinebert.preprocessing.tvl1.cpu.vectors import (
    LANES,
    after,
    before,
    fill,
    fma,
    keep_first,
    load,
    maximum,
    minimum,
    negated,
    plane,
    reciprocal_estimate,
    root_estimate,
    sqrt,
    store,
    total,
)

_SUM_LANES = 16
"""Changes are summed up as if vectors had so many pixels on every CPU: otherwise rounding would decide when to stop."""


@compiled
def iterate(array: Any, height: int, width: int, blocks: int, tau: float, estimates: Any) -> Any:
    """Run one iteration on a level.

    Args:
        array: State of the level, see :mod:`.cpu.layout`.
        height: Rows.
        width: Pixels of a row.
        blocks: Blocks of a row.
        tau: Time step of the dual scheme.
        estimates: None for correctly rounded roots and quotients, anything else for the CPU's estimates.

    Returns:
        Sum over all pixels of the squared change of the flow, in the state's units.
    """
    state = plane(array)
    inside = width - (blocks - 1) * LANES
    step = fill(np.float32(tau))
    row = blocks * BLOCK
    sums = _first_row(state, row, blocks, inside, step)
    for y in range(2, height + 1):
        sums = _row(state, y * row, (y - 1) * row, blocks, inside, step, sums, estimates)
    _last_row(state, height * row, blocks, inside, estimates)
    return total(sums[0]) if LANES == _SUM_LANES else total(sums[0] + sums[1])


@compiled
def _add(sums, d1, d2):
    """Add squared changes to two sums that take turns where vectors are short."""
    added = fma(d1, d1, fma(d2, d2, sums[0]))
    return (added, sums[1]) if LANES == _SUM_LANES else (sums[1], added)


@compiled
def _end_row(sums, blocks):
    """Let the next row begin with the same sum as this one."""
    return sums if LANES == _SUM_LANES or blocks % 2 == 0 else (sums[1], sums[0])


@compiled
def _row(state, j, i, blocks, inside, tau, sums, estimates):
    """Primal step of the row at ``j``, dual step of the row above at ``i``."""
    u, v = load(state, i + U1), load(state, i + U2)
    zero = fill(np.float32(0))
    up1, up2 = load(state, i + P12), load(state, i + P22)
    un, vn, d1, d2, left1, left2 = _primal(state, j, up1, up2, zero, zero, tau)
    before_last, sums = sums, _add(sums, d1, d2)
    if blocks > 1:
        ur, vr = load(state, i + BLOCK + U1), load(state, i + BLOCK + U2)
        nu, nv, a, b, c, d = _slopes(state, i, after(u, ur) - u, un - u, after(v, vr) - v, vn - v, up1, up2, estimates)
        u, v = ur, vr
        i += BLOCK
        j += BLOCK
        up1, up2 = load(state, i + P12), load(state, i + P22)
        un, vn, d1, d2, left1, left2 = _primal(state, j, up1, up2, left1, left2, tau)
        before_last, sums = sums, _add(sums, d1, d2)
        for _ in range(blocks - 2):
            _shrink(state, i - BLOCK, nu, nv, a, b, c, d, estimates)
            ur, vr = load(state, i + BLOCK + U1), load(state, i + BLOCK + U2)
            ux, vx = after(u, ur) - u, after(v, vr) - v
            nu, nv, a, b, c, d = _slopes(state, i, ux, un - u, vx, vn - v, up1, up2, estimates)
            u, v = ur, vr
            i += BLOCK
            j += BLOCK
            up1, up2 = load(state, i + P12), load(state, i + P22)
            un, vn, d1, d2, left1, left2 = _primal(state, j, up1, up2, left1, left2, tau)
            before_last, sums = sums, _add(sums, d1, d2)
        _shrink(state, i - BLOCK, nu, nv, a, b, c, d, estimates)
    d1, d2 = keep_first(d1, inside), keep_first(d2, inside)
    ux, vx = keep_first(after(u, u) - u, inside - 1), keep_first(after(v, v) - v, inside - 1)
    nu, nv, a, b, c, d = _slopes(state, i, ux, un - u, vx, vn - v, up1, up2, estimates)
    _shrink(state, i, nu, nv, a, b, c, d, estimates)
    return _end_row(_add(before_last, d1, d2), blocks)


@compiled
def _first_row(state, j, blocks, inside, tau):
    """Primal step of the first row, which has no row above."""
    zero = fill(np.float32(0))
    before_last = sums = (zero, zero)
    d1, d2, left1, left2 = zero, zero, zero, zero
    for _ in range(blocks):
        _, _, d1, d2, left1, left2 = _primal(state, j, zero, zero, left1, left2, tau)
        before_last, sums = sums, _add(sums, d1, d2)
        j += BLOCK
    d1, d2 = keep_first(d1, inside), keep_first(d2, inside)
    return _end_row(_add(before_last, d1, d2), blocks)


@compiled
def _last_row(state, i, blocks, inside, estimates):
    """Dual step of the last row, below which the flow goes on unchanged."""
    zero = fill(np.float32(0))
    for k in range(blocks):
        u, v = load(state, i + U1), load(state, i + U2)
        ux, vx = after(u, load(state, i + BLOCK + U1)) - u, after(v, load(state, i + BLOCK + U2)) - v
        if k == blocks - 1:
            ux, vx = keep_first(ux, inside - 1), keep_first(vx, inside - 1)
        p12, p22 = load(state, i + P12), load(state, i + P22)
        nu, nv, a, b, c, d = _slopes(state, i, ux, zero, vx, zero, p12, p22, estimates)
        _shrink(state, i, nu, nv, a, b, c, d, estimates)
        i += BLOCK


@compiled
def _primal(state, j, up1, up2, left1, left2, tau):
    """Move the flow of a block; ``up`` and ``left`` are the dual variables of the neighbours."""
    p1, p2 = load(state, j + P11), load(state, j + P21)
    d1 = (p1 - before(left1, p1)) + (load(state, j + P12) - up1)
    d2 = (p2 - before(left2, p2)) + (load(state, j + P22) - up2)
    u, v = load(state, j + U1), load(state, j + U2)
    gx, gy, limit = load(state, j + GX), load(state, j + GY), load(state, j + LIMIT)
    data = fma(gx, u, fma(gy, v, load(state, j + RHO)))
    data = minimum(maximum(data, negated(limit)), limit)
    d1, d2 = fma(negated(data), gx, tau * d1), fma(negated(data), gy, tau * d2)
    u, v = u + d1, v + d2
    store(state, j + U1, u)
    store(state, j + U2, v)
    return u, v, d1, d2, p1, p2


@compiled
def _slopes(state, i, ux, uy, vx, vy, p12, p22, estimates):
    """Add the flow's gradients to the dual variables of a block, and find what these are to be divided by."""
    nu, nv = fma(ux, ux, uy * uy), fma(vx, vx, vy * vy)
    one = fill(np.float32(1))
    if estimates is None:
        nu, nv = sqrt(nu) + one, sqrt(nv) + one
    else:
        nu, nv = root_estimate(nu) + one, root_estimate(nv) + one
    return nu, nv, load(state, i + P11) + ux, p12 + uy, load(state, i + P21) + vx, p22 + vy


@compiled
def _shrink(state, i, nu, nv, p11, p12, p21, p22, estimates):
    """Finish the dual step of a block: two quotients at the price of one division."""
    one = fill(np.float32(1))
    if estimates is None:
        quotient = one / (nu * nv)
        nu, nv = quotient * nv, quotient * nu
    else:  # here nu = 1 + 1 / |gradient|
        nu, nv = one - reciprocal_estimate(nu), one - reciprocal_estimate(nv)
    store(state, i + P11, p11 * nu)
    store(state, i + P12, p12 * nu)
    store(state, i + P21, p21 * nv)
    store(state, i + P22, p22 * nv)
