"""Median filter of the flow, equal to OpenCV's ``medianBlur`` bit for bit (borders repeated), a vector at a time.

Values are compared as integers that sort like the floats they stand for: CPUs have more units for that.
"""

from typing import Any

from llvmlite import ir
from numba import types

from kinebert.preprocessing.tvl1.cpu.layout import BLOCK, compiled
from kinebert.preprocessing.tvl1.cpu.vectors import (
    FLOATS,
    INTP,
    INTS,
    LANES,
    PLANE,
    VECTOR,
    address,
    define,
    load,
    load_one,
    plane,
    store,
    store_one,
)
from kinebert.preprocessing.tvl1.networks import Comparator, median_network

_MARGIN = LANES
"""Values to the left and to the right of a row of the scratch memory."""


def scratch_size(width: int) -> int:
    """Values of scratch memory for images of ``width`` pixels: twice five padded rows."""
    return 10 * _row_size(width)


def _row_size(width: int) -> int:
    return -(-width // LANES) * LANES + 2 * _MARGIN


def _flipped(context: Any, builder: Any, value: Any) -> Any:
    """Make the bits of a negative float sort as an integer, or undo it."""
    bits = builder.bitcast(value, INTS)
    sign = builder.ashr(bits, ir.Constant(INTS, [31] * LANES))
    return builder.bitcast(builder.xor(bits, builder.and_(sign, ir.Constant(INTS, [0x7FFFFFFF] * LANES))), FLOATS)


_sortable = define(VECTOR, VECTOR)(_flipped)


def _compare(builder: Any, wires: list[Any], network: tuple[Comparator, ...]) -> None:
    for low, high, keep_low, keep_high in network:
        a, b = wires[low], wires[high]
        less = builder.icmp_signed("<", a, b)
        if keep_low:
            wires[low] = builder.select(less, a, b)
        if keep_high:
            wires[high] = builder.select(less, b, a)


def _load(context: Any, builder: Any, source: Any, index: Any) -> Any:
    value = builder.load(address(context, builder, source, index, LANES, INTS))
    value.align = 4
    return value


def _steps(side: int) -> tuple[Any, Any]:
    """Sort a block of columns, and find the medians of a block of windows."""
    network = median_network(side)

    @define(types.void, PLANE, types.intp, types.intp, types.intp, types.intp, *[types.intp] * side)
    def sort_columns(
        context: Any, builder: Any, scratch: Any, keys: Any, size: Any, x: Any, target: Any, *rows: Any
    ) -> None:
        wires = [
            _load(context, builder, scratch, builder.add(builder.add(keys, builder.mul(row, size)), x)) for row in rows
        ]
        _compare(builder, wires, network.column)
        for rank, wire in enumerate(wires):
            index = builder.add(builder.add(target, builder.mul(ir.Constant(INTP, rank), size)), x)
            builder.store(wire, address(context, builder, scratch, index, LANES, INTS)).align = 4

    @define(VECTOR, PLANE, types.intp, types.intp)
    def find_median(context: Any, builder: Any, scratch: Any, first: Any, size: Any) -> Any:
        wires = []
        for rank in range(side):
            row = builder.add(first, builder.mul(ir.Constant(INTP, rank), size))
            for column in range(side):
                index = builder.add(row, ir.Constant(INTP, column - side // 2))
                wires.append(_load(context, builder, scratch, index))
        _compare(builder, wires, network.window)
        return _flipped(context, builder, builder.bitcast(wires[network.median], FLOATS))

    return sort_columns, find_median


_sort_5, _median_5 = _steps(5)
_sort_3, _median_3 = _steps(3)


@compiled
def filter_medians(
    array: Any, height: int, width: int, blocks: int, offset: int, side: int, scratch_array: Any
) -> None:
    """Filter one component of the flow in place.

    Args:
        array: State of the level.
        height: Rows.
        width: Pixels of a row.
        blocks: Blocks of a row.
        offset: The component's place in a block.
        side: 3 or 5 pixels.
        scratch_array: At least :func:`scratch_size` values.
    """
    state, scratch = plane(array), plane(scratch_array)
    size, reach = blocks * LANES + 2 * _MARGIN, side // 2
    row = blocks * BLOCK
    for y in range(min(reach, height)):
        _read_row(state, (y + 1) * row + offset, blocks, scratch, y * size)
    for y in range(height):
        if y + reach < height:
            _read_row(state, (y + 1 + reach) * row + offset, blocks, scratch, ((y + reach) % side) * size)
        a, b, c, d = max(y - 2, 0), max(y - 1, 0), min(y + 1, height - 1), min(y + 2, height - 1)
        for x in range(_MARGIN, _MARGIN + blocks * LANES, LANES):
            if side == 5:
                _sort_5(scratch, 0, size, x, 5 * size, a % 5, b % 5, y % 5, c % 5, d % 5)
            else:
                _sort_3(scratch, 0, size, x, 5 * size, b % 3, y % 3, c % 3)
        _repeat_ends(scratch, 5 * size + _MARGIN, size, width, side)
        at = (y + 1) * row + offset
        for x in range(5 * size + _MARGIN, 5 * size + _MARGIN + blocks * LANES, LANES):
            store(state, at, _median_5(scratch, x, size) if side == 5 else _median_3(scratch, x, size))
            at += BLOCK


@compiled
def _read_row(state, at, blocks, scratch, target):
    for x in range(target + _MARGIN, target + _MARGIN + blocks * LANES, LANES):
        store(scratch, x, _sortable(load(state, at)))
        at += BLOCK


@compiled
def _repeat_ends(scratch, first, size, width, side):
    for rank in range(side):
        left, right = first + rank * size, first + rank * size + width - 1
        for k in range(1, side // 2 + 1):
            store_one(scratch, left - k, load_one(scratch, left))
            store_one(scratch, right + k, load_one(scratch, right))
