"""Batches that are fed come in their order, from processes that stay, each once."""

import os
import threading
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.fed_loader import FedLoader
from kinebert.training.data.loader import ClipLoader
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.fake_shards import FakeShards, FakeVideo, make_shards

DATA = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)
CPU = torch.device("cpu")
BATCHES: list[list[Key]] = [[(video, 0), ((video + 1) % 9, 0)] for video in range(9)]


def fed(loader_workers: int, shards: FakeShards | None = None) -> FedLoader:
    shards = shards or make_shards()
    return FedLoader(ClipDataset(shards, shards.select("split1", "val"), DATA), loader_workers, CPU)


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_pieces_come_in_their_order_whenever_they_are_fed(loader_workers: int) -> None:
    dataset = ClipDataset(make_shards(), make_shards().select("split1", "val"), DATA)
    plain = list(ClipLoader(dataset, BATCHES, 0, CPU))
    loader = fed(loader_workers)
    loader.feed(BATCHES[:2])
    found = list(loader.take(2))  # the processes have nothing to do meanwhile
    loader.feed(BATCHES[2:3])
    loader.feed(BATCHES[3:7])
    found += [*loader.take(1), *loader.take(4)]
    loader.feed(BATCHES[7:])
    found += list(loader.take(2))
    for ours, theirs in zip(found, plain, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))  # type: ignore[arg-type]


def test_another_thread_may_feed_while_one_takes() -> None:
    loader = fed(0)
    loader.feed(BATCHES[:1])

    def feed() -> None:
        for batch in BATCHES[1:]:
            loader.feed([batch])

    feeder = threading.Thread(target=feed)
    feeder.start()
    (first,) = loader.take(1)
    feeder.join()
    videos = [batch.videos.tolist() for batch in [first, *loader.take(8)]]
    assert videos == [[key[0] for key in batch] for batch in BATCHES]


class Telling(FakeShards):  # at the top level, so that another process can unpickle it
    """Gives the number of its process for pictures."""

    def read_clip(self, entry: FakeVideo, indices: object) -> Any:
        clip = super().read_clip(entry, indices)  # type: ignore[arg-type]
        clip[:] = 0
        clip[:, :, :, 0], clip[:, :, :, 1] = divmod(os.getpid() % 65536, 256)
        return clip


def test_the_processes_stay() -> None:
    loader = fed(1, Telling(make_shards().videos, ["a", "b", "c"]))
    processes = set()
    for batch in BATCHES[:3]:
        loader.feed([batch])
        processes |= {tuple(made.clips[0, 0, 0, 0].tolist()) for made in loader.take(1)}  # type: ignore[index]
    assert len(processes) == 1


def test_what_was_not_fed_is_not_waited_for_and_whoever_stops_starts_anew() -> None:
    loader = fed(0)
    loader.feed(BATCHES[:2])
    with pytest.raises(AssertionError, match="1 batches are taken that were not fed"):
        list(loader.take(3))
    loader.feed(BATCHES[:3])
    for _ in loader.take(3):
        break
    loader.feed(BATCHES[4:5])
    (batch,) = loader.take(1)
    assert batch.videos.tolist() == [4, 5]


class Broken(FakeShards):
    def read_clip(self, entry: FakeVideo, indices: object) -> Any:
        raise UserError("the disk is gone")


def test_an_error_comes_as_it_was_said() -> None:
    loader = fed(0, Broken(make_shards().videos, ["a", "b", "c"]))
    loader.feed(BATCHES)
    with pytest.raises(UserError, match="the disk is gone"):
        list(loader.take(9))
