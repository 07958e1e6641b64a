"""What a frame is as a whole.

Axes: N batch, C channels, T frames, H height, W width.
"""

import torch
from torch import Tensor


def frame_averages(x_NCTHW: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Average every channel of every frame over the picture: ``(N, C, T)``, of another ``dtype`` if one is given."""
    _, channels, frames = x_NCTHW.shape[:3]
    # as a matrix: unlike a pool it is no operation of the papers' count, as in the published programs
    return x_NCTHW.flatten(3).flatten(0, 1).mean(dim=2, dtype=dtype).reshape(-1, channels, frames)
