"""Interpolation of single pixels, for where neighbours do not come from neighbouring places."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from kinebert.preprocessing.tvl1.cpu.vectors import FLOAT, INT32, INTP, INTS, LANES, PLANE, VECTOR, address, define

_QUAD = ir.VectorType(FLOAT, 4)


@define(types.void, PLANE, types.intp, VECTOR, VECTOR, types.intp, types.intp)
def store_places(context: Any, builder: Any, target: Any, index: Any, y: Any, x: Any, stride: Any, offset: Any) -> None:
    """Write ``y * stride + x + offset`` as integers; ``x`` and ``y`` are whole numbers."""

    def everywhere(value: Any) -> Any:
        first = builder.insert_element(
            ir.Constant(INTS, ir.Undefined), builder.trunc(value, INT32), ir.Constant(INT32, 0)
        )
        return builder.shuffle_vector(first, ir.Constant(INTS, ir.Undefined), ir.Constant(INTS, [0] * LANES))

    rows = builder.mul(builder.fptosi(y, INTS), everywhere(stride))
    places = builder.add(builder.add(rows, builder.fptosi(x, INTS)), everywhere(offset))
    builder.store(places, address(context, builder, target, index, LANES, INTS)).align = 4


@define(types.intp, PLANE, types.intp)
def load_place(context: Any, builder: Any, source: Any, index: Any) -> Any:
    """Read back one integer."""
    pointer = builder.bitcast(address(context, builder, source, index, 1), INT32.as_pointer())
    return builder.sext(builder.load(pointer), INTP)


@define(types.float32, PLANE, types.intp, types.intp, PLANE, types.intp)
def interpolate(context: Any, builder: Any, image: Any, place: Any, row: Any, scratch: Any, weights: Any) -> Any:
    """Weighted sum of the 4x4 window at ``place``: down the columns, then across.

    ``weights`` is where the scratch memory holds the weights of the window's first column for ``LANES`` pixels, then
    those of the other columns, then of the rows; it points to the pixel that is meant.
    """
    fma_quad = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_QUAD, [_QUAD] * 3), "llvm.fma.v4f32")
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(FLOAT, [FLOAT] * 3), "llvm.fma.f32")
    undefined = ir.Constant(_QUAD, ir.Undefined)

    def weight(k: int) -> Any:
        index = builder.add(weights, ir.Constant(INTP, k * LANES))
        return builder.load(address(context, builder, scratch, index, 1))

    def row_of_window(k: int) -> tuple[Any, Any]:
        index = builder.add(place, builder.mul(row, ir.Constant(INTP, k)))
        window = builder.load(address(context, builder, image, index, 4, _QUAD))
        window.align = 4
        first = builder.insert_element(undefined, weight(4 + k), ir.Constant(INT32, 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(INT32, 4), [0] * 4)), window

    quad = builder.fmul(*row_of_window(0))
    for k in range(1, 4):
        quad = builder.call(fma_quad, [*row_of_window(k), quad])
    value = builder.fmul(weight(0), builder.extract_element(quad, ir.Constant(INT32, 0)))
    for k in range(1, 4):
        value = builder.call(fma, [weight(k), builder.extract_element(quad, ir.Constant(INT32, k)), value])
    return value
