"""Which clips make up which batch: pure functions of (seed, epoch, position), the same on any number of workers.

A *position* counts clips through one epoch, from 0. The epoch's order says which video stands at a position; the random
numbers of a clip (its start, crop, flip) come from :func:`sample_rng` and so belong to the position, not to a process.

Training takes whole batches only: the clips that do not fill the last batch of an epoch are left out of that epoch
(others in each epoch, since the order differs). A set smaller than one batch is repeated until it fills the batch.
Validation takes every video exactly once, on any number of workers.
"""

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]

_ORDER, _SAMPLE, _STEP, _MIX = 1, 2, 3, 4  # keep the streams of random numbers apart that one seed feeds
MAX_SEED = 2**32 - 1
"""Largest seed: a larger one would fill two words of numpy's SeedSequence and could meet another seed's numbers."""

MIXED = 2048
"""Videos that an order aware of shards mixes: many batches, and shards of a few classes each, such as 128 of 16 videos
of Kinetics; some 14 GB."""


def epoch_order(num_items: int, seed: int, epoch: int) -> Positions:
    """Return the permutation of ``num_items`` items in which ``epoch`` visits them."""
    return _rng(_ORDER, seed, epoch, 0).permutation(num_items)


def shard_order(shard_of_item: Positions, seed: int, epoch: int) -> Positions:
    """Return an order of items in which ``epoch`` visits shards one after the other, but mixes neighbours.

    Shards come in any order, and their items in windows of at least :data:`MIXED` items of whole shards; the items of a
    window come in any order. So each shard is read in one part of the epoch, by all workers alike.

    Args:
        shard_of_item: Number of the shard that each item lies in, ``(num_items,)``.
        seed: Of the training.
        epoch: From 0.
    """
    rng = _rng(_ORDER, seed, epoch, 1)
    shards, of_item, sizes = np.unique(shard_of_item, return_inverse=True, return_counts=True)
    turn = rng.permutation(len(shards))  # of each shard
    before = np.empty(len(shards), np.int64)
    in_turn = np.argsort(turn)
    before[in_turn] = np.cumsum(sizes[in_turn]) - sizes[in_turn]  # items of the shards that come first
    window = before[of_item] // MIXED
    return np.lexsort((rng.permutation(len(of_item)), window)).astype(np.int64)


def sample_rng(seed: int, epoch: int, position: int) -> np.random.Generator:
    """Return the random numbers of the clip at ``position`` of ``epoch``, the same in any process and at any time."""
    return _rng(_SAMPLE, seed, epoch, position)


def batch_seed(seed: int, epoch: int, step: int, index: int) -> int:
    """Return a seed for what a model draws (dropout, masks) in micro-batch ``index`` of the global batch ``step``.

    Micro-batches are counted through the global batch as :func:`worker_positions` deals them out, so that the draws do
    not depend on the number of workers, nor on what was computed before.
    """
    return int(
        np.random.SeedSequence([_STEP, seed, epoch, step, index]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    )


def mix_rng(seed: int, epoch: int, step: int, index: int) -> np.random.Generator:
    """Return the random numbers that mix the clips of micro-batch ``index``, counted as in :func:`batch_seed`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([_MIX, seed, epoch, step, index])))


def num_steps(num_items: int, batch_size: int) -> int:
    """Return how many global batches of ``batch_size`` clips an epoch over ``num_items`` videos has (at least 1)."""
    return max(1, num_items // batch_size)


def item_at(order: Positions, position: int) -> int:
    """Return the item at ``position``, starting over where a set is smaller than one batch."""
    return int(order[position % len(order)])


def worker_positions(
    step: int, batch_size: int, micro_batch: int, rank: int, num_workers: int, first: int | None = None
) -> Positions:
    """Return the positions that one worker takes in one global batch.

    Micro-batches are dealt out in turn: micro-batch ``i`` of the global batch goes to worker ``i % num_workers``. So
    the same clips meet in the same micro-batch (which matters to batch normalisation) on any number of workers.

    Args:
        step: Global batch of the epoch, from 0.
        batch_size: Clips in a global batch; a multiple of ``micro_batch * num_workers``.
        micro_batch: Clips that one worker feeds at once.
        rank: The worker, 0 to ``num_workers - 1``.
        num_workers: Workers that share the batch.
        first: Position of the batch's first clip, where the batches before it have not its size.

    Returns:
        Positions of shape ``(batch_size / (micro_batch * num_workers), micro_batch)``, one row per micro-batch.
    """
    assert batch_size % (micro_batch * num_workers) == 0, "checked where the recipe is read"
    assert 0 <= rank < num_workers
    begin = step * batch_size if first is None else first
    batch = np.arange(begin, begin + batch_size, dtype=np.int64)
    return batch.reshape(-1, micro_batch)[rank::num_workers]


def share(num_items: int, rank: int, num_workers: int) -> Positions:
    """Return the items that one worker evaluates: over all workers every item exactly once, no filling up."""
    return np.arange(rank, num_items, num_workers, dtype=np.int64)


def _rng(purpose: int, seed: int, epoch: int, position: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([purpose, seed, epoch, position])))
