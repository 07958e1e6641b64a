"""The same training on a GPU: it learns in half precision, and a state moves between devices."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.training.checkpoints.state import load_state
from kinebert.training.loop.events import StepDone
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.optim import MixRecipe
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, OptimRecipe, TrainRecipe
from tests.helpers.fake_shards import make_shards
from tests.helpers.requirements import needs

pytestmark = [
    pytest.mark.gpu,
    needs("gpu", torch.cuda.is_available(), "there is no CUDA device"),
]

RECIPE = TrainRecipe(
    data=DataRecipe(shards="/fake/set", clip_length=4, crop_size=16),
    model=ModelRecipe(backbone="resnet18", head="bert", width=0.125, dropout=0.2),
    optim=OptimRecipe(lr=3e-3),
    batch_size=8,
    micro_batch=4,
    epochs=10,
)


def run(recipe: TrainRecipe, output: Path, device: str = "cuda") -> Any:
    events: list[Any] = []
    worker = WorkerContext(device=torch.device(device))
    return train(recipe, make_shards(), worker, str(output), events.append), events


@pytest.mark.parametrize("amp", ["auto", "fp16", "off"])
def test_it_learns(amp: str, tmp_path: Path) -> None:
    summary, _ = run(replace(RECIPE, amp=amp, loader_workers=1 if amp == "auto" else 0), tmp_path)  # type: ignore[arg-type]
    assert summary.best["val_top1"] == 1.0
    state = load_state(str(tmp_path))
    assert state is not None
    assert (state.scaler is not None) == (amp == "fp16")
    assert {value.dtype for value in state.weights.values() if value.is_floating_point()} == {torch.float32}


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    recipe = replace(RECIPE, amp="off", deterministic=True, epochs=3)
    whole, events = run(recipe, tmp_path / "whole")
    assert events[0].computed_in == "float32, TF32 in nothing, same bits, fused adamw"
    run(replace(recipe, epochs=2), tmp_path / "cut")
    cut, _ = run(recipe, tmp_path / "cut")
    assert [row["train_loss"] for row in cut.history] == [row["train_loss"] for row in whole.history]
    states = [load_state(str(tmp_path / name)) for name in ("whole", "cut")]
    assert all(torch.equal(value, states[1].weights[name]) for name, value in states[0].weights.items())  # type: ignore[union-attr]


def test_waiting_is_measured_on_the_device(tmp_path: Path) -> None:
    _, events = run(replace(RECIPE, epochs=1), tmp_path)
    assert all(0 <= event.data_wait <= 1 for event in events if isinstance(event, StepDone))


def test_what_a_gpu_began_goes_on_on_a_cpu_and_back(tmp_path: Path) -> None:
    recipe = replace(RECIPE, amp="off")
    for epochs, device in [(2, "cuda"), (3, "cpu"), (4, "cuda")]:
        summary, events = run(replace(recipe, epochs=epochs), tmp_path, device)
        assert events[0].resumed == (None if epochs == 2 else (epochs - 1, 0))
    whole, _ = run(replace(recipe, epochs=4), tmp_path / "whole")
    assert summary.history[0]["train_loss"] == pytest.approx(whole.history[0]["train_loss"], rel=1e-3)
    assert [row["epoch"] for row in summary.history] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"amp": "bf16", "channels_last": True, "ema": 0.5},
        {"amp": "fp16", "non_finite": "skip", "ema": 0.5, "mixing": MixRecipe(mixup=0.2, cutmix=1.0)},
        {"amp": "off", "deterministic": True},
        {"amp": "fp64", "optim": OptimRecipe(name="swats", lr=3e-3, switch_tolerance=1.0)},
        {"amp": "tf32", "optim": OptimRecipe(name="sgd", lr=3e-3)},
        {"compile": True, "ema": 0.5, "eval_batch": 5},
        {"compile": True, "model": replace(RECIPE.model, checkpointing=True)},
    ],
    ids=lambda change: ", ".join(change),
)
def test_options_on_a_gpu(change: dict[str, Any], tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=2, **change)
    whole, _ = run(recipe, tmp_path)
    assert all(math.isfinite(row["val_loss"]) for row in whole.history)
    if recipe.deterministic:
        again, _ = run(recipe, tmp_path / "again")
        assert [row["train_loss"] for row in again.history] == [row["train_loss"] for row in whole.history]
