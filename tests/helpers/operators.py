"""How many operators torch is asked for: on a GPU each is one launch at least, whatever the tensors' size."""

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_FREE = ("empty", "detach", "split")


class CountedOperators(TorchDispatchMode):
    """Counts operators while its context is open, by name; views and empty tensors cost a GPU nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.calls.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and not name.startswith(_FREE):
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))
