"""Networks without numbers: built and run on torch's meta device, where a tensor is a shape and takes no memory.

torch does this by itself, but imports its compiler and sympy, which takes more than a second, before it draws the first
random number or says the shape of a convolution. So nothing is drawn here, and the shapes of the operators that our
networks consist of are worked out; any other operator is torch's.

Measured with torch 2.13, in user and system seconds of a cold process, the median of five: 1.66 for ``import torch``,
1.95 for ``kinebert describe`` of an I3D; 3.56 to build and count it by ``torch.utils.flop_counter`` on torch's own
shapes, before options are read or a table is made, where describe may take 3; 3.71 by that counter on the shapes of
this module, as it brings the compiler in by itself. Its counts are ours: a test compares every backbone and head.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from kinebert.training.models.recognizer import Recognizer, build_recognizer


@contextmanager
def unallocated() -> Iterator[None]:
    """Build networks without their numbers inside the block."""
    with torch.device("meta"), _WithoutDraws():
        yield


def build_unallocated(**arguments: Any) -> Recognizer:
    """Return ``build_recognizer(**arguments)`` without its numbers.

    Raises:
        ConfigError: As :func:`kinebert.training.models.build_recognizer`.
    """
    with unallocated():
        return build_recognizer(**arguments)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Run networks and inputs that are without numbers; what comes out is contiguous and has the right shape."""
    with torch.no_grad(), _Shapes():  # type: ignore[no-untyped-call]
        yield


class LightMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that torch lets in without importing its compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _WithoutDraws(TorchFunctionMode):
    """Skips the initialisation of weights."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class _Shapes(LightMode):  # type: ignore[no-untyped-call]
    """Answers operators with tensors of the right shape."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        rule = _RULES.get(func.overloadpacket)
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = _first if func._schema.is_mutable else _pointwise
        answer = None if rule is None else rule(*args, **kwargs)
        return func(*args, **kwargs) if answer is None else answer


def _new(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _first(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def _pointwise(*args: Any, **_: Any) -> Tensor:
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    rank = max(tensor.ndim for tensor in tensors)
    aligned = [(1,) * (rank - tensor.ndim) + tuple(tensor.shape) for tensor in tensors]
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), tensors[0])
    return _new(like, *map(max, *aligned) if len(aligned) > 1 else aligned[0])


def _same(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return _new(x, *x.shape)


def _convolution(
    x: Tensor,
    weight: Tensor,
    _: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *__: Any,
) -> Tensor | None:
    if transposed:
        return None
    sizes = _windows(x, weight.shape[2:], stride, padding, dilation)
    return _new(x, x.shape[0], weight.shape[0], *sizes) if min(sizes) > 0 else None  # torch says what is wrong


def _max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor] | None:
    sizes = _windows(x, kernel, stride or kernel, padding, dilation, ceil_mode)
    if min(sizes) < 1:
        return None
    return _new(x, *x.shape[: -len(sizes)], *sizes), _new(x, 0)


def _windows(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> list[int]:
    """Places of a sliding window along each of the last axes of ``x``; one number stands for all axes."""
    axes = x.ndim - 2
    every = [list(values) * (axes if len(values) == 1 else 1) for values in (kernel, stride, padding, dilation)]
    places = []
    for size, length, step, pad, dilate in zip(x.shape[2:], *every, strict=True):
        room = size + 2 * pad - dilate * (length - 1) - 1
        count = (-(-room // step) if ceil_mode else room // step) + 1
        places.append(count - 1 if ceil_mode and (count - 1) * step >= size + pad else count)  # one starts inside
    return places


def _batch_norm(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _same(x), _new(x, 0), _new(x, 0)


def _mean(x: Tensor, axes: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Tensor:
    gone = {axis % x.ndim for axis in axes or range(x.ndim)}
    return _new(x, *(1 if i in gone else size for i, size in enumerate(x.shape) if keepdim or i not in gone))


def _norm(x: Tensor, _: float = 2, axes: Sequence[int] | None = None, keepdim: bool = False, **__: Any) -> Tensor:
    return _mean(x, axes, keepdim)


def _std_mean(x: Tensor, axes: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> tuple[Tensor, Tensor]:
    return _mean(x, axes, keepdim), _mean(x, axes, keepdim)


def _cat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    return _new(tensors[0], *shape)


def _stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    shape.insert(axis % (len(shape) + 1), len(tensors))
    return _new(tensors[0], *shape)


def _product(left: Tensor, right: Tensor, **_: Any) -> Tensor:
    return _new(left, *left.shape[:-1], right.shape[-1])


def _added_product(_: Tensor, left: Tensor, right: Tensor, **__: Any) -> Tensor:
    return _product(left, right)


def _sort(x: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return _same(x), torch.empty(x.shape, dtype=torch.int64, device="meta")


def _gathered(x: Tensor, _: int, index: Tensor, **__: Any) -> Tensor:
    return _new(x, *index.shape)


def _resized(x: Tensor, sizes: Sequence[int], *_: Any) -> Tensor:
    return _new(x, *x.shape[:2], *sizes)


_aten = torch.ops.aten
_RULES: dict[Any, Callable[..., Any]] = {
    _aten.convolution: _convolution,
    _aten.max_pool2d_with_indices: _max_pool,
    _aten.max_pool3d_with_indices: _max_pool,
    _aten.native_batch_norm: _batch_norm,
    _aten.mean: _mean,
    _aten.sum: _mean,
    _aten.std_mean: _std_mean,
    _aten.linalg_vector_norm: _norm,
    _aten.cat: _cat,
    _aten.stack: _stack,
    _aten.gather: _gathered,
    _aten.sort: _sort,
    _aten.upsample_trilinear3d: _resized,
    **dict.fromkeys((_aten.mm, _aten.bmm), _product),
    **dict.fromkeys((_aten.addmm, _aten.baddbmm), _added_product),
    **dict.fromkeys((_aten._softmax, _aten._safe_softmax), _same),
}
