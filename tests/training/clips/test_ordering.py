"""The order of clips is a pure function, and workers only share it out."""

import numpy as np
import pytest

from kinebert.training.clips.ordering import (
    batch_seed,
    epoch_order,
    item_at,
    num_steps,
    sample_rng,
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
