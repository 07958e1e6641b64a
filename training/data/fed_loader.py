"""Loader processes that stay, and are given batches to make as these become known."""

from collections.abc import Iterator, Sequence

import torch

from kinebert.training.data.batches import Batch, Feed
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.loader import ClipLoader


class FedLoader:
    """Makes the batches that it is fed, in that order, ahead of whoever takes them.

    One thread takes; any thread may feed, also while the other takes.

    Args:
        dataset: Makes the items.
        loader_workers: Processes that do so; 0 for the one that takes.
        device: Where the batches will go.
    """

    def __init__(self, dataset: ClipDataset, loader_workers: int, device: torch.device) -> None:
        self._dataset, self._loader_workers, self._device = dataset, loader_workers, device
        self._feed = Feed()
        self._num_taken = 0
        self._batches: Iterator[Batch] | None = None

    def feed(self, batches: Sequence[list[Key]]) -> None:
        """Have further batches made, given as the keys of their items: at least one each."""
        self._feed.add(batches)

    def take(self, num_batches: int) -> Iterator[Batch]:
        """Yield the next batches, which must have been fed. Whoever stops before their end ends the processes."""
        if self._batches is None:
            self._batches = iter(ClipLoader(self._dataset, self._feed, self._loader_workers, self._device))
        left = num_batches
        try:
            while left:
                batch = next(self._batches)
                if len(batch.labels):
                    left -= 1
                    self._num_taken += 1
                    yield batch
                elif self._num_taken == self._feed.num_given and not len(self._feed):
                    raise AssertionError(f"{left} batches are taken that were not fed")
        finally:
            if left:
                self._feed, self._num_taken, self._batches = Feed(), 0, None
