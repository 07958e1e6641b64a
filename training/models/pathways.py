"""What pathways of one network have in common: how the maps of all become one.

Axes: N batch, F features, T time steps, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def at_steps(x_NFTHW: Tensor, steps: int) -> Tensor:
    """Average ``(N, F, T, H, W)`` in time to ``(N, F, steps, H, W)``."""
    n, f, t, h, w = x_NFTHW.shape
    if t % steps == 0:
        return x_NFTHW.reshape(n, f, steps, t // steps, h, w).mean(dim=3)
    return functional.adaptive_avg_pool3d(x_NFTHW, (steps, h, w))


def fuse(paths: Sequence[Tensor]) -> Tensor:
    """Put pathways side by side in features, at the time steps of the first: early fusion."""
    first, *others = paths
    return torch.cat([first, *(at_steps(path, first.shape[2]) for path in others)], dim=1)
