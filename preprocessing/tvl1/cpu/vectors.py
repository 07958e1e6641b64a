"""Short vectors of float32 for numba: what plain loops would do one pixel at a time, a row of lanes does at once.

A :class:`VectorType` value is ``LANES`` neighbouring pixels; LLVM maps it to the machine's registers (one AVX-512, two
AVX, four SSE or NEON), and every operation is the IEEE one, never contracted, so that every CPU gives the same bits. A
:class:`PlaneType` value is one image of a workspace. With ``NUMBA_BOUNDSCHECK=1`` every access is checked.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core import config as _config
from numba.extending import intrinsic, models, overload, register_model

config: Any = _config  # its values come from the environment
_CHECKED = bool(config.BOUNDSCHECK)


def _features() -> str:
    """What the CPU that numba compiles for can do."""
    if config.CPU_FEATURES is not None:
        return str(config.CPU_FEATURES)
    return ",".join(f"+{name}" for name, there in binding.get_host_cpu_features().items() if there)


FEATURES = frozenset(_features().split(","))
LANES = 16 if "+avx512f" in FEATURES else 8
"""Pixels of one vector."""

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
INTP = ir.IntType(64)
FLOATS = ir.VectorType(FLOAT, LANES)
INTS = ir.VectorType(INT32, LANES)


class VectorType(types.Type):
    """``LANES`` float32 values."""

    def __init__(self) -> None:
        super().__init__(f"float32x{LANES}")


class PlaneType(types.Type):
    """The memory of a float32 array: a pointer and its length."""

    def __init__(self) -> None:
        super().__init__("plane")


VECTOR, PLANE = VectorType(), PlaneType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


@register_model(PlaneType)
class _PlaneModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, [("data", types.CPointer(types.float32)), ("size", types.intp)])


def define(result: Any, *arguments: Any) -> Any:
    """Make an intrinsic of fixed types from a function ``(context, builder, *values) -> value``."""

    def wrap(emit: Callable[..., Any]) -> Any:
        names = [f"a{i}" for i in range(len(arguments))]
        signature = result(*arguments)

        def code(context: Any, builder: Any, _: Any, values: Any) -> Any:
            value = emit(context, builder, *values)
            return context.get_dummy_value() if value is None else value

        scope: dict[str, Any] = {"signature": signature, "code": code}
        exec(f"def typing(context, {', '.join(names)}):\n    return signature, code", scope)  # numba counts the names
        return intrinsic(scope["typing"])

    return wrap


def splat(builder: Any, value: Any, kind: Any = FLOATS) -> Any:
    """Fill a vector with one value."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(INTS, [0] * LANES))


def constant(value: float) -> Any:
    """Return ``value`` in every lane, known when the code is compiled."""
    return ir.Constant(FLOATS, [float(np.float32(value))] * LANES)


def call(builder: Any, name: str, *values: Any) -> Any:
    """Call an LLVM intrinsic on vectors."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * len(values))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f32"), values)


def address(context: Any, builder: Any, plane: Any, index: Any, count: int, kind: Any = None) -> Any:
    """Point to ``count`` values of ``plane`` from ``index`` on."""
    fields = cgutils.create_struct_proxy(PLANE)(context, builder, plane)
    if _CHECKED:
        last = builder.add(index, ir.Constant(INTP, count))
        bad = builder.or_(
            builder.icmp_signed("<", index, ir.Constant(INTP, 0)), builder.icmp_signed(">", last, fields.size)
        )
        with builder.if_then(bad, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a vector outside its plane",))
    pointer = builder.gep(fields.data, [index])
    return pointer if kind is None else builder.bitcast(pointer, kind.as_pointer())


@intrinsic
def _plane(typing_context: Any, array: Any) -> Any:
    """The memory of a C-contiguous float32 array, as it is given to :func:`load` and :func:`store`."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, values[0])
        made = cgutils.create_struct_proxy(PLANE)(context, builder)
        made.data, made.size = source.data, source.nitems
        return made._getvalue()

    return PLANE(array), code


plane: Any = _plane  # numba's own annotations count the first argument


