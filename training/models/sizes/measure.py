"""Sizes of a recognizer: shapes, parameters and multiply-adds of its parts, found without allocating any of it.

Two counts are kept apart. ``macs`` are the multiply-adds of convolutions, linear layers and matrix products, wherever
they happen, also inside recurrent layers and fused attention. ``paper_flops`` is what the BERT papers print as
operations: the count of the tool ptflops 0.5.2, which adds biases, two per element out of a batch norm, one per element
out of an ``nn.ReLU`` and one per element into a pooling layer, and does not see matrix products and functional calls.
Recurrent layers are in it: the tool skips them, but the papers' figure holds one.

What a module does by other means than torch's convolutions it tells: ``multiply_adds(output)`` returns how many those
of the published layer are, and they count as convolutions.

Axes: N batch, A attention heads, S steps, D features of an attention head.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from kinebert.training.models.recognizer import Recognizer
from kinebert.training.models.sizes.unallocated import LightMode, build_unallocated, shapes_only

Shape = tuple[int, ...]
Shapes = Shape | tuple[Shape, ...]
"""One shape, or one per pathway."""

_MACS = ("conv", "linear", "matmul")
_PAPER = {"conv": 1, "linear": 1, "bias": 1, "batch_norm": 2, "relu": 1, "pool": 1}
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_SEEN: dict[type[nn.Module], str] = {
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), "batch_norm"),
    **dict.fromkeys((nn.ReLU, nn.ReLU6), "relu"),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), "pool"),
}
"""Layers of the papers' count. Their tool looks a layer's class up, so that it does not see what is derived from it:
neither I3D's padded pooling nor ours."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part of a network holds, and does to one clip."""

    name: str
    """Dotted name of the module in its network; empty for what is in no part."""
    kind: str
    """Name of the module's class."""
    input_shape: Shapes
    output_shape: Shapes
    parameters: int
    operations: Mapping[str, int]
    """Multiply-adds of ``conv``, ``linear``, ``matmul``; elements of ``bias``, ``batch_norm``, ``relu``, ``pool``."""

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions, linear layers and matrix products for one clip."""
        return sum(self.operations.get(name, 0) for name in _MACS)

    @property
    def paper_flops(self) -> int:
        """Operations as the papers count them."""
        return sum(weight * self.operations.get(name, 0) for name, weight in _PAPER.items())


@dataclass(frozen=True, kw_only=True)
class Sizes(Part):
    """What a whole network holds, and does to one clip."""

    parts: tuple[Part, ...]
    """They add up to it; parts that hold and do nothing are left out."""


def sizes_of(**arguments: Any) -> Sizes:
    """Return the sizes of ``build_recognizer(**arguments)`` for one clip of the length and size that it is built for.

    Raises:
        ConfigError: As :func:`kinebert.training.models.build_recognizer`.
    """
    net = build_unallocated(**arguments)
    spec = net.spec
    shape = (1, len(spec.mean), spec.num_frames, spec.crop_size, spec.crop_size)
    with shapes_only():
        return measure(net, torch.empty(shape, device="meta"))


def measure(net: nn.Module, *inputs: Any) -> Sizes:
    """Run ``net`` once and count.

    Args:
        net: Its parts are its children, and the children of those that only hold others together. It is on the meta
            device: elsewhere kernels of their own may do the work of recurrent layers. It is set to evaluation.
        inputs: Of its forward pass, on the meta device.
    """
    net.eval()
    parts = dict(_parts(net))
    counting = _Counting({id(p) for m in net.modules() if isinstance(m, _RECURRENT) for p in m.parameters()})
    with _hooked(net, parts, counting), torch.no_grad(), counting:
        net(*inputs)
    rows = [
        Part(
            name=name,
            kind=type(module).__name__,
            input_shape=counting.inputs.get(name, ()),
            output_shape=counting.outputs.get(name, ()),
            parameters=_own_parameters(name, module, parts),
            operations=dict(counting.operations[name]),
        )
        for name, module in parts.items()
    ]
    return Sizes(
        name="",
        kind=type(net).__name__,
        input_shape=counting.inputs[""],
        output_shape=counting.outputs[""],
        parameters=sum(p.numel() for p in net.parameters()),
        operations=dict(sum((Counter(row.operations) for row in rows), Counter())),
        parts=tuple(row for row in rows if row.parameters or row.operations),
    )


def _parts(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield "", net
    for name, child in net.named_children():
        yield from _descend(name, child, 1 if isinstance(net, Recognizer) else 0)


def _descend(name: str, module: nn.Module, depth: int) -> Iterator[tuple[str, nn.Module]]:
    yield name, module
    if depth or isinstance(module, nn.ModuleList | nn.ModuleDict):
        for inner, child in module.named_children():
            yield from _descend(f"{name}.{inner}", child, max(0, depth - 1))


def _own_parameters(name: str, module: nn.Module, parts: Mapping[str, nn.Module]) -> int:
    """Parameters of a part that are in no part inside it."""
    prefix = f"{name}." if name else ""
    inside = {
        id(p) for other, part in parts.items() if other != name and other.startswith(prefix) for p in part.parameters()
    }
    return sum(p.numel() for p in module.parameters() if id(p) not in inside)


@contextmanager
def _hooked(net: nn.Module, parts: Mapping[str, nn.Module], counting: "_Counting") -> Iterator[None]:
    """Tell ``counting`` in which part the network is, and of the layers that the papers' count sees."""
    seen = (module for module in net.modules() if type(module) in _SEEN)
    handles = [module.register_forward_hook(counting.layer) for module in seen]  # before a part that it is is left
    told = (module for module in net.modules() if hasattr(module, "multiply_adds"))
    handles += [module.register_forward_hook(counting.told) for module in told]
    for name, module in parts.items():
        handles.append(module.register_forward_pre_hook(counting.enter(name)))
        handles.append(module.register_forward_hook(counting.leave(name)))
    idle = net.backbone.idle_pools if isinstance(net, Recognizer) else ()
    handles += [net.get_submodule(f"backbone.{name}").register_forward_pre_hook(counting.idle_pool) for name in idle]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Counting(LightMode):  # type: ignore[no-untyped-call]
    """Adds up operations by part while a network runs."""

    def __init__(self, recurrent: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.inputs: dict[str, Shapes] = {}
        self.outputs: dict[str, Shapes] = {}
        self._inside: list[str] = []
        self._recurrent = recurrent

    def enter(self, name: str) -> Callable[..., None]:
        """Return the hook that is called before the part ``name``."""

        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            self._inside.append(name)
            self.inputs[name] = _shapes(args)

        return hook

    def leave(self, name: str) -> Callable[..., None]:
        """Return the hook that is called after the part ``name``."""

        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._inside.pop()
            self.outputs[name] = _shapes(output)

        return hook

    def layer(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        """Count a layer that the papers' count sees."""
        kind = _SEEN[type(module)]
        self._add({kind: (args[0] if kind == "pool" else output).numel()})

    def told(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """Count the convolutions that a module does by other means, of which it tells."""
        self._add({"conv": module.multiply_adds(output)})  # type: ignore[operator]

    def idle_pool(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Count a pooling of size 1 that the published network has before ``module``."""
        self._add({"pool": args[0].numel()})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        count = _COUNTS.get(func.overloadpacket)
        if count is not None:
            found = count(args, output)
            if id(args[0]) in self._recurrent:  # the bias of a recurrent layer
                found.pop("bias", None)
            self._add(found)
        return output

    def _add(self, found: Mapping[str, int]) -> None:
        part = self._inside[-1] if self._inside else ""
        self.operations[part].update({kind: number for kind, number in found.items() if number})


def _shapes(values: Any) -> Shapes:
    if isinstance(values, Tensor):
        return tuple(values.shape)
    found = [_shapes(value) for value in values if isinstance(value, Tensor | tuple | list)]
    return found[0] if len(found) == 1 else tuple(found)  # type: ignore[return-value]


def _convolution(args: Any, output: Tensor) -> dict[str, int]:
    x, weight, bias = args[:3]
    transposed = args[6]
    # a value of the output (of the input where transposed) meets one filter
    macs = (x if transposed else output).numel() * weight[0].numel()
    return {"conv": macs, "bias": output.numel() if bias is not None else 0}


def _product(args: Any, output: Tensor) -> dict[str, int]:
    """Of ``mm``, ``bmm``, ``addmm`` and ``baddbmm``: a product with a parameter is a linear layer."""
    *added, left, right = [arg for arg in args if isinstance(arg, Tensor)]
    is_linear = any(isinstance(x if x._base is None else x._base, nn.Parameter) for x in (left, right))
    kind = "linear" if is_linear else "matmul"
    return {kind: output.numel() * left.shape[-1], "bias": output.numel() if added and is_linear else 0}


def _attention(args: Any, output: Any) -> dict[str, int]:
    query_NASD, key_NASD, value_NASD = args[:3]
    scores = prod(query_NASD.shape[:-1]) * key_NASD.shape[-2]
    return {"matmul": scores * (query_NASD.shape[-1] + value_NASD.shape[-1])}


def _average(args: Any, output: Tensor) -> dict[str, int]:
    """Wherever we average a feature map, the published networks have a pooling layer.

    What is averaged over time first, and over the picture afterwards, is one layer to them: counted once.
    """
    x = args[0]
    if x.ndim < 4 or x.shape[-2:] == (1, 1):
        return {}
    again = 0 if output.ndim < 4 or output.shape[-2:] == (1, 1) else output.numel()
    return {"pool": x.numel() - again}


_aten = torch.ops.aten
_COUNTS: dict[Any, Callable[[Any, Any], dict[str, int]]] = {
    _aten.convolution: _convolution,
    **dict.fromkeys((_aten.mm, _aten.bmm, _aten.addmm, _aten.baddbmm), _product),
    **dict.fromkeys(
        (
            _aten._scaled_dot_product_flash_attention,
            _aten._scaled_dot_product_flash_attention_for_cpu,
            _aten._scaled_dot_product_efficient_attention,
            _aten._scaled_dot_product_cudnn_attention,
        ),
        _attention,
    ),
    **dict.fromkeys(
        (_aten.mean, _aten.avg_pool2d, _aten.avg_pool3d, _aten._adaptive_avg_pool2d, _aten._adaptive_avg_pool3d),
        _average,
    ),
}
