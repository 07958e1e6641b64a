"""Vectors of four quantities per pixel, side by side in memory: how one load fetches a whole row of a 4x4 window."""

from typing import Any

from llvmlite import ir
from numba import types

from preprocessing.tvl1.cpu.vectors import FLOAT, FLOATS, INT32, INTP, INTS, LANES, PLANE, VECTOR, address, define

_QUAD = ir.VectorType(FLOAT, 4)
_QUADS = ir.VectorType(FLOAT, 4 * LANES)


def _mask(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(INT32, len(lanes)), lanes)


def _undefined(kind: Any) -> Any:
    return ir.Constant(kind, ir.Undefined)


@define(types.void, PLANE, types.intp, VECTOR, VECTOR, VECTOR, VECTOR)
def store_quads(context: Any, builder: Any, target: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """Write ``a[0], b[0], c[0], d[0], a[1], ...``."""
    pairs = [lane for k in range(LANES) for lane in (k, LANES + k)]
    ab, cd = builder.shuffle_vector(a, b, _mask(pairs)), builder.shuffle_vector(c, d, _mask(pairs))
    order = [lane for k in range(LANES) for lane in (2 * k, 2 * k + 1, 2 * LANES + 2 * k, 2 * LANES + 2 * k + 1)]
    quads = builder.shuffle_vector(ab, cd, _mask(order))
    builder.store(quads, address(context, builder, target, index, 4 * LANES, _QUADS)).align = 4


@define(types.UniTuple(VECTOR, 3), PLANE, types.intp)
def load_quads(context: Any, builder: Any, source: Any, index: Any) -> Any:
    """Read back the first three of what :func:`store_quads` wrote."""
    quads = builder.load(address(context, builder, source, index, 4 * LANES, _QUADS))
    quads.align = 4
    lanes = [builder.shuffle_vector(quads, _undefined(_QUADS), _mask(list(range(k, 4 * LANES, 4)))) for k in range(3)]
    return context.make_tuple(builder, types.UniTuple(VECTOR, 3), lanes)


@define(VECTOR, PLANE, types.intp)
def spread(context: Any, builder: Any, source: Any, index: Any) -> Any:
    """Four values, each in four neighbouring lanes."""
    quad = builder.load(address(context, builder, source, index, 4, _QUAD))
    quad.align = 4
    return builder.shuffle_vector(quad, _undefined(_QUAD), _mask([k // 4 for k in range(LANES)]))


@define(types.void, PLANE, types.intp, VECTOR)
def store_sum(context: Any, builder: Any, target: Any, index: Any, value: Any) -> None:
    """Add up the quads of a vector and write the one that results."""
    size = LANES
    while size > 4:
        size //= 2
        low = builder.shuffle_vector(value, _undefined(value.type), _mask(list(range(size))))
        high = builder.shuffle_vector(value, _undefined(value.type), _mask(list(range(size, 2 * size))))
        value = builder.fadd(low, high)
    builder.store(value, address(context, builder, target, index, 4, _QUAD)).align = 4


@define(types.void, PLANE, types.intp, VECTOR, VECTOR, types.intp, types.intp)
def store_places(context: Any, builder: Any, target: Any, index: Any, y: Any, x: Any, stride: Any, offset: Any) -> None:
    """Write ``y * stride + 4 * x + offset`` as integers; ``x`` and ``y`` are whole numbers."""

    def everywhere(value: Any) -> Any:
        first = builder.insert_element(_undefined(INTS), builder.trunc(value, INT32), ir.Constant(INT32, 0))
        return builder.shuffle_vector(first, _undefined(INTS), _mask([0] * LANES))

    rows = builder.mul(builder.fptosi(y, INTS), everywhere(stride))
    columns = builder.shl(builder.fptosi(x, INTS), ir.Constant(INTS, [2] * LANES))
    places = builder.add(builder.add(rows, columns), everywhere(offset))
    builder.store(places, address(context, builder, target, index, LANES, INTS)).align = 4


@define(types.intp, PLANE, types.intp)
def load_place(context: Any, builder: Any, source: Any, index: Any) -> Any:
    """Read back one integer."""
    pointer = builder.bitcast(address(context, builder, source, index, 1), INT32.as_pointer())
    return builder.sext(builder.load(pointer), INTP)
