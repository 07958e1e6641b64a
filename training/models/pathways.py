"""What pathways of one network have in common: how the maps of all become one.

Axes: N batch, F features, T time steps, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def at_steps(x_NFTHW: Tensor, steps: int) -> Tensor:
    """Average ``(N, F, T, H, W)`` in time to ``(N, F, steps, H, W)``."""
    if x_NFTHW.shape[2] % steps == 0:
        return x_NFTHW.unflatten(2, (steps, -1)).mean(dim=3)
    return functional.adaptive_avg_pool3d(x_NFTHW, (steps, *x_NFTHW.shape[3:]))


def fuse(paths: Sequence[Tensor]) -> Tensor:
    """Put pathways side by side in features, at the time steps of the first: early fusion."""
    first, *others = paths
    return torch.cat([first, *(at_steps(path, first.shape[2]) for path in others)], dim=1)
