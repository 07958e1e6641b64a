"""Features at other times and places: interpolated, or shared out by areas.

Axes: N batch, C channels, T frames, H height, W width.
"""

from collections.abc import Sequence
from math import gcd

from torch import Tensor
from torch.nn import functional


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate ``(N, C, T, H, W)`` to other T, H and W; what has that size already is returned as it is."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="trilinear", align_corners=False)


def spread(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bring ``(N, C, T, H, W)`` to other T, H and W by areas, so that averages over any of them stay what they are."""
    for dim, wanted in enumerate(size, start=2):
        shared = gcd(x.shape[dim], wanted)
        times, parts = wanted // shared, x.shape[dim] // shared
        x = x.repeat_interleave(times, dim) if times > 1 else x
        x = x.reshape(*x.shape[:dim], -1, parts, *x.shape[dim + 1 :]).mean(dim + 1) if parts > 1 else x
    return x
