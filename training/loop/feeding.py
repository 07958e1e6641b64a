"""What a process of a training is fed with: batches of both parts, and how many processes make them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from kinebert.training.clips.ordering import share
from kinebert.training.data.batches import Batch, BothParts, TrainBatches, TrainingBatches, in_batches
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.loader import ClipLoader, num_loaders
from kinebert.training.data.shared_memory import largest_batch_bytes, loaders_that_fit
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.loop.stages import Stage
from kinebert.training.recipe.multigrid import base_grid
from kinebert.training.shards import Shards


def fitting_loaders(stage: Stage, shards: Shards, videos: Sequence[Any], worker: WorkerContext) -> tuple[int, str]:
    """Return how many processes load clips for a worker, and a sentence if memory allows fewer than wanted.

    Raises:
        UserError: If the recipe wants so many that there is no memory for their batches.
    """
    recipe = stage.recipe
    wanted = num_loaders(recipe.loader_workers, worker.device, worker.cores)
    if not wanted:
        return 0, ""
    grids = [*stage.calendar.grids, replace(base_grid(recipe), micro_batch=recipe.eval_batch)]
    largest = largest_batch_bytes(shards, videos, recipe.data, grids)
    return loaders_that_fit(recipe.loader_workers, wanted, largest, worker.node_processes)


def batches_of(
    stage: Stage,
    shards: tuple[Shards, Shards],
    videos: tuple[Sequence[Any], Sequence[Any]],
    worker: WorkerContext,
    loader_workers: int,
    start: Key,
) -> tuple[Iterator[Batch], int]:
    """Return a worker's batches of the rest of a stage, and how many after each epoch are those of the validation.

    Args:
        stage: What is trained.
        shards: What is learnt from, and what is measured.
        videos: Those that are learnt from, and those that are measured.
        worker: This process.
        loader_workers: Processes that make the batches.
        start: Epoch and step to begin at.
    """
    recipe, calendar = stage.recipe, stage.several_shapes
    training = ClipDataset(shards[0], videos[0], recipe.data, seed=recipe.seed, training=True, calendar=calendar)
    validation = ClipDataset(shards[1], videos[1], recipe.data)
    keys = TrainBatches(
        len(videos[0]),
        recipe.batch_size,
        recipe.micro_batch,
        worker.rank,
        worker.world_size,
        stage.end_epoch,
        start,
        calendar,
    )
    views = validation.test_keys(share(len(videos[1]), worker.rank, worker.world_size))
    both = TrainingBatches(keys, in_batches(views, recipe.eval_batch))
    loader = ClipLoader(BothParts(training, validation), both, loader_workers, worker.device)
    return iter(loader), len(both.validation)
