"""Batches are the same, in the same order, from this process and from others; each loads with one thread."""

import os
import subprocess
import sys
from dataclasses import replace

import cv2
import pytest
import torch

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.data import loader as loader_module
from kinebert.training.data.batches import Batch, in_batches
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import ClipLoader, limit_threads, num_loaders
from kinebert.training.data.shared_memory import MOST_LOADERS
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from tests.helpers.fake_shards import FakeShards, FakeVideo, make_shards
from tests.helpers.loaded_clips import tensors

DATA = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)
DATA_RECIPE = TrainRecipe(data=DATA)
CPU = torch.device("cpu")


def batches_of(shards: FakeShards, loader_workers: int) -> list[Batch]:
    dataset = ClipDataset(shards, shards.select("split1", "val"), DATA)
    return list(ClipLoader(dataset, in_batches(dataset.test_keys(range(9)), 4), loader_workers, CPU))


def test_it_can_be_gone_through_again_and_keeps_the_order() -> None:
    dataset = ClipDataset(make_shards(), make_shards().select("split1", "val"), DATA)
    loader = ClipLoader(dataset, in_batches(dataset.test_keys([8, 0, 3, 1, 2]), 2), 0, CPU)
    for _ in range(2):
        assert [batch.videos.tolist() for batch in loader] == [[8, 0], [3, 1], [2]]


def test_loader_processes_change_nothing() -> None:
    here, there = batches_of(make_shards(), 0), batches_of(make_shards(), 2)
    assert len(here) == len(there) == 3
    for ours, theirs in zip(here, there, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors(ours), tensors(theirs), strict=True))


def test_as_many_loaders_as_a_gpu_has_cores_less_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(loader_module, "available_cores", lambda: 12)
    assert [num_loaders("auto", cuda, cores) for cores in (None, 16, 2, 1, 0)] == [11, 15, 1, 0, 0]
    assert num_loaders("auto", cuda, 256) == MOST_LOADERS
    assert num_loaders("auto", CPU, 16) == num_loaders("auto", CPU) == 0  # its cores compute
    assert num_loaders(5, CPU, 2) == num_loaders(5, cuda) == 5
    assert DATA_RECIPE.loader_workers == "auto"
    with pytest.raises(ConfigError, match="loader_workers must be auto or a number from 0, got -1"):
        num_loaders(-1, CPU)
    with pytest.raises(ConfigError, match="loader_workers"):
        replace(DATA_RECIPE, loader_workers=-1)


def test_labels_and_videos_stay_beside_their_clips() -> None:
    shards = make_shards()
    videos = shards.select("split1", "val")
    for batch in batches_of(shards, 0):
        assert batch.labels.tolist() == [videos[i].label for i in batch.videos.tolist()]
        brightest = tensors(batch)[0].float().mean(dim=(1, 2, 3)).argmax(dim=1)  # a class has its own colour
        assert brightest.tolist() == batch.labels.tolist()


class Counting(FakeShards):  # at the top level, so that another process can unpickle it
    def read_clip(self, entry: FakeVideo, indices: object) -> object:  # type: ignore[override]
        raise UserError(f"torch computes with {torch.get_num_threads()} threads, OpenCV with {cv2.getNumThreads()}")


def test_a_loader_process_computes_with_one_thread() -> None:
    """And what it raises comes back as it was said, without the process's own traceback in it."""
    with pytest.raises(UserError) as caught:
        batches_of(Counting(make_shards().videos, ["a", "b", "c"]), 1)
    assert str(caught.value) == "torch computes with 1 threads, OpenCV with 1"


FORKED = """
import sys
from tests.training.data.test_loader import Forked, UserError, batches_of, make_shards

if __name__ == "__main__":
    try:
        batches_of(Forked(make_shards().videos, ["a", "b", "c"]), 1)
    except UserError as error:
        print(error)
"""


class Forked(FakeShards):
    def read_clip(self, entry: FakeVideo, indices: object) -> object:  # type: ignore[override]
        raise UserError(f"{len(os.listdir(f'/proc/{os.getppid()}/task'))} threads")


def test_loader_processes_are_forked_where_no_other_thread_may_hold_a_lock() -> None:
    """In a program of its own: what serves this one may have been started by another test, in another way."""
    told = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120, check=False)
    assert told.stdout == "1 threads\n", told.stderr


def test_threads_are_set_or_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    limit_threads(None)
    assert asked == []
    limit_threads(3)
    assert asked == [3]
    assert cv2.getNumThreads() == 1
