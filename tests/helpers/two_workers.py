"""One process of a training of two: ``python -m tests.helpers.two_workers RANK RENDEZVOUS_FILE OUTPUT``."""

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.training.loop.events import Event, Started, StepDone
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.fake_shards import FakeShards, FakeVideo, make_shards

RECIPE = from_mapping(
    TrainRecipe,
    {
        "data": {"shards": "/fake/set", "clip_length": 4, "crop_size": 16},
        "model": {"backbone": "resnet18", "head": "bert", "width": 0.125, "dropout": 0.2},
        "optim": {"lr": 1e-3},
        "batch_size": 8,
        "micro_batch": 2,
        "epochs": 2,
        "save_every_s": 0,
    },
    "test",
)


class Killed(BaseException):
    pass


class Recorder(FakeShards):
    """Writes down which videos are read, with which images."""

    read: list[list[Any]]

    def read_clip(self, entry: FakeVideo, indices: Any) -> NDArray[np.uint8]:
        self.read.append([entry.video_id, [int(i) for i in indices]])
        return super().read_clip(entry, indices)


def run(rank: int, world_size: int, output: str, die_at: int | None = None) -> dict[str, Any]:
    """Train; return what was read for each step, and what was reported."""
    steps: list[list[Any]] = []
    events: list[Event] = []
    plain = make_shards()
    shards = Recorder(**{field.name: getattr(plain, field.name) for field in fields(plain)})
    shards.read = []

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepDone):
            steps.append(shards.read)
        shards.read = []
        if len(events) - 1 == die_at:
            raise Killed

    worker = WorkerContext(rank=rank, world_size=world_size, num_threads=1)
    summary = train(RECIPE, shards, worker, output, emit)
    assert isinstance(events[0], Started)
    return {"steps": steps, "history": summary.history, "resumed": events[0].resumed}


def main(rank: int, rendezvous: str, output: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    report = run(rank, 2, f"{output}/whole")
    Path(f"{output}/rank{rank}.json").write_text(json.dumps(report))
    try:
        run(rank, 2, f"{output}/killed", die_at=2)
    except Killed:
        os._exit(0)  # as a kill ends it: gloo's threads may not like to be taken apart in the middle


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
