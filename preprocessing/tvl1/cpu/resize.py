"""Pyramids of images, and flow carried to the next finer level: bilinear, as OpenCV's INTER_LINEAR."""

import math
from typing import Any

import numpy as np

from kinebert.preprocessing.tvl1.cpu.layout import BLOCK, compiled
from kinebert.preprocessing.tvl1.cpu.vectors import (
    LANES,
    fill,
    fma,
    load,
    load_one,
    plane,
    store,
    store_first,
    store_one,
)

MARGIN = LANES
"""Values to the left and to the right of a row of an image in memory."""


def image_stride(blocks: int) -> int:
    """Values of a row of an image in memory."""
    return blocks * LANES + 2 * MARGIN


@compiled
def read_frame(frame: Any, image_array: Any, first: int, stride: int) -> None:
    """Copy a ``uint8 (H, W)`` frame to the finest level of a pyramid."""
    height, width = frame.shape
    image = plane(image_array)
    for y in range(height):
        at = first + y * stride
        for x in range(width):
            store_one(image, at + x, np.float32(frame[y, x]))
        _repeat_ends(image, at, width)


@compiled
def shrink_image(
    array,
    first,
    stride,
    height,
    width,
    blocks,
    target_first,
    target_stride,
    new_height,
    new_width,
    step,
    columns,
    line_array,
):
    """Make the next coarser level of a pyramid; ``step`` is the distance of its pixels in this one's."""
    image, line = plane(array), plane(line_array)
    _find_columns(columns, line, blocks, width, new_width, step)
    for y in range(new_height):
        top, bottom, part = _neighbours(y, step, height)
        share = fill(part)
        top, bottom = first + top * stride, first + bottom * stride
        for x in range(0, blocks * LANES, LANES):
            a = load(image, top + x)
            store(line, x, fma(share, load(image, bottom + x) - a, a))
        at = target_first + y * target_stride
        _gather(line, blocks, columns, new_width, image, at, np.float32(1))
        _repeat_ends(image, at, new_width)


@compiled
def enlarge_flow(
    array, height, width, blocks, flow_array, new_height, new_width, new_blocks, gain, columns, line_array
):
    """Carry the flow in a level's state to the size of the next finer level, multiplied by ``gain``."""
    state, flow, line = plane(array), plane(flow_array), plane(line_array)
    _find_columns(columns, line, blocks, width, new_width, width / new_width)
    for component in range(2):
        for y in range(new_height):
            top, bottom, part = _neighbours(y, height / new_height, height)
            share = fill(part)
            i, j = (top + 1) * blocks * BLOCK + component * LANES, (bottom + 1) * blocks * BLOCK + component * LANES
            for x in range(0, blocks * LANES, LANES):
                a = load(state, i)
                store(line, x, fma(share, load(state, j) - a, a))
                i += BLOCK
                j += BLOCK
            at = (component * new_height + y) * new_blocks * LANES
            _gather(line, blocks, columns, new_width, flow, at, np.float32(gain))


@compiled
def begin_level(array, height, blocks, flow_array, has_flow):
    """Set up the state of a level: the flow as given, or zero, and no dual variables."""
    state, flow = plane(array), plane(flow_array)
    zero = fill(np.float32(0))
    for i in range(0, BLOCK * (blocks * (height + 1) + 1), LANES):
        store(state, i, zero)
    if has_flow:
        for component in range(2):
            i = blocks * BLOCK + component * LANES
            at = component * height * blocks * LANES
            for _ in range(height * blocks):
                store(state, i, load(flow, at))
                i += BLOCK
                at += LANES


@compiled
def write_flow(array, height, width, blocks, unscale, result) -> None:
    """Write the flow in a level's state as float32 ``(2, H, W)`` in pixels."""
    state, target = plane(array), plane(result)
    factor, zero = fill(np.float32(unscale)), fill(np.float32(0))  # adding zero leaves no negative zeros
    for component in range(2):
        for y in range(height):
            i = (y + 1) * blocks * BLOCK + component * LANES
            at = (component * height + y) * width
            for x in range(0, width, LANES):
                store_first(target, at + x, fma(load(state, i), factor, zero), min(width - x, LANES))
                i += BLOCK


@compiled
def _neighbours(y, step, size):
    """The two source rows of a row, and the share of the second."""
    place = (y + 0.5) * step - 0.5
    top = math.floor(place)
    part = place - top
    if top < 0:
        top, part = 0, 0.0
    if top >= size - 1:
        top, part = size - 1, 0.0
    return top, min(top + 1, size - 1), np.float32(part)


@compiled
def _find_columns(columns, line, blocks, width, new_width, step):
    """Keep the left source column of every column, and the share of the right one behind the line."""
    for x in range(new_width):
        left, _, part = _neighbours(x, step, width)
        columns[x] = left
        store_one(line, (blocks + 1) * LANES + x, part)


@compiled
def _gather(line, blocks, columns, new_width, target, at, gain):
    for x in range(new_width):
        left = columns[x]
        a = load_one(line, left)
        share = load_one(line, (blocks + 1) * LANES + x)
        store_one(target, at + x, (a + share * (load_one(line, left + 1) - a)) * gain)


@compiled
def _repeat_ends(image, at, width):
    store_one(image, at - 1, load_one(image, at))
    store_one(image, at + width, load_one(image, at + width - 1))
