"""Which clips make a batch, and what a batch is.

Axes: N clips, T frames or fields, H height, W width, C channels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kinebert.training.clips.ordering import num_steps, worker_positions
from kinebert.training.data.dataset import Key
from kinebert.training.data.transforms import UInt8
from kinebert.training.data.windows import Window, Windows


class Batch(NamedTuple):
    """Clips as they are stored, before the device turns them into floating point."""

    clips: Tensor | Windows
    """``uint8`` ``(N, T, H, W, C)``, or what the device is still to resize to that."""
    labels: Tensor
    """Class indices, int64 ``(N,)``."""
    videos: Tensor
    """Which video of the data set each clip is of, int64 ``(N,)``."""

    def pin_memory(self) -> "Batch":
        """Copy to memory that a GPU reads without waiting."""
        return Batch(self.clips.pin_memory(), self.labels.pin_memory(), self.videos.pin_memory())


def collate(items: Sequence[tuple[UInt8 | Window, int, int]]) -> Batch:
    """Put items of a :class:`ClipDataset` together."""
    labels, videos = torch.tensor([label for _, label, _ in items]), torch.tensor([video for _, _, video in items])
    windows = [clip for clip, _, _ in items if isinstance(clip, Window)]
    if windows:
        return Batch(Windows.of(windows), labels, videos)
    clips_NTHWC = np.stack([clip for clip, _, _ in items if not isinstance(clip, Window)])
    return Batch(torch.from_numpy(clips_NTHWC), labels, videos)


class TrainBatches:
    """Keys of the micro-batches that one worker takes, from a given step of a given epoch to the end of training.

    Args:
        num_items: Videos of the part.
        batch_size: Clips of a global batch.
        micro_batch: Clips of a micro-batch.
        rank: Of the worker.
        num_workers: Workers that share each global batch.
        epochs: Where training ends.
        start: Epoch and step to begin at.
    """

    def __init__(
        self, num_items: int, batch_size: int, micro_batch: int, rank: int, num_workers: int, epochs: int, start: Key
    ) -> None:
        self._num_steps = num_steps(num_items, batch_size)
        self._deal = batch_size, micro_batch, rank, num_workers
        self._epochs, self._start = epochs, start

    def __iter__(self) -> Iterator[list[Key]]:
        first_epoch, first_step = self._start
        for epoch in range(first_epoch, self._epochs):
            for step in range(first_step if epoch == first_epoch else 0, self._num_steps):
                for positions in worker_positions(step, *self._deal):
                    yield [(epoch, int(position)) for position in positions]


def in_batches(keys: Sequence[Key], size: int) -> list[list[Key]]:
    """Cut ``keys`` into lists of ``size``; the last one may be shorter."""
    return [list(keys[i : i + size]) for i in range(0, len(keys), size)]
