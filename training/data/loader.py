"""Batches of clips, read in this process or in others."""

import itertools
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.machine import available_cores
from kinebert.training.data.batches import Batch, BothParts, Feed, PartKey, collate
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.loader_server import start_server
from kinebert.training.data.shared_memory import (
    MORE_SHARED_MEMORY,
    PREFETCH,
    SHARED_MEMORY,
    free_bytes,
    lacks_shared_memory,
    usual_loaders,
)

_AHEAD = 8
"""Clips of later batches that a loader process fetches while it makes one, where they come over a network."""


class Request(NamedTuple):
    """What a loader process is asked for at a time."""

    keys: list[Any]
    """Of the clips of one batch."""
    later: list[Any]
    """Of clips that the same process will be asked for next."""


class Requests:
    """Batches of keys, each with some that the same process makes later.

    Args:
        batches: Gone through anew for each iteration. An iterator, which may wait for what it gives, is not looked
            into ahead.
        loader_workers: Processes to which the batches are dealt out in turn; 0 for one.
    """

    def __init__(self, batches: Iterable[list[Any]], loader_workers: int) -> None:
        self._batches, self._turns = batches, max(1, loader_workers)

    def __iter__(self) -> Iterator[Request]:
        if isinstance(self._batches, Feed):
            yield from (Request(keys, self._batches.later(self._turns, _AHEAD)) for keys in self._batches)
            return
        if isinstance(self._batches, Iterator):
            yield from (Request(keys, []) for keys in self._batches)
            return
        coming, waiting = iter(self._batches), deque[list[Any]]()
        depth = 0
        while True:
            for keys in coming:
                waiting.append(keys)
                depth = depth or -(-_AHEAD // len(keys))  # batches of small numbers of clips: several
                if len(waiting) > self._turns * depth:
                    break
            if not waiting:
                return
            keys = waiting.popleft()
            its = itertools.islice(waiting, self._turns - 1, None, self._turns)
            yield Request(keys, [key for batch in its for key in batch])


class _Requested(Dataset[Any]):
    """A data set whose items are made batch by batch."""

    def __init__(self, dataset: ClipDataset | BothParts) -> None:
        self._dataset: Any = dataset

    def __getitems__(self, request: Request) -> list[Any]:
        self._dataset.expect(itertools.chain(request.keys, request.later))
        return [self._dataset[key] for key in request.keys]


class ClipLoader:
    """An iterable of :class:`Batch`, one per list of keys; it can be gone through again if ``batches`` can.

    Loader processes are started fresh instead of forked: a fork of a process with threads (Ray's, OpenCV's) may hang.

    They share what they have imported, with the server that starts them, and map the index of a set from one file.

    Args:
        dataset: Makes the items.
        batches: Keys of the items of each batch.
        loader_workers: Processes that make them; 0 for this one.
        device: Where the batches will go; for CUDA they are put into pinned memory.
    """

    def __init__(
        self,
        dataset: ClipDataset | BothParts,
        batches: Iterable[list[Key]] | Iterable[list[PartKey]] | Feed,
        loader_workers: int,
        device: torch.device,
    ) -> None:
        if loader_workers:
            start_server()
        self._loader: DataLoader[Batch] = DataLoader(
            _Requested(dataset),
            batch_sampler=Requests(batches, loader_workers),  # type: ignore[arg-type]
            num_workers=loader_workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
            worker_init_fn=_start_worker,
            multiprocessing_context="forkserver" if loader_workers else None,
            persistent_workers=loader_workers > 0,
            prefetch_factor=PREFETCH if loader_workers else None,
        )

    def __iter__(self) -> Iterator[Batch]:
        try:
            yield from self._loader
        except UserError as error:  # of a loader process: torch has put the traceback into the message
            name = f"{type(error).__module__}.{type(error).__qualname__}: "
            raise type(error)(str(error).rpartition(name)[2].strip()) from error
        except (RuntimeError, OSError) as error:
            if not lacks_shared_memory(error) and not self._had_bus_error():
                raise
            raise UserError(
                f"a loader process found no room for its batch in {SHARED_MEMORY}, of which "
                f"{free_bytes() / 2**20:.0f} MiB are free. {MORE_SHARED_MEMORY} Or set a lower loader_workers."
            ) from error

    def _had_bus_error(self) -> bool:
        """Whether a loader process was ended by that signal; torch says so in a main thread only."""
        workers = getattr(self._loader._iterator, "_workers", ())
        return any(worker.exitcode == -signal.SIGBUS for worker in workers)


def num_loaders(wanted: int | Literal["auto"], device: torch.device, cores: int | None = None) -> int:
    """Return how many processes load clips for one that computes. What comes of it does not depend on that.

    Args:
        wanted: A number, or ``auto``: where a GPU computes, see :func:`.usual_loaders`. On a CPU none: computing a clip
            takes tens to hundreds of times as long as loading it, on all cores, and processes take seconds to start.
        device: That computes.
        cores: That both may use; None for all of the machine.

    Raises:
        ConfigError: If the number is negative.
    """
    if wanted != "auto":
        if wanted < 0:
            raise ConfigError(f"loader_workers must be auto or a number from 0, got {wanted}.")
        return wanted
    if device.type == "cpu":
        return 0
    return usual_loaders(available_cores() if cores is None else cores)


def limit_threads(num_threads: int | None) -> None:
    """Set how many threads this process computes with: torch as many as given (None: as it is), OpenCV one.

    The only place that sets them. Pictures of a clip are too small for OpenCV's own threads to pay.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    cv2.setNumThreads(1)


def _start_worker(_: int) -> None:
    limit_threads(1)
