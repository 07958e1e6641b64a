"""What loading clips costs on this machine: where the time of one clip goes, and what loader processes deliver."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.aligned import AlignedShards, OpenedSet, sets_of
from kinebert.training.data.batches import Batch, TrainBatches, collate
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import ClipLoader, limit_threads
from kinebert.training.data.parts import check_videos
from kinebert.training.recipe.train import TrainRecipe

_MANY_EPOCHS = 10**6


@dataclass(frozen=True)
class ClipCost:
    """Mean seconds that one process spends on one training clip."""

    read: float
    """Fetching the encoded images from the shard."""
    decode: float
    """JPEG to pixels."""
    crop: float
    """Drawing, cutting, resizing and mirroring the crop."""
    batch: float
    """Putting clips together into a batch."""
    num_clips: int
    """That were measured."""

    def parts(self) -> dict[str, float]:
        """Return the seconds by name, in the order in which they are spent."""
        return {name: getattr(self, name) for name in ("read", "decode", "crop", "batch")}

    @property
    def total(self) -> float:
        """Seconds per clip."""
        return sum(self.parts().values())


@dataclass(frozen=True)
class Delivery:
    """What a loader delivers to a process that does nothing but take."""

    loader_workers: int
    clips_per_s: float
    first_s: float
    """Until the first batch came: the start of the processes."""

    @property
    def per_worker(self) -> float:
        """Clips per second of each process."""
        return self.clips_per_s / max(1, self.loader_workers)


def clip_cost(recipe: TrainRecipe, shards: OpenedSet, seconds: float) -> ClipCost:
    """Load training clips one after the other in this process, for about ``seconds``, and say what they cost."""
    limit_threads(None)
    timed = _TimedShards(shards)
    dataset = _dataset(recipe, timed)
    dataset[(0, 0)]  # opens files, imports what is imported late
    timed.read_s = timed.clip_s = 0.0
    item_s = batch_s = 0.0
    num_clips = 0
    began = time.perf_counter()
    for keys in _batches(recipe, len(dataset)):
        items = []
        start = time.perf_counter()
        for key in keys:
            items.append(dataset[key])  # noqa: PERF401 - the time of each counts
        loaded = time.perf_counter()
        collate(items)
        batch_s += time.perf_counter() - loaded
        item_s += loaded - start
        num_clips += len(keys)
        if time.perf_counter() - began >= seconds:
            break
    return ClipCost(
        read=timed.read_s / num_clips,
        decode=(timed.clip_s - timed.read_s) / num_clips,
        crop=(item_s - timed.clip_s) / num_clips,
        batch=batch_s / num_clips,
        num_clips=num_clips,
    )


def delivery(recipe: TrainRecipe, shards: OpenedSet, loader_workers: int, seconds: float) -> Delivery:
    """Take training batches from a loader for about ``seconds``, its start and its first batches aside."""
    dataset = _dataset(recipe, shards)
    began = time.perf_counter()
    batches = iter(ClipLoader(dataset, _batches(recipe, len(dataset)), loader_workers, torch.device("cpu")))
    next(batches)
    first_s = time.perf_counter() - began
    for _ in itertools.islice(batches, 3 * loader_workers):  # what had been prepared while others started
        pass
    num_clips, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not num_clips:
        batch: Batch = next(batches)
        num_clips += len(batch.labels)
    return Delivery(loader_workers, num_clips / elapsed if elapsed else math.inf, first_s)


def workers_needed(measured: Sequence[Delivery], clips_per_s: float) -> int:
    """Return how many loader processes deliver ``clips_per_s``.

    The smallest number that was measured to do so; else as many as would at the rate per process of the most processes
    that were measured.
    """
    processes = sorted((one for one in measured if one.loader_workers > 0), key=lambda one: one.loader_workers)
    for one in processes:
        if one.clips_per_s >= clips_per_s:
            # between this number and the one measured before it, as few as its own rate per process allows
            return min(one.loader_workers, math.ceil(clips_per_s / one.per_worker))
    return math.ceil(clips_per_s / processes[-1].per_worker)


class _TimedShards:
    """A shard set that notes how long its reads take."""

    def __init__(self, shards: OpenedSet) -> None:
        sets = tuple(map(self._timed, sets_of(shards)))
        self._shards: OpenedSet = sets[0]
        if isinstance(shards, AlignedShards):
            self._shards = copy(shards)
            self._shards.sets = sets
        self.read_s = self.clip_s = 0.0

    def _timed(self, shards: ShardSet) -> ShardSet:
        timed = ShardSet.__new__(ShardSet)
        timed.__dict__.update(shards.__getstate__())
        timed.read_jpegs = partial(self._timed_read, timed.read_jpegs)  # type: ignore[method-assign]
        return timed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shards, name)

    def read_clip(self, entry: Any, indices: Sequence[int]) -> Any:
        """What the set's own method does."""
        began = time.perf_counter()
        clip = self._shards.read_clip(entry, indices)
        self.clip_s += time.perf_counter() - began
        return clip

    def read_part(self, entry: Any, indices: Sequence[int], part: Any, half: bool) -> Any:
        """What the set's own method does."""
        began = time.perf_counter()
        clip = self._shards.read_part(entry, indices, part, half)
        self.clip_s += time.perf_counter() - began
        return clip

    def _timed_read(self, read_jpegs: Callable[..., Any], entry: Any, indices: Sequence[int]) -> Any:
        began = time.perf_counter()
        images = read_jpegs(entry, indices)
        for image in images:  # a mapped file is read when somebody looks at it: that is no time of the decoder
            for buffer in image:
                buffer.to_pybytes()
        self.read_s += time.perf_counter() - began
        return images


def _dataset(recipe: TrainRecipe, shards: Any) -> ClipDataset:
    videos, _ = check_videos(shards, recipe.data, recipe.data.train_part)
    return ClipDataset(shards, videos, recipe.data, seed=recipe.seed, training=True)


def _batches(recipe: TrainRecipe, num_videos: int) -> TrainBatches:
    return TrainBatches(num_videos, recipe.batch_size, recipe.micro_batch, 0, 1, _MANY_EPOCHS, (0, 0))
