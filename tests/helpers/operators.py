"""How many operators torch is asked for, and how many launches that is on a GPU, whatever the tensors' size."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_FREE = ("empty", "detach", "split")
_TENSORS, _BLOCKS, _CHUNK = {1: 96, 2: 64, 3: 48, 4: 36}, 320, 65536
"""What one launch over lists takes: tensors by the number of lists, blocks, numbers in a block.

Source: ``aten/src/ATen/native/cuda/MultiTensorApply.cuh`` (with a number for each tensor, where it takes fewest).
"""
_CONCATENATED = 128
"""Tensors that one launch of cat takes (``aten/src/ATen/native/cuda/Shape.cu``)."""


class CountedOperators(TorchDispatchMode):
    """Counts operators while its context is open, by name; views and empty tensors cost a GPU nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.launches = 0
        """Of CUDA kernels, reckoned: one for each operator, more where a list is longer than one takes."""

    @property
    def total(self) -> int:
        return self.calls.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and not name.startswith(_FREE):
            self.calls[name] += 1
            self.launches += _launches(name, args)
        return func(*args, **(kwargs or {}))


def _launches(name: str, args: Sequence[Any]) -> int:
    if name == "cat":
        return -(-len(args[0]) // _CONCATENATED)
    if not name.startswith("_foreach"):
        return 1
    lists = [one for one in args if isinstance(one, (list, tuple)) and one and isinstance(one[0], Tensor)]
    most, launches, tensors, blocks = _TENSORS[len(lists) + (not name.endswith("_"))], 0, 0, 0
    for one in lists[0]:
        tensors += 1
        blocks += -(-one.numel() // _CHUNK)
        if tensors == most or blocks >= _BLOCKS:
            launches, tensors, blocks = launches + max(1, blocks // _BLOCKS), 0, blocks % _BLOCKS
            tensors = 1 if blocks else 0
    return launches + (tensors > 0)
