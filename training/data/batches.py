"""Which clips make a batch, and what a batch is.

Axes: N clips, T frames or fields, H height, W width, C channels.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kinebert.training.clips.calendar import Calendar
from kinebert.training.clips.ordering import Positions, num_steps, worker_positions
from kinebert.training.data.dataset import ClipDataset, Key
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
    """Put items of a :class:`ClipDataset` together; none make an empty batch, whose clips are of no shape."""
    if not items:
        return Batch(torch.empty(0, dtype=torch.uint8), *torch.empty((2, 0), dtype=torch.int64))
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
        calendar: Says of what sizes the batches of the epochs are, where they are not all of the same.
    """

    def __init__(
        self,
        num_items: int,
        batch_size: int,
        micro_batch: int,
        rank: int,
        num_workers: int,
        epochs: int,
        start: Key,
        calendar: Calendar | None = None,
    ) -> None:
        self._num_steps = num_steps(num_items, batch_size)
        self._sizes, self._worker = (batch_size, micro_batch), (rank, num_workers)
        self._epochs, self._start, self._calendar = epochs, start, calendar

    def __iter__(self) -> Iterator[list[Key]]:
        first_epoch, first_step = self._start
        for epoch in range(first_epoch, self._epochs):
            for step in range(first_step if epoch == first_epoch else 0, self._steps(epoch)):
                for positions in self._dealt(epoch, step):
                    yield [(epoch, int(position)) for position in positions]

    def _steps(self, epoch: int) -> int:
        return self._num_steps if self._calendar is None else self._calendar.num_steps(epoch)

    def _dealt(self, epoch: int, step: int) -> Positions:
        if self._calendar is None:
            return worker_positions(step, *self._sizes, *self._worker)
        grid, first = self._calendar.grid(epoch, step), self._calendar.position(epoch, step)
        return worker_positions(step, grid.batch_size, grid.micro_batch, *self._worker, first)


PartKey = tuple[int, int, int]
"""Which of two data sets, and a key of it."""


class BothParts(Dataset[tuple[UInt8 | Window, int, int]]):
    """Clips of both parts of a training, so that one pool of loader processes makes them all.

    Args:
        parts: The data sets; a key says which one, and then what of it.
    """

    def __init__(self, *parts: ClipDataset) -> None:
        self._parts = parts

    def __getitem__(self, key: PartKey) -> tuple[UInt8 | Window, int, int]:
        return self._parts[key[0]][key[1:]]

    def expect(self, keys: Iterable[PartKey]) -> None:
        """Begin to fetch clips, see :meth:`.ClipDataset.expect`."""
        for part, *key in keys:
            self._parts[part].expect([(key[0], key[1])])


class TrainingBatches:
    """Keys of all batches of one worker in their order: the micro-batches of an epoch, then those of the validation.

    Args:
        training: Of the micro-batches.
        validation: Keys of the batches that come after every epoch.
    """

    def __init__(self, training: TrainBatches, validation: Sequence[list[Key]]) -> None:
        self._training, self.validation = training, validation

    def __iter__(self) -> Iterator[list[PartKey]]:
        for _, batches in itertools.groupby(self._training, lambda keys: keys[0][0]):
            for keys in batches:
                yield [(0, *key) for key in keys]
            for keys in self.validation:
                yield [(1, *key) for key in keys]


def in_batches(keys: Sequence[Key], size: int) -> list[list[Key]]:
    """Cut ``keys`` into lists of ``size``; the last one may be shorter."""
    return [list(keys[i : i + size]) for i in range(0, len(keys), size)]


def in_whole_clips(keys: Sequence[Key], size: int, crops: int) -> list[list[Key]]:
    """Cut the keys of test views into lists of at most ``size``, so that no clip is read for two of them.

    Args:
        keys: Clip by clip, each with all its crops.
        size: Views of a batch. One that is smaller than the crops of a clip cuts every clip alike, and reads it again.
        crops: Of each clip.
    """
    if crops <= size:
        return in_batches(keys, size // crops * crops)
    return [batch for clip in in_batches(keys, crops) for batch in in_batches(clip, size)]


class Feed:
    """Batches of keys that become known little by little: an iterable without end, which gives empty ones meanwhile.

    One thread may go through it while another adds to it.
    """

    def __init__(self) -> None:
        self._waiting = deque[list[Key]]()
        self.num_given = 0
        """Batches that were given to whoever goes through it, empty ones aside."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, batches: Iterable[list[Key]]) -> None:
        """Have further batches given; none of them is empty."""
        self._waiting.extend(batches)

    def __iter__(self) -> Iterator[list[Key]]:
        while True:
            keys = self._waiting.popleft() if self._waiting else []
            self.num_given += bool(keys)
            yield keys

    def later(self, every: int, most: int) -> list[Key]:
        """Return at least ``most`` keys, if there are so many, of every such batch among those that are not given."""
        keys, at = list[Key](), every - 1
        while len(keys) < most and at < len(self._waiting):
            keys += self._waiting[at]
            at += every
        return keys
