"""Pyramids of images and of flow, as OpenCV's bilinear ``resize`` makes them.

A pixel's arithmetic is written as separate multiplications and additions: fused operations (``lerp``, ``addcmul``)
round differently in the vectorised body of an array than in its tail, and a pair's bits would depend on its place in
the batch.

Axes: B pairs, H height, W width, 3 planes (an image, its x gradient, its y gradient).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def pyramid(image_BHW: Tensor, sizes: Sequence[tuple[int, int]], scale_step: float) -> list[Tensor]:
    """Return float32 copies of the images at every size of ``sizes``, the finest (their own) first.

    Samples lie exactly ``1 / scale_step`` apart even where the size had to be rounded, as in OpenCV.
    """
    levels = [image_BHW.to(torch.float32)]
    for size in sizes[1:]:
        levels.append(_resize(levels[-1], size, (1 / scale_step, 1 / scale_step)))
    return levels


def enlarge_flow(flow_B2HW: Tensor, size: tuple[int, int], scale_step: float) -> Tensor:
    """Carry flow to the next finer level: more pixels, and more of them per step of motion."""
    (coarse_h, coarse_w), (h, w) = flow_B2HW.shape[-2:], size
    return _resize(flow_B2HW, size, (coarse_h / h, coarse_w / w)) * (1 / scale_step)


def with_gradients(image_BHW: Tensor) -> Tensor:
    """Return ``(B, 3, H, W)``: the image and its central differences, in grey levels per pixel."""
    gradient_x = (_neighbour(image_BHW, -1, 1) - _neighbour(image_BHW, -1, -1)) * 0.5
    gradient_y = (_neighbour(image_BHW, -2, 1) - _neighbour(image_BHW, -2, -1)) * 0.5
    return torch.stack([image_BHW, gradient_x, gradient_y], dim=1)


def _neighbour(image_BHW: Tensor, dim: int, offset: int) -> Tensor:
    size = image_BHW.shape[dim]
    index = torch.arange(size, device=image_BHW.device) + offset
    return image_BHW.index_select(dim, index.clamp(0, size - 1))


def _resize(x: Tensor, size: tuple[int, int], step: tuple[float, float]) -> Tensor:
    for dim in (-1, -2):
        low, high, weight = _samples(x.shape[dim], size[dim], step[dim], x.device)
        near = x.index_select(dim, low)
        x = near + (x.index_select(dim, high) - near) * (weight if dim == -1 else weight[:, None])
    return x


@lru_cache(maxsize=256)
def _samples(size: int, new_size: int, step: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return both neighbours of every new sample along one axis, and the weight of the second."""
    low, high, weight = [], [], []
    for i in range(new_size):
        position = (i + 0.5) * step - 0.5
        floor = math.floor(position)
        inside = 0 <= floor < size - 1
        low.append(min(max(floor, 0), size - 1))
        high.append(min(low[-1] + 1, size - 1))
        weight.append(position - floor if inside else 0.0)
    return (
        torch.tensor(low, device=device),
        torch.tensor(high, device=device),
        torch.tensor(weight, dtype=torch.float32, device=device),
    )
