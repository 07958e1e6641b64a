"""Which clips meet in a batch: every worker knows its own, whoever has begun, and wherever it goes on."""

import numpy as np
import pytest
import torch

from kinebert.training.clips.calendar import Calendar, Grid, multigrid_cycles
from kinebert.training.data.batches import Feed, TrainBatches, collate, in_batches, in_whole_clips
from kinebert.training.data.dataset import Key
from tests.helpers.loaded_clips import tensors


def keys_of(rank: int, num_workers: int, epochs: int = 2, start: Key = (0, 0), num_items: int = 24) -> list[list[Key]]:
    return list(TrainBatches(num_items, 8, 2, rank, num_workers, epochs, start))


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_workers_share_every_batch(num_workers: int) -> None:
    """Three steps of 8 clips per epoch, each in four micro-batches of 2."""
    alone = keys_of(0, 1)
    assert [len(keys) for keys in alone] == [2] * 4 * 3 * 2
    shares = [keys_of(rank, num_workers) for rank in range(num_workers)]
    turns = 4 // num_workers
    for step in range(6):
        mine = [share[step * turns : (step + 1) * turns] for share in shares]
        together = sorted(key for part in mine for keys in part for key in keys)
        assert together == sorted(key for keys in alone[4 * step : 4 * step + 4] for key in keys)


def test_every_video_comes_once_in_an_epoch() -> None:
    for epoch in range(2):
        found = [position for keys in keys_of(0, 1) for of, position in keys if of == epoch]
        assert sorted(found) == list(range(24))


@pytest.mark.parametrize(("start", "left_out"), [((0, 0), 0), ((0, 2), 8), ((1, 0), 12), ((1, 2), 20), ((2, 0), 24)])
def test_whoever_goes_on_takes_what_is_left(start: Key, left_out: int) -> None:
    assert keys_of(0, 1, start=start) == keys_of(0, 1)[left_out:]
    assert keys_of(1, 2, start=start) == keys_of(1, 2)[left_out // 2 :]


@pytest.mark.parametrize("num_workers", [2, 4])
@pytest.mark.parametrize("micro_grows", [False, True])
def test_batches_of_several_shapes_are_shared_alike(num_workers: int, micro_grows: bool) -> None:
    """Steps of 32, 16 and 8 clips: on any number of workers the same clips meet in the same micro-batches."""
    base = Grid(batch_size=8, micro_batch=2, clip_length=4, frame_interval=1, crop_size=16)
    (cycle,) = multigrid_cycles(base, short_cycle=True, long_cycle=False, scale_lr="long", micro_grows=micro_grows)
    calendar = Calendar(100, [(0, cycle)], 3)

    def dealt(rank: int, num: int, start: Key = (0, 0)) -> list[list[Key]]:
        return list(TrainBatches(100, 8, 2, rank, num, 3, start, calendar))

    alone = dealt(0, 1)
    assert [len(keys) for keys in alone[:6]] == ([8, 8, 8, 8, 4, 4] if micro_grows else [2] * 6)
    shares = [iter(dealt(rank, num_workers)) for rank in range(num_workers)]
    assert [next(shares[i % num_workers]) for i in range(len(alone))] == alone
    assert all(next(share, None) is None for share in shares)
    for epoch in range(3):
        found = [position for keys in alone for of, position in keys if of == epoch]
        assert found == list(range(len(found))), "every clip once, and in order"
    started = calendar.position(1, 2)
    assert dealt(0, 1, (1, 2)) == [keys for keys in alone if keys[0] >= (1, started)]


def test_it_can_be_gone_through_again() -> None:
    batches = TrainBatches(24, 8, 2, 0, 1, 1, (0, 0))
    assert list(batches) == list(batches) != []


@pytest.mark.parametrize("size", [1, 3, 4, 9, 100])
def test_keys_are_cut_in_order(size: int) -> None:
    keys = [(video, view) for video in range(3) for view in range(3)]
    parts = in_batches(keys, size)
    assert [key for part in parts for key in part] == keys
    assert {len(part) for part in parts[:-1]} <= {size}
    assert 0 < len(parts[-1]) <= size
    assert in_batches([], size) == []


@pytest.mark.parametrize(("size", "lengths"), [(16, [15, 15, 6]), (3, [3] * 12), (5, [3] * 12), (2, [2, 1] * 12)])
def test_crops_of_a_clip_meet_in_one_batch(size: int, lengths: list[int]) -> None:
    keys = [(video, view) for video in range(3) for view in range(12)]  # four clips of three crops
    parts = in_whole_clips(keys, size, 3)
    assert [key for part in parts for key in part] == keys
    assert [len(part) for part in parts] == lengths
    of_batch = [{(video, view // 3) for video, view in part} for part in parts]
    if size >= 3:
        assert sum(map(len, of_batch)) == 12  # no clip is in two
    else:
        assert all(len(clips) == 1 for clips in of_batch)


def test_no_items_make_an_empty_batch() -> None:
    batch = collate([])
    assert [len(part) for part in batch] == [0, 0, 0]  # type: ignore[arg-type]


def test_items_are_put_together_as_they_are_stored() -> None:
    clips = [np.full((4, 8, 6, 3), value, np.uint8) for value in (0, 255)]
    batch = collate([(clips[0], 2, 7), (clips[1], -1, 0)])
    clips_NTHWC, labels, videos = tensors(batch)
    assert (clips_NTHWC.dtype, labels.dtype, videos.dtype) == (torch.uint8, torch.int64, torch.int64)
    assert clips_NTHWC.shape == (2, 4, 8, 6, 3)
    assert clips_NTHWC.amax(dim=(1, 2, 3, 4)).tolist() == [0, 255]
    assert (batch.labels.tolist(), batch.videos.tolist()) == ([2, -1], [7, 0])
    with pytest.raises(ValueError, match="same shape"):
        collate([(clips[0], 0, 0), (clips[1][:2], 0, 0)])


def test_a_feed_gives_what_it_has_and_knows_what_the_same_process_makes_later() -> None:
    feed = Feed()
    given = iter(feed)
    assert next(given) == []
    batches: list[list[Key]] = [[(i, 0), (i, 1)] for i in range(7)]
    feed.add(batches)
    assert (next(given), feed.num_given, len(feed)) == (batches[0], 1, 6)
    assert feed.later(2, 3) == [*batches[2], *batches[4]]  # of two processes that take turns
    assert feed.later(3, 100) == [*batches[3], *batches[6]]
    assert [next(given) for _ in range(7)] == [*batches[1:], []]
    assert (feed.later(1, 8), feed.num_given) == ([], 7)