@define(VECTOR, PLANE, types.intp)
def load(context: Any, builder: Any, source: Any, index: Any) -> Any:
    """Read ``LANES`` values of an array from ``index`` on."""
    value = builder.load(address(context, builder, source, index, LANES, FLOATS))
    value.align = 4
    return value


@define(types.void, PLANE, types.intp, VECTOR)
def store(context: Any, builder: Any, target: Any, index: Any, value: Any) -> None:
    """Write ``LANES`` values of an array from ``index`` on."""
    builder.store(value, address(context, builder, target, index, LANES, FLOATS)).align = 4


@define(types.float32, PLANE, types.intp)
def load_one(context: Any, builder: Any, source: Any, index: Any) -> Any:
    """Read the value of an array at ``index``."""
    return builder.load(address(context, builder, source, index, 1))


@define(types.void, PLANE, types.intp, types.float32)
def store_one(context: Any, builder: Any, target: Any, index: Any, value: Any) -> None:
    """Write one value of an array, at ``index``."""
    builder.store(value, address(context, builder, target, index, 1))


@define(VECTOR, types.float32)
def fill(context: Any, builder: Any, value: Any) -> Any:
    """Return a vector with ``value`` in every lane."""
    return splat(builder, value)


@define(VECTOR, types.intp)
def count_up(context: Any, builder: Any, start: Any) -> Any:
    """``start``, ``start + 1``, ... as floats."""
    first = splat(builder, builder.sitofp(start, FLOAT))
    return builder.fadd(first, ir.Constant(FLOATS, [float(i) for i in range(LANES)]))


@define(VECTOR, VECTOR, VECTOR, VECTOR)
def fma(context: Any, builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""
    return call(builder, "llvm.fma", a, b, c)


@define(VECTOR, VECTOR)
def sqrt(context: Any, builder: Any, a: Any) -> Any:
    """Square root, correctly rounded."""
    return call(builder, "llvm.sqrt", a)


@define(VECTOR, VECTOR)
def floor(context: Any, builder: Any, a: Any) -> Any:
    """The largest whole number that is not larger."""
    return call(builder, "llvm.floor", a)


@define(VECTOR, VECTOR, VECTOR)
def minimum(context: Any, builder: Any, a: Any, b: Any) -> Any:
    """The smaller of two values."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@define(VECTOR, VECTOR, VECTOR)
def maximum(context: Any, builder: Any, a: Any, b: Any) -> Any:
    """The larger of two values."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@define(VECTOR, VECTOR, types.intp)
def keep_first(context: Any, builder: Any, a: Any, count: Any) -> Any:
    """``a`` in the first ``count`` lanes, 0 in the others."""
    lanes = ir.Constant(INTS, list(range(LANES)))
    inside = builder.icmp_signed("<", lanes, splat(builder, builder.trunc(count, INT32), INTS))
    return builder.select(inside, a, constant(0))


@define(types.float32, VECTOR)
def total(context: Any, builder: Any, a: Any) -> Any:
    """Return the sum of the lanes, adding halves upon halves."""
    size = LANES
    while size > 1:
        size //= 2
        kind = ir.VectorType(INT32, size)
        undefined = ir.Constant(a.type, ir.Undefined)
        low = builder.shuffle_vector(a, undefined, ir.Constant(kind, list(range(size))))
        high = builder.shuffle_vector(a, undefined, ir.Constant(kind, list(range(size, 2 * size))))
        a = builder.fadd(low, high)
    return builder.extract_element(a, ir.Constant(INT32, 0))


@define(VECTOR, VECTOR)
def negated(context: Any, builder: Any, a: Any) -> Any:
    """``-a``."""
    return builder.fneg(a)


@define(types.void, PLANE, types.intp, VECTOR, types.intp)
def store_first(context: Any, builder: Any, target: Any, index: Any, value: Any, count: Any) -> None:
    """Write the first ``count`` lanes, at least one."""
    last = builder.add(index, builder.sub(count, ir.Constant(INTP, 1)))
    address(context, builder, target, last, 1)
    pointer = address(context, builder, target, index, 1, FLOATS)
    lanes = ir.Constant(INTS, list(range(LANES)))
    inside = builder.icmp_signed("<", lanes, splat(builder, builder.trunc(count, INT32), INTS))
    kind = ir.FunctionType(ir.VoidType(), [FLOATS, FLOATS.as_pointer(), INT32, ir.VectorType(ir.IntType(1), LANES)])
    masked = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32")
    builder.call(masked, [value, pointer, ir.Constant(INT32, 4), inside])


@define(types.float32, VECTOR)
def first_lane(context: Any, builder: Any, a: Any) -> Any:
    """Return the value in the first lane."""
    return builder.extract_element(a, ir.Constant(INT32, 0))


@define(VECTOR, VECTOR, types.intp)
def repeat_first(context: Any, builder: Any, a: Any, count: Any) -> Any:
    """``a`` in the first ``count`` lanes, its first value in the others."""
    lanes = ir.Constant(INTS, list(range(LANES)))
    inside = builder.icmp_signed("<", lanes, splat(builder, builder.trunc(count, INT32), INTS))
    return builder.select(inside, a, splat(builder, builder.extract_element(a, ir.Constant(INT32, 0))))


@define(types.boolean, VECTOR, types.float32)
def any_above(context: Any, builder: Any, a: Any, threshold: Any) -> Any:
    """Whether a lane is larger than the threshold."""
    above = builder.fcmp_ordered(">", a, splat(builder, threshold))
    bits = ir.IntType(LANES)
    return builder.icmp_unsigned("!=", builder.bitcast(above, bits), ir.Constant(bits, 0))


@define(VECTOR, VECTOR, types.float32, VECTOR, VECTOR)
def choose(context: Any, builder: Any, a: Any, threshold: Any, b: Any, c: Any) -> Any:
    """``b`` where ``a`` is above the threshold, else ``c``."""
    return builder.select(builder.fcmp_ordered(">", a, splat(builder, threshold)), b, c)


def _estimate(context: Any, builder: Any, a: Any, name: str) -> Any:
    """Apply an x86 instruction that takes eight values at a time."""
    kind = ir.VectorType(FLOAT, 8)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind]), f"llvm.x86.avx.{name}.ps.256"
    )
    halves = []
    for half in range(0, LANES, 8):
        mask = ir.Constant(ir.VectorType(INT32, 8), list(range(half, half + 8)))
        halves.append(builder.call(function, [builder.shuffle_vector(a, ir.Constant(a.type, ir.Undefined), mask)]))
    if len(halves) == 1:
        return halves[0]
    return builder.shuffle_vector(*halves, ir.Constant(INTS, list(range(LANES))))


