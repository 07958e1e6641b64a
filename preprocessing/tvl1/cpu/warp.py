"""Bicubic warping of the second image and its gradient, and what the iterations need of them.

Keys' kernel with a = -0.75 and zeros around the image, as OpenCV's ``remap`` (INTER_CUBIC, BORDER_CONSTANT). Neighbours
mostly come from neighbouring places: then whole vectors are read, and only the weights differ from lane to lane. Both
ways give a pixel the same bits.
"""

from typing import Any

import numpy as np

from kinebert.preprocessing.tvl1.cpu.layout import BLOCK, GX, GY, LIMIT, RHO, U1, U2, compiled, inlined
from kinebert.preprocessing.tvl1.cpu.vectors import (
    LANES,
    any_above,
    choose,
    count_up,
    fill,
    first_lane,
    floor,
    fma,
    keep_first,
    load,
    maximum,
    minimum,
    negated,
    plane,
    repeat_first,
    sqrt,
    store,
    store_one,
)
from kinebert.preprocessing.tvl1.cpu.window import interpolate, load_place, store_places

MARGIN = 8
"""Zeros on every side of a table, in pixels: more than the kernel reaches from a clamped position."""
SCRATCH_SIZE = 12 * LANES
"""Values of scratch memory: weights of four columns and four rows, places, results."""
_PLACES, _RESULTS = 8 * LANES, 9 * LANES
_FLAT = np.float32(np.finfo(np.float32).eps)
"""Squared gradients up to this count as none, in (grey levels / pixel)^2."""


def table_size(height: int, blocks: int) -> int:
    """Values of the table of an image: intensity and both central differences, each with margins."""
    return 3 * (height + 2 * MARGIN) * (blocks * LANES + 2 * MARGIN)


@compiled
def build_table(image_array: Any, first: int, stride: int, height: int, width: int, blocks: int, table: Any) -> None:
    """Lay out an image and its central differences for :func:`warp`.

    Args:
        image_array: Holds the image, with one value to the left and right of each row that repeats the nearest pixel.
        first: Where its first pixel is.
        stride: Values of a row of it.
        height: Rows.
        width: Pixels of a row.
        blocks: Blocks of a row.
        table: At least :func:`table_size` values.
    """
    image, target = plane(image_array), plane(table)
    half = fill(np.float32(0.5))
    row = blocks * LANES + 2 * MARGIN
    size = row * (height + 2 * MARGIN)
    for i in range(0, 3 * size, LANES):
        store(target, min(i, 3 * size - LANES), fill(np.float32(0)))
    for y in range(height):
        at = (y + MARGIN) * row + MARGIN
        here, above = first + y * stride, first + max(y - 1, 0) * stride
        below = first + min(y + 1, height - 1) * stride
        for x in range(0, blocks * LANES, LANES):
            inside = min(width - x, LANES)
            gx = half * (load(image, here + x + 1) - load(image, here + x - 1))
            gy = half * (load(image, below + x) - load(image, above + x))
            store(target, at + x, keep_first(load(image, here + x), inside))
            store(target, at + x + size, keep_first(gx, inside))
            store(target, at + x + 2 * size, keep_first(gy, inside))


@compiled
def warp(array, image_array, first, stride, height, width, blocks, table_array, scratch_array, scale, limit) -> None:
    """Warp the image of a table by the flow of a level, and linearise the data term around that flow.

    Args:
        array: State of the level.
        image_array: Holds the first image.
        first: Where its first pixel is.
        stride: Values of a row of it.
        height: Rows.
        width: Pixels of a row.
        blocks: Blocks of a row.
        table_array: From :func:`build_table`, of the second image.
        scratch_array: At least ``SCRATCH_SIZE`` values.
        scale: What the flow in the state is multiplied by, tau / theta.
        limit: lambda * theta, OpenCV's l_t.
    """
    state, image, table, scratch = plane(array), plane(image_array), plane(table_array), plane(scratch_array)
    row = blocks * LANES + 2 * MARGIN
    size = row * (height + 2 * MARGIN)
    least, right, bottom = fill(np.float32(-4)), fill(np.float32(width + 2)), fill(np.float32(height + 2))
    unscale = fill(np.float32(1 / scale))
    scales, limits = fill(np.float32(scale)), fill(np.float32(scale * limit))
    for y in range(height):
        i = (y + 1) * blocks * BLOCK
        origin = (y + MARGIN - 1) * row + MARGIN - 1
        for x in range(0, blocks * LANES, LANES):
            inside = min(width - x, LANES)
            u, v = load(state, i + U1), load(state, i + U2)
            px, py = fma(u, unscale, count_up(x)), fma(v, unscale, fill(np.float32(y)))
            px, py = minimum(maximum(px, least), right), minimum(maximum(py, least), bottom)
            left, top = floor(px), floor(py)
            dx, dy = repeat_first(left - count_up(x), inside), repeat_first(top - fill(np.float32(y)), inside)
            bx, by = _lower(dx), _lower(dy)
            if _apart(dx, bx) or _apart(dy, by):
                store_places(scratch, _PLACES, top, left, row, (MARGIN - 1) * row + MARGIN - 1)
                warped, gx, gy = _one_by_one(table, size, row, scratch, px - left, py - top, inside)
            else:
                place = origin + x + int(by) * row + int(bx)
                warped, gx, gy = _together(table, size, row, place, px - left, py - top, dx, dy, bx, by)
            warped, gx, gy = keep_first(warped, inside), keep_first(gx, inside), keep_first(gy, inside)
            squared = fma(gx, gx, gy * gy)
            length = sqrt(squared)
            inverse = choose(squared, _FLAT, fill(np.float32(1)) / length, fill(np.float32(0)))
            gx, gy = gx * inverse, gy * inverse
            data = (warped - load(image, first + y * stride + x)) * inverse * scales
            store(state, i + GX, gx)
            store(state, i + GY, gy)
            store(state, i + RHO, data - gx * u - gy * v)
            store(state, i + LIMIT, length * limits)
            i += BLOCK


