"""Memory for batches of loader processes: by formula, against what is free, and what is said when there is none."""

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.data import shared_memory
from kinebert.training.data.batches import in_batches
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import ClipLoader
from kinebert.training.data.shared_memory import (
    bytes_needed,
    clip_bytes,
    free_bytes,
    lacks_shared_memory,
    loaders_that_fit,
)
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.loop.loop import train
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from tests.helpers.fake_shards import FakeShards, FakeVideo, make_shards

DATA = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)


def test_bytes_are_those_of_the_batches_ahead() -> None:
    shards = make_shards()
    videos = shards.select("split1", "val")
    item = ClipDataset(shards, videos, DATA)[(0, 0)][0]
    assert isinstance(item, np.ndarray)
    assert clip_bytes(shards, videos, DATA) == item.nbytes == 4 * 16 * 16 * 3
    assert clip_bytes(shards, videos, DATA, crop_size=24) == 4 * 24 * 24 * 3
    on_device = replace(DATA, resize_on="device")
    side = min(shards.read_clip(videos[0], [0]).shape[1:3])
    assert clip_bytes(shards, videos, on_device) == 4 * side * side * 3
    height, width = shards.read_clip(videos[0], [0]).shape[1:3]
    assert clip_bytes(shards, videos, replace(on_device, crop="resized")) == 4 * height * width * 3  # up to all of it
    i3d = 8 * 64 * 224 * 224 * 3  # a micro-batch of I3D: 77 MB
    assert bytes_needed(16, i3d, 8) == 8 * 33 * i3d
    assert 20e9 < bytes_needed(16, i3d, 8) < 21e9
    assert bytes_needed(0, i3d, 8) == 0


def test_what_does_not_fit_is_lowered_or_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: float(64 * 2**20))  # what containers have
    assert loaders_that_fit(2, 2, 10**6) == (2, "")
    fewer, note = loaders_that_fit("auto", 11, 3 * 10**6, 2)
    assert fewer == 5  # 2 x 11 batches of 3 MB
    assert bytes_needed(5, 3 * 10**6, 2) <= 64 * 2**20 < bytes_needed(6, 3 * 10**6, 2)
    assert note.startswith("/dev/shm of this machine has 0.06 GiB free; 11 loader processes for each of 2 workers need")
    assert "2 x (2 x 11 + 1) batches of 3.0 MB), so that 5 are started." in note
    assert "--shm-size" in note
    assert loaders_that_fit("auto", 11, 10**9)[0] == 0
    with pytest.raises(UserError, match=r"4 loader processes for each of 1 worker need .*--shm-size.*_workers = 1"):
        loaders_that_fit(4, 4, 20 * 10**6)


def test_where_memory_is_not_limited_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes() > 0
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", "/no/such/folder")
    assert loaders_that_fit(4, 4, 10**15) == (4, "")


def test_a_training_looks_before_it_begins(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the larger batch, that of the validation, for every process of the node."""
    data = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)
    model = ModelRecipe(backbone="resnet18", head="tgap", width=0.125)
    recipe = TrainRecipe(data=data, model=model, batch_size=4, micro_batch=2, eval_batch=3, loader_workers=2)
    need = bytes_needed(2, 3 * 4 * 16 * 16 * 3, 4)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: float(need - 1))
    with pytest.raises(UserError, match="2 loader processes for each of 4 workers need"):
        train(recipe, make_shards(), WorkerContext(node_processes=4), str(tmp_path), lambda _: None)


class Starving(FakeShards):  # at the top level, so that another process can unpickle it
    def read_clip(self, entry: FakeVideo, indices: Sequence[int]) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGBUS)  # what the kernel does where a page of /dev/shm cannot be had
        return super().read_clip(entry, indices)


def load() -> str:
    shards = Starving(make_shards().videos, ["a", "b", "c"])
    dataset = ClipDataset(shards, shards.select("split1", "val"), DATA)
    with pytest.raises(UserError) as caught:
        list(ClipLoader(dataset, in_batches(dataset.test_keys(range(4)), 2), 1, torch.device("cpu")))
    return str(caught.value)


@pytest.mark.parametrize("in_main", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_bus_error_of_a_loader_says_what_to_set(in_main: bool) -> None:
    """Ray Train runs the loop in a thread, where torch does not learn which signal it was."""
    told: list[str] = []
    if in_main:
        told.append(load())
    else:
        thread = threading.Thread(target=lambda: told.append(load()))
        thread.start()
        thread.join()
    assert told[0].startswith("a loader process found no room for its batch in /dev/shm, of which ")
    assert "--shm-size" in told[0]
    assert "lower loader_workers" in told[0]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (RuntimeError("DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that ..."), True),
        (RuntimeError("unable to write to file </torch_5_7_0>: No space left on device (28)"), True),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_5>: Success (0)"), True),
        (RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed."), False),
        (ValueError("Bus error"), False),
    ],
)
def test_what_torch_says(error: Exception, is_it: bool) -> None:
    assert lacks_shared_memory(error) is is_it
