"""Bicubic warping of the second image and its gradient, and what the iterations need of them.

Keys' kernel with a = -0.75 and zeros around the image, as OpenCV's ``remap`` (INTER_CUBIC, BORDER_CONSTANT).
"""

from typing import Any

import numpy as np
from numba import njit

from preprocessing.tvl1.cpu.layout import BLOCK, GX, GY, JIT, LIMIT, RHO, U1, U2
from preprocessing.tvl1.cpu.quads import load_place, load_quads, spread, store_places, store_quads, store_sum
from preprocessing.tvl1.cpu.vectors import (
    LANES,
    count_up,
    fill,
    floor,
    fma,
    keep_first,
    load,
    load_one,
    maximum,
    minimum,
    plane,
    sqrt,
    store,
    where_above,
)

MARGIN = 8
"""Zeros on every side of a table, in pixels: more than the kernel reaches from a clamped position."""
_FLAT = np.float32(np.finfo(np.float32).eps)
"""Squared gradients up to this count as none, in (grey levels / pixel)^2."""


def table_size(height: int, blocks: int) -> int:
    """Values of the table of an image: intensity, its gradient and a zero for every pixel, with margins."""
    return 4 * (height + 2 * MARGIN) * (blocks * LANES + 2 * MARGIN)


def scratch_size(blocks: int) -> int:
    """Values of scratch memory for one row: places, weights of rows, weights of columns and results."""
    return 13 * blocks * LANES


@njit(**JIT)
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
    zero, half = fill(np.float32(0)), fill(np.float32(0.5))
    row = 4 * (blocks * LANES + 2 * MARGIN)
    for y in range(-MARGIN, height + MARGIN):
        at = (y + MARGIN) * row
        if y < 0 or y >= height:
            for i in range(at, at + row, LANES):
                store(target, i, zero)
            continue
        for i in range(0, 4 * MARGIN, LANES):
            store(target, at + i, zero)
            store(target, at + row - 4 * MARGIN + i, zero)
        here, above = first + y * stride, first + max(y - 1, 0) * stride
        below = first + min(y + 1, height - 1) * stride
        at += 4 * MARGIN
        for x in range(0, blocks * LANES, LANES):
            grey = load(image, here + x)
            gx = half * (load(image, here + x + 1) - load(image, here + x - 1))
            gy = half * (load(image, below + x) - load(image, above + x))
            inside = min(width - x, LANES)
            store_quads(target, at, keep_first(grey, inside), keep_first(gx, inside), keep_first(gy, inside), zero)
            at += 4 * LANES


@njit(**JIT)
def warp(  # type: ignore[no-untyped-def]
    array, image_array, first, stride, height, width, blocks, table_array, scratch_array, scale, limit
) -> None:
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
        scratch_array: At least :func:`scratch_size` values.
        scale: What the flow in the state is multiplied by, tau / theta.
        limit: lambda * theta, OpenCV's l_t.
    """
    state, image, table, scratch = plane(array), plane(image_array), plane(table_array), plane(scratch_array)
    size = blocks * LANES
    table_row = 4 * (size + 2 * MARGIN)
    for y in range(height):
        at = (y + 1) * blocks * BLOCK
        for x in range(0, size, LANES):
            _place(
                state, at + (x // LANES) * BLOCK, x, y, height, width, scratch, size, table_row, np.float32(1 / scale)
            )
        for x in range(width):
            _interpolate(table, load_place(scratch, x), table_row, scratch, x, size)
        for x in range(0, size, LANES):
            grey = load(image, first + y * stride + x)
            inside = min(width - x, LANES)
            _linearise(state, at + (x // LANES) * BLOCK, grey, scratch, 9 * size + 4 * x, inside, scale, limit)


@njit(**JIT)
def _place(state, i, x, y, height, width, scratch, size, table_row, unscale):  # type: ignore[no-untyped-def]
    """Say where the pixels of a block come from, and with which weights."""
    unscaled = fill(unscale)
    px, py = fma(load(state, i + U1), unscaled, count_up(x)), fma(load(state, i + U2), unscaled, fill(np.float32(y)))
    least = fill(np.float32(-4))
    px = minimum(maximum(px, least), fill(np.float32(width + 2)))
    py = minimum(maximum(py, least), fill(np.float32(height + 2)))
    left, top = floor(px), floor(py)
    store_places(scratch, x, top, left, table_row, (MARGIN - 1) * table_row + 4 * (MARGIN - 1))
    a, b, c, d = _cubic(py - top)
    store(scratch, size + x, a)
    store(scratch, 2 * size + x, b)
    store(scratch, 3 * size + x, c)
    store(scratch, 4 * size + x, d)
    a, b, c, d = _cubic(px - left)
    store_quads(scratch, 5 * size + 4 * x, a, b, c, d)


@njit(**JIT)
def _cubic(t):  # type: ignore[no-untyped-def]
    """Weights of the four neighbours of a point ``t`` of the way from the second to the third."""
    one = fill(np.float32(1))
    s = one - t
    slope, bend, drop = fill(np.float32(-0.75)), fill(np.float32(1.25)), fill(np.float32(2.25))
    first = slope * (t * (s * s))
    second = fma(t * t, bend * t - drop, one)
    third = fma(s * s, bend * s - drop, one)
    return first, second, third, one - first - second - third


@njit(**JIT)
def _interpolate(table, place, row, scratch, x, size):  # type: ignore[no-untyped-def]
    """Intensity and gradient of one pixel: all 48 values of its window in four loads."""
    value = fill(load_one(scratch, size + x)) * load(table, place)
    value = fma(fill(load_one(scratch, 2 * size + x)), load(table, place + row), value)
    value = fma(fill(load_one(scratch, 3 * size + x)), load(table, place + 2 * row), value)
    value = fma(fill(load_one(scratch, 4 * size + x)), load(table, place + 3 * row), value)
    store_sum(scratch, 9 * size + 4 * x, value * spread(scratch, 5 * size + 4 * x))


@njit(**JIT)
def _linearise(state, i, grey, scratch, at, inside, scale, limit):  # type: ignore[no-untyped-def]
    warped, gx, gy = load_quads(scratch, at)
    warped, gx, gy = keep_first(warped, inside), keep_first(gx, inside), keep_first(gy, inside)
    squared = fma(gx, gx, gy * gy)
    length = sqrt(squared)
    inverse = where_above(squared, _FLAT, fill(np.float32(1)) / length)
    gx, gy = gx * inverse, gy * inverse
    data = (warped - grey) * inverse * fill(np.float32(scale))
    store(state, i + GX, gx)
    store(state, i + GY, gy)
    store(state, i + RHO, data - gx * load(state, i + U1) - gy * load(state, i + U2))
    store(state, i + LIMIT, length * fill(np.float32(scale * limit)))