@define(VECTOR, VECTOR)
def reciprocal_estimate(context: Any, builder: Any, a: Any) -> Any:
    """``1 / a`` to about 12 bits; x86 with AVX only, and not the same on every one."""
    return _estimate(context, builder, a, "rcp")


@define(VECTOR, VECTOR)
def root_estimate(context: Any, builder: Any, a: Any) -> Any:
    """``1 / sqrt(a)`` to about 12 bits, large but finite at 0; x86 with AVX only, and not the same on every one."""
    return _estimate(context, builder, builder.fadd(a, constant(1e-20)), "rsqrt")


def _operator(symbol: Any, method: str) -> None:
    @define(VECTOR, VECTOR, VECTOR)
    def emit(context: Any, builder: Any, a: Any, b: Any) -> Any:
        return getattr(builder, method)(a, b)

    @overload(symbol)
    def typed(a: Any, b: Any) -> Any:
        def implementation(a: Any, b: Any) -> Any:
            return emit(a, b)

        return implementation if isinstance(a, VectorType) and isinstance(b, VectorType) else None


for _symbol, _method in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_symbol, _method)


@define(VECTOR, VECTOR, VECTOR)
def after(context: Any, builder: Any, a: Any, b: Any) -> Any:
    """The right neighbours of ``a``'s pixels, ``b`` being the vector to its right."""
    return builder.shuffle_vector(a, b, ir.Constant(INTS, list(range(1, LANES + 1))))


@define(VECTOR, VECTOR, VECTOR)
def before(context: Any, builder: Any, a: Any, b: Any) -> Any:
    """The left neighbours of ``b``'s pixels, ``a`` being the vector to its left."""
    return builder.shuffle_vector(a, b, ir.Constant(INTS, list(range(LANES - 1, 2 * LANES - 1))))
