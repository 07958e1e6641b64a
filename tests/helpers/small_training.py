"""A training of seconds on fake clips, on one worker or as one of several, and ways to end it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.training.checkpoints.state import load_state
from kinebert.training.data import transforms
from kinebert.training.loop import learner
from kinebert.training.loop.events import Event
from kinebert.training.loop.loop import TrainSummary, WorkerContext, train
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import EpochRow
from tests.helpers.fake_shards import FakeShards, FakeVideo, make_shards

PLAIN: dict[str, Any] = {
    "data": {"shards": "/fake/set", "clip_length": 4, "crop_size": 16},
    "model": {"backbone": "resnet18", "head": "bert", "width": 0.125, "dropout": 0.2},
    "optim": {"lr": 3e-3},
    "batch_size": 8,
    "micro_batch": 4,
    "epochs": 3,
    "save_every_s": 0,
}


class Killed(BaseException):
    pass


def recipe_with(**changes: Any) -> TrainRecipe:
    """The recipe of PLAIN with some keys changed; a table's keys are added to those that it has."""
    plain = {**PLAIN}
    for key, value in changes.items():
        plain[key] = {**plain.get(key, {}), **value} if isinstance(value, dict) else value
    return from_mapping(TrainRecipe, plain, "test")


def run(
    recipe: TrainRecipe,
    output: Path,
    shards: FakeShards | None = None,
    die_at: int | None = None,
    worker: WorkerContext | None = None,
) -> tuple[TrainSummary, list[Any]]:
    """Train; die without a goodbye at event number ``die_at``. Returns the summary and the events."""
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if len(events) - 1 == die_at:
            raise Killed

    summary = train(recipe, shards or make_shards(), worker or WorkerContext(num_threads=1), str(output), emit)
    return summary, events


def weights_of(output: Path) -> dict[str, torch.Tensor]:
    state = load_state(str(output))
    assert state is not None
    return state.weights


def kinds(events: Sequence[Event]) -> list[str]:
    """The classes of events, by name."""
    return [type(event).__name__ for event in events]


def numbers(history: Sequence[EpochRow]) -> list[dict[str, Any]]:
    """Rows of a history without what a clock measures."""
    return [{key: value for key, value in row.items() if key not in ("seconds", "clips_per_s")} for row in history]


@dataclass
class PoisonedShards(FakeShards):
    """The clips of some videos are white; :func:`poison` makes them infinite on the device."""

    poisoned: list[str] = field(default_factory=list)

    def read_clip(self, entry: FakeVideo, indices: Any) -> NDArray[np.uint8]:
        clip_THWC = super().read_clip(entry, indices)
        return np.full_like(clip_THWC, 255) if entry.video_id in self.poisoned else clip_THWC


def poison(monkeypatch: pytest.MonkeyPatch, *videos: str) -> PoisonedShards:
    """Make the clips of ``videos`` infinite from here on."""
    move = transforms.to_device_batch

    def to_device_batch(clips_NTHWC: Tensor, *args: Any) -> Tensor:
        x_NCTHW = move(clips_NTHWC, *args)
        x_NCTHW[clips_NTHWC.amin(dim=(1, 2, 3, 4)) == 255] = float("inf")
        return x_NCTHW

    monkeypatch.setattr(learner, "to_device_batch", to_device_batch)
    plain = make_shards()
    return PoisonedShards(plain.videos, plain.classes, poisoned=list(videos))
