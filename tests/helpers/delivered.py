"""What loader processes deliver here, and how much of a core they got meanwhile, to hold a model against."""

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.data.batches import TrainBatches, collate
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import ClipLoader
from kinebert.training.data.parts import check_videos
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.sets import make_set
from tests.helpers.videos import manifest_rows, moving_texture, write_video

_EPOCHS = 10**6
MICRO_BATCH = 8


@dataclass(frozen=True)
class Delivered:
    """What was measured."""

    clips_per_s: float
    core_share: float
    """Part of the time in which loader processes wanted a core and had one; 1 on a machine that is otherwise idle."""


def filmed(folder: Path, num_videos: int, num_frames: int = 64) -> list[ManifestRow]:
    """Write videos of 340x256 pixels, all to be learnt from; their frames make larger JPEGs than films do."""
    for i in range(num_videos):
        frames = moving_texture(num_frames, 340, 256, seed=i)
        write_video(folder / f"class{i % 2}" / f"v{i:02d}.mp4", frames)
    return manifest_rows(folder)


def make_frames(folder: Path, rows: Sequence[ManifestRow], recipe: FrameRecipe) -> ShardSet:
    """Extract frames of ``rows`` in this process."""
    return make_set(rows, folder, recipe, videos_per_shard=8)


def cpu_s(shards: ShardSet, recipe: DataRecipe, num_clips: int) -> float:
    """Return the seconds of one core that a clip takes, into a batch in shared memory; waiting does not count."""
    dataset = _dataset(shards, recipe)
    dataset[(0, 0)]
    began = time.process_time()
    for first in range(0, num_clips, MICRO_BATCH):
        batch = collate([dataset[(0, first + i)] for i in range(MICRO_BATCH)])
        assert isinstance(batch.clips, torch.Tensor)
        batch.clips.share_memory_()
    return (time.process_time() - began) / (MICRO_BATCH * -(-num_clips // MICRO_BATCH))


def delivered(shards: ShardSet, recipe: DataRecipe, loaders: int, num_clips: int) -> Delivered:
    """Take clips from loader processes as fast as they come, their start aside."""
    dataset = _dataset(shards, recipe)
    keys = TrainBatches(len(dataset), MICRO_BATCH, MICRO_BATCH, 0, 1, _EPOCHS, (0, 0))
    batches = iter(ClipLoader(dataset, keys, loaders, torch.device("cpu")))
    for _ in itertools.islice(batches, 4 * loaders):  # what was made while processes started
        pass
    count = loaders * -(-num_clips // (loaders * MICRO_BATCH))
    before, began = _times(), time.perf_counter()
    for _ in itertools.islice(batches, count):
        pass
    elapsed, after = time.perf_counter() - began, _times()
    spent = [[one - other for one, other in zip(after[pid], before[pid], strict=True)] for pid in before.keys() & after]
    ran, waited = (sum(column) for column in zip(*sorted(spent, reverse=True)[:loaders], strict=True))
    return Delivered(count * MICRO_BATCH / elapsed, ran / max(1, ran + waited))


def _dataset(shards: ShardSet, recipe: DataRecipe) -> ClipDataset:
    return ClipDataset(shards, check_videos(shards, recipe, recipe.train_part)[0], recipe, training=True)


def _times() -> dict[int, tuple[int, int]]:
    """Return the nanoseconds in which processes that descend from this one had a core, and waited for one (Linux)."""
    found, left = {}, [os.getpid()]
    while left:
        pid = left.pop()
        try:
            children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
            ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        except OSError:  # it has ended meanwhile
            continue
        left += [int(child) for some in children for child in some]
        if pid != os.getpid():
            found[pid] = int(ran), int(waited)
    return found
