"""Every loader process is told what it will make next, and one pool makes the clips of both parts."""

from collections.abc import Iterator

import pytest
import torch

from kinebert.training.data.batches import BothParts, TrainBatches, TrainingBatches, in_batches
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.loader import ClipLoader, Requests
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.fake_shards import make_shards

CPU = torch.device("cpu")
DATA = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)


@pytest.mark.parametrize("loader_workers", [0, 1, 3])
@pytest.mark.parametrize("size", [1, 4, 16])
def test_what_comes_later_is_of_the_same_process(loader_workers: int, size: int) -> None:
    batches = in_batches([(0, i) for i in range(100)], size)
    requests = list(Requests(batches, loader_workers))
    assert [request.keys for request in requests] == batches
    turns = max(1, loader_workers)
    for i, request in enumerate(requests):
        next_ones = [key for batch in batches[i + turns :: turns] for key in batch]
        assert request.later == next_ones[: len(request.later)]
        assert len(request.later) >= min(8, len(next_ones)), "enough to fetch meanwhile"


def test_an_iterator_is_not_asked_before_its_turn() -> None:
    """It may wait for what it gives, as a queue does."""
    asked: list[int] = []

    def queue() -> Iterator[list[Key]]:
        for i in range(3):
            asked.append(i)
            yield [(0, i)]

    for i, request in enumerate(Requests(queue(), 4)):
        assert asked == list(range(i + 1))
        assert request.later == []


def test_no_batches_are_no_requests() -> None:
    assert list(Requests([], 2)) == []


def test_a_validation_follows_every_epoch() -> None:
    training = TrainBatches(6, 4, 2, 0, 1, epochs=3, start=(1, 0))
    both = TrainingBatches(training, [[(0, 0), (1, 0)], [(2, 0)]])
    epochs = [[[(0, epoch, 0), (0, epoch, 1)], [(0, epoch, 2), (0, epoch, 3)]] for epoch in (1, 2)]
    validation = [[(1, 0, 0), (1, 1, 0)], [(1, 2, 0)]]
    assert list(both) == [*epochs[0], *validation, *epochs[1], *validation]
    assert list(both) == list(both), "it can be gone through again"


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_clips_of_both_parts_come_from_one_loader(loader_workers: int) -> None:
    shards = make_shards()
    parts = [shards.select("split1", part) for part in ("train", "val")]
    training = ClipDataset(shards, parts[0], DATA, seed=3, training=True)
    validation = ClipDataset(shards, parts[1], DATA)
    keys = TrainBatches(len(parts[0]), 8, 4, 0, 1, epochs=2, start=(0, 2))
    views = in_batches(validation.test_keys(range(len(parts[1]))), 5)
    both = TrainingBatches(keys, views)
    found = list(ClipLoader(BothParts(training, validation), both, loader_workers, CPU))
    ours = [*ClipLoader(training, list(keys)[:2], 0, CPU), *ClipLoader(validation, views, 0, CPU)]
    assert len(found) == 2 + 2 + 6 + 2
    for one, other in zip(found, ours, strict=False):
        assert isinstance(one.clips, torch.Tensor)
        assert isinstance(other.clips, torch.Tensor)
        assert torch.equal(one.clips, other.clips)
        assert one.videos.tolist() == other.videos.tolist()
