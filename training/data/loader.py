"""Batches of clips, read in this process or in others."""

import signal
from collections.abc import Iterable, Iterator
from typing import Literal

import cv2
import torch
from torch.utils.data import DataLoader

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.machine import available_cores
from kinebert.training.data.batches import Batch, collate
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.shared_memory import (
    MORE_SHARED_MEMORY,
    PREFETCH,
    SHARED_MEMORY,
    free_bytes,
    lacks_shared_memory,
)

MOST_LOADERS = 32
"""What ``auto`` starts at most: no GPU takes more clips, and each holds some 170 MB of memory."""


class ClipLoader:
    """An iterable of :class:`Batch`, one per list of keys; it can be gone through again if ``batches`` can.

    Loader processes are started fresh instead of forked: a fork of a process with threads (Ray's, OpenCV's) may hang.

    Args:
        dataset: Makes the items.
        batches: Keys of the items of each batch.
        loader_workers: Processes that make them; 0 for this one.
        device: Where the batches will go; for CUDA they are put into pinned memory.
    """

    def __init__(
        self, dataset: ClipDataset, batches: Iterable[list[Key]], loader_workers: int, device: torch.device
    ) -> None:
        self._loader: DataLoader[Batch] = DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_sampler=batches,
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
        wanted: A number, or ``auto``: all cores but one that the process itself takes, MOST_LOADERS at most, where a
            GPU computes. On a CPU none: computing a clip takes tens to hundreds of times as long as loading it, on all
            cores, and processes take seconds to start.
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
    return max(0, min(MOST_LOADERS, (available_cores() if cores is None else cores) - 1))


def limit_threads(num_threads: int | None) -> None:
    """Set how many threads this process computes with: torch as many as given (None: as it is), OpenCV one.

    The only place that sets them. Pictures of a clip are too small for OpenCV's own threads to pay.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    cv2.setNumThreads(1)


def _start_worker(_: int) -> None:
    limit_threads(1)
