"""The order of clips is a pure function, and workers only share it out."""

import numpy as np
import pytest

from kinebert.training.clips.ordering import (
    MIXED,
    batch_seed,
    epoch_order,
    item_at,
    num_steps,
    sample_rng,
    shard_order,
    share,
    worker_positions,
)


def test_every_epoch_visits_everything_once_in_its_own_order() -> None:
    orders = [epoch_order(50, seed=1, epoch=epoch) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[1], orders[2])
    np.testing.assert_array_equal(epoch_order(50, seed=1, epoch=2), orders[2])
    assert not np.array_equal(epoch_order(50, seed=2, epoch=0), orders[0])


@pytest.mark.parametrize("num_workers", [1, 2, 3, 6])
def test_the_global_batch_and_its_micro_batches_do_not_depend_on_the_workers(num_workers: int) -> None:
    dealt = [worker_positions(5, 24, 4, rank, num_workers) for rank in range(num_workers)]
    assert {part.shape for part in dealt} == {(6 // num_workers, 4)}
    micro_batches = {tuple(row) for part in dealt for row in part}
    assert micro_batches == {tuple(range(start, start + 4)) for start in range(120, 144, 4)}


def test_two_workers_by_hand() -> None:
    np.testing.assert_array_equal(worker_positions(1, 8, 2, rank=0, num_workers=2), [[8, 9], [12, 13]])
    np.testing.assert_array_equal(worker_positions(1, 8, 2, rank=1, num_workers=2), [[10, 11], [14, 15]])


def test_a_short_last_batch_is_dropped_and_a_small_set_is_repeated() -> None:
    assert num_steps(33, 16) == 2
    assert num_steps(5, 8) == 1
    order = epoch_order(5, 0, 0)
    assert [item_at(order, position) for position in range(8)] == [*order, *order[:3]]


@pytest.mark.parametrize("num_workers", [1, 2, 3, 7, 20])
def test_validation_sees_every_video_exactly_once(num_workers: int) -> None:
    shares = [share(17, rank, num_workers) for rank in range(num_workers)]
    assert sorted(np.concatenate(shares)) == list(range(17))


def test_random_numbers_belong_to_the_position() -> None:
    draws = {key: sample_rng(*key).random() for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]}
    assert len(set(draws.values())) == len(draws)
    assert sample_rng(0, 1, 1).random() == draws[0, 1, 1]
    seeds = {batch_seed(0, epoch, step, index) for epoch in range(4) for step in range(4) for index in range(4)}
    assert len(seeds) == 64
    assert all(0 <= seed < 2**63 for seed in seeds)  # what torch.manual_seed takes


@pytest.mark.parametrize("sizes", [[16] * 400, [1] * 5000, [5000, 1, 3000, 7], [3]])
def test_an_order_aware_of_shards_reads_each_in_one_part_of_the_epoch(sizes: list[int]) -> None:
    shard_of_item = np.repeat(np.arange(len(sizes)), sizes)
    order = shard_order(shard_of_item, 3, 5)
    assert sorted(order) == list(range(len(shard_of_item)))
    visited = shard_of_item[order]
    for shard, size in enumerate(sizes):
        where = np.flatnonzero(visited == shard)
        assert where[-1] - where[0] < MIXED + size + max(sizes)
    assert np.array_equal(order, shard_order(shard_of_item, 3, 5)), "a pure function"
    if len(shard_of_item) > 3:
        assert not np.array_equal(order, shard_order(shard_of_item, 3, 6))
        assert not np.array_equal(order, shard_order(shard_of_item, 4, 5))


def test_an_order_aware_of_shards_mixes_neighbours_and_shards() -> None:
    shard_of_item = np.repeat(np.arange(400), 16)
    visited = shard_of_item[shard_order(shard_of_item, 0, 0)]
    assert (np.diff(visited) == 0).mean() < 0.02, "neighbours of a batch are of other shards"
    assert len(set(visited[:2048])) == 128
    assert not np.array_equal(np.unique(visited[:2048]), np.arange(128)), "any 128 of them"