@compiled
def _lower(displacement):
    """The lower of two neighbouring whole numbers, if the lanes hold no others."""
    lowest = first_lane(displacement)
    return lowest - np.float32(1) if any_above(negated(displacement), -lowest) else lowest


@compiled
def _apart(displacement, lower):
    """Whether a lane holds neither ``lower`` nor the next whole number."""
    return any_above(displacement, lower + np.float32(1)) or any_above(negated(displacement), -lower)


@compiled
def _cubic(t):
    """Weights of the four neighbours of a point ``t`` of the way from the second to the third."""
    one = fill(np.float32(1))
    s = one - t
    slope, bend, drop = fill(np.float32(-0.75)), fill(np.float32(1.25)), fill(np.float32(2.25))
    first = slope * (t * (s * s))
    second = fma(t * t, bend * t - drop, one)
    third = fma(s * s, bend * s - drop, one)
    return first, second, third, one - first - second - third


@compiled
def _shifted(weights, displacement, lower):
    """Weights of five neighbours: those one place further have none for the first, the others none for the last."""
    a, b, c, d = weights
    zero = fill(np.float32(0))
    return (
        choose(displacement, lower, zero, a),
        choose(displacement, lower, a, b),
        choose(displacement, lower, b, c),
        choose(displacement, lower, c, d),
        choose(displacement, lower, d, zero),
    )


@inlined
def _together(table, size, row, place, tx, ty, dx, dy, bx, by):
    """Intensity and gradient of a block whose pixels come from places that differ by one at most."""
    (a, b, c, d, e), rows = _shifted(_cubic(tx), dx, bx), _shifted(_cubic(ty), dy, by)
    high, zero = any_above(dy, by), fill(np.float32(0))
    sums = _add_column(table, place, size, row, rows, high, a, (zero, zero, zero))
    sums = _add_column(table, place + 1, size, row, rows, high, b, sums)
    sums = _add_column(table, place + 2, size, row, rows, high, c, sums)
    sums = _add_column(table, place + 3, size, row, rows, high, d, sums)
    if any_above(dx, bx):
        sums = _add_column(table, place + 4, size, row, rows, high, e, sums)
    return sums


@compiled
def _add_column(table, at, size, row, rows, high, weight, sums):
    """Add one column of the windows to intensity and gradient."""
    return (
        fma(weight, _down(table, at, row, rows, high), sums[0]),
        fma(weight, _down(table, at + size, row, rows, high), sums[1]),
        fma(weight, _down(table, at + 2 * size, row, rows, high), sums[2]),
    )


@compiled
def _down(table, at, row, rows, high):
    a, b, c, d, e = rows
    value = fma(b, load(table, at + row), a * load(table, at))
    value = fma(d, load(table, at + 3 * row), fma(c, load(table, at + 2 * row), value))
    return fma(e, load(table, at + 4 * row), value) if high else value


@compiled
def _one_by_one(table, size, row, scratch, tx, ty, inside):
    """Intensity and gradient of a block whose pixels come from anywhere."""
    for k, weights in enumerate(_cubic(tx)):
        store(scratch, k * LANES, weights)
    for k, weights in enumerate(_cubic(ty)):
        store(scratch, (4 + k) * LANES, weights)
    for x in range(inside):
        place = load_place(scratch, _PLACES + x)
        store_one(scratch, _RESULTS + x, interpolate(table, place, row, scratch, x))
        store_one(scratch, _RESULTS + LANES + x, interpolate(table, place + size, row, scratch, x))
        store_one(scratch, _RESULTS + 2 * LANES + x, interpolate(table, place + 2 * size, row, scratch, x))
    return load(scratch, _RESULTS), load(scratch, _RESULTS + LANES), load(scratch, _RESULTS + 2 * LANES)
