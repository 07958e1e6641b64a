"""Who scores views: one process, or all processes of a training together.

Axes: N views, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.clips.ordering import share
from kinebert.training.data.batches import Batch
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.fed_loader import FedLoader
from kinebert.training.data.loader import limit_threads, num_loaders
from kinebert.training.data.shared_memory import clip_bytes, loaders_that_fit
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.distributed.collective import world_sum
from kinebert.training.distributed.watchdog import AFTER_TRAINING
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.models import Recognizer
from kinebert.training.numerics import AS_USUAL, Inference, compile_networks, put_channels_last
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import DataRecipe
from kinebert.training.shards import Shards

ScoreBatches = Callable[[Sequence[list[Key]]], Iterator[NDArray[np.float32]]]
"""Gives the logits ``(N, K)`` of the views of each batch, in the order of the batches; decides where they are made."""


class Scorer:
    """Scores views of some videos: what one process of an evaluation does.

    Args:
        recognizer: Moved to ``device`` and set to evaluation, in place.
        shards: Of the recipe that the recognizer was trained on; ``check_shards`` makes sure.
        videos: Of ``shards``.
        data: Sampling and crops, as in training.
        protocol: Which views.
        device: Where the network runs; None for where it is.
        loader_workers: Processes that read clips, see :func:`.num_loaders`.
        cores: Cores that this process and those may use; None for all of the machine.
        inference: How the network computes.
        num_threads: Threads that torch may use; None leaves them as they are.
        node_processes: Processes on this machine that score, and share its memory.

    Raises:
        UserError: If the classes are not as many as the recognizer's.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        shards: Shards,
        videos: Sequence[Any],
        data: DataRecipe,
        protocol: ProtocolRecipe,
        *,
        device: torch.device | None = None,
        loader_workers: int | Literal["auto"] = 0,
        cores: int | None = None,
        inference: Inference = AS_USUAL,
        num_threads: int | None = None,
        node_processes: int = 1,
    ) -> None:
        if recognizer.spec.modality != shards.modality or recognizer.config["num_classes"] != len(shards.classes):
            raise UserError(
                f"{shards.uri}: holds {shards.modality} of {len(shards.classes)} classes, the recognizer takes "
                f"{recognizer.spec.modality} of {recognizer.config['num_classes']} classes. Give the set it was "
                "trained on."
            )
        limit_threads(num_threads)
        self._device = device or next(recognizer.parameters()).device
        self._recognizer = recognizer.to(self._device).eval()
        self._dataset = ClipDataset(shards, videos, data, protocol=protocol)
        if inference.channels_last:
            put_channels_last(self._recognizer)
        self._compiled = inference.compile and self._device.type == "cuda"
        if self._compiled:
            compile_networks([self._recognizer])
        self._wanted, self._node_processes = loader_workers, node_processes
        self._clip_bytes = partial(clip_bytes, shards, videos, data, protocol.crop_size)
        self._loader_workers = num_loaders(loader_workers, self._device, cores)
        self._loader: FedLoader | None = None
        self._largest = 0
        self._computing = partial(inference.on, self._device)

    def __call__(self, batches: Sequence[list[Key]]) -> Iterator[NDArray[np.float32]]:
        """Yield the logits ``(N, K)`` of each batch of views."""
        self.feed(batches)
        yield from self.take(len(batches))

    def feed(self, batches: Sequence[list[Key]]) -> None:
        """Have the clips of further batches made ahead of :meth:`take`; any thread may do so.

        Raises:
            UserError: If there is no memory for the batches of as many loader processes as were asked for.
        """
        self._largest = max([self._largest, *map(len, batches)])
        if self._loader is None:
            self._loader = FedLoader(self._dataset, self._fitting_loaders(), self._device)
        self._loader.feed(batches)

    def take(self, num_batches: int) -> Iterator[NDArray[np.float32]]:
        """Yield the logits ``(N, K)`` of the next batches that were fed. One thread alone may do so."""
        assert self._loader is not None, "feed comes first"
        clips, pad_to = self._loader.take(num_batches), self._largest if self._compiled else 0
        for logits_NK, _ in score_clips(self._recognizer, clips, self._device, self._computing, pad_to):
            yield logits_NK.numpy()

    def _fitting_loaders(self) -> int:
        """Return how many processes load clips: as many as were asked for, or as memory allows with ``auto``."""
        if not self._loader_workers:
            return 0
        batch_bytes = self._largest * self._clip_bytes()
        return loaders_that_fit(self._wanted, self._loader_workers, batch_bytes, self._node_processes)[0]


def score_clips(
    recognizer: Recognizer,
    batches: Iterable[Batch],
    device: torch.device,
    computing: Callable[[], AbstractContextManager[None]],
    pad_to: int = 0,
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield the float32 logits ``(N, K)`` of each batch, on the CPU, with the batch.

    Args:
        recognizer: Set to evaluation.
        batches: Of a :class:`ClipLoader`.
        device: Where it is.
        computing: How: gradients are off inside, see :meth:`.Inference.on`.
        pad_to: Clips that the network is given at least, blank ones behind those of a short batch, whose scores are
            cut off again: a compiled network has one shape only. Scores do not depend on the others of a batch.
    """
    for clips in batches:
        x_NCTHW = to_device_batch(clips.clips, recognizer.spec, device)
        num = len(x_NCTHW)
        if num < pad_to:
            x_NCTHW = torch.cat([x_NCTHW, x_NCTHW.new_zeros(pad_to - num, *x_NCTHW.shape[1:])])
        with computing():
            logits_NK = recognizer(x_NCTHW)[:num]
        yield logits_NK.float().cpu(), clips


def across_ranks(score: ScoreBatches, num_classes: int, worker: WorkerContext) -> ScoreBatches:
    """Share batches among the processes of a training, and give every process the logits of all.

    Args:
        score: What each process does with its share.
        num_classes: K.
        worker: This process.
    """

    def shared(batches: Sequence[list[Key]]) -> Iterator[NDArray[np.float32]]:
        ends = np.cumsum([len(batch) for batch in batches])
        logits_NK = np.zeros((int(ends[-1]), num_classes))
        mine = [int(i) for i in share(len(batches), worker.rank, worker.world_size)]
        worker.pulse("scoring", AFTER_TRAINING)
        for i, some_NK in zip(mine, score([batches[i] for i in mine]), strict=True):
            logits_NK[ends[i] - len(some_NK) : ends[i]] = some_NK
            worker.pulse("scoring", AFTER_TRAINING)
        worker.pulse("putting scores together", AFTER_TRAINING, 1)
        yield world_sum(logits_NK, worker.device).astype(np.float32)  # others hold zeros there: nothing is rounded

    return shared
