"""Clips of data sets and loaders that cut and resize them, whose pixels are there, as tests compare them."""

import numpy as np
from torch import Tensor

from kinebert.training.data.batches import Batch
from kinebert.training.data.dataset import ClipDataset


def pixels(items: ClipDataset, key: tuple[int, int]) -> np.ndarray:
    """Return the ``uint8`` ``(T, H, W, C)`` of one item."""
    clip = items[key][0]
    assert isinstance(clip, np.ndarray), "a window, which the device is to resize"
    return clip


def tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the clips of a batch, ``uint8`` ``(N, T, H, W, C)``, its labels and its videos."""
    assert isinstance(batch.clips, Tensor), "windows, which the device is to resize"
    return batch.clips, batch.labels, batch.videos
