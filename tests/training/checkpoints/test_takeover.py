"""A training that goes on from another's weights with other values."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.checkpoints.state import load_state, save_state
from kinebert.training.checkpoints.takeover import take_over
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, OptimRecipe, TrainRecipe
from tests.helpers.fake_shards import make_shards

RECIPE = TrainRecipe(
    data=DataRecipe(shards="/fake/set", clip_length=4, crop_size=24),
    model=ModelRecipe(backbone="resnet18", head="tgap", width=0.125, dropout=0.2),
    optim=OptimRecipe(lr=1e-3, weight_decay=0.01),
    batch_size=8,
    micro_batch=8,
    epochs=3,
)


def test_weights_are_the_others_and_the_values_its_own(tmp_path: Path) -> None:
    shards, worker = make_shards(16, 6), WorkerContext(num_threads=1)
    donor, taker = str(tmp_path / "donor"), str(tmp_path / "taker")
    train(RECIPE, shards, worker, donor, lambda _: None, pause_after=1)
    state = load_state(donor)
    assert state is not None
    assert (state.epoch, len(state.history)) == (1, 1)
    optim = replace(RECIPE.optim, lr=5e-3, weight_decay=0.2, betas=(0.8, 0.99))
    recipe = replace(RECIPE, optim=optim, seed=7, label_smoothing=0.1, keep_best=2)
    state.history[0].update({"val_top1": 1.0, "val_loss": 0.0})  # no later epoch will be as good
    taken = take_over(state, recipe)
    assert [group["weight_decay"] for group in state.optimizer["param_groups"]] == [0.01]  # the donor's is as it was
    assert [group["weight_decay"] for group in taken.optimizer["param_groups"]] == [0.2]
    assert taken.optimizer["param_groups"][0]["betas"] == (0.8, 0.99)
    assert taken.best is None
    tmp_path.joinpath("taker").mkdir()
    save_state(taker, taken)
    events: list[Any] = []
    summary = train(recipe, shards, worker, taker, events.append)
    assert events[0].resumed == (1, 0)
    assert [row["epoch"] for row in summary.history] == [1, 2, 3]
    assert summary.history[1]["lr"] == pytest.approx(5e-3)
    assert summary.best["epoch"] in (2, 3)
    assert load_recognizer(summary.checkpoint)[1].epoch == summary.best["epoch"]
    assert sorted(path.name for path in Path(taker).glob("epoch-*.pt")) == ["epoch-0002.pt", "epoch-0003.pt"]
    unchanged = load_state(donor)
    assert unchanged is not None
    assert all(torch.equal(value, taken.weights[name]) for name, value in unchanged.weights.items())


def test_a_group_that_says_something_else_keeps_it(tmp_path: Path) -> None:
    shards = make_shards(16, 6)
    recipe = replace(RECIPE, optim=replace(RECIPE.optim, decay_norms=False))
    train(recipe, shards, WorkerContext(num_threads=1), str(tmp_path), lambda _: None, pause_after=1)
    state = load_state(str(tmp_path))
    assert state is not None
    changed = take_over(state, replace(recipe, optim=replace(recipe.optim, weight_decay=0.5)))
    assert sorted(group["weight_decay"] for group in changed.optimizer["param_groups"]) == [0.0, 0.5]
