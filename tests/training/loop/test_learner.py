"""Every option of a training: what it does, and that a killed run goes on to the same bits with it."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.checkpoints.state import load_state
from kinebert.training.data.batches import Batch
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.loop.events import LeftOut, StoppedEarly
from kinebert.training.loop.learner import Learner
from kinebert.training.models import build_recognizer
from kinebert.training.numerics import deterministic
from kinebert.training.run_folder import number_of
from tests.helpers.small_training import Killed, numbers, poison, recipe_with, run, weights_of

OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {"optim": {"name": "sgd", "lr": 0.01, "dampening": 0.9}},
    "adam": {"optim": {"name": "adam", "decay_norms": False, "lr_batch": 4}},
    "swats before its switch": {"optim": {"name": "swats"}},
    "swats after its switch": {"optim": {"name": "swats", "switch_tolerance": 1.0}},
    "groups": {"optim": {"groups": {"backbone": {"lr_scale": 0.1}, "head": {"weight_decay": 0.0}}}},
    "frozen": {"optim": {"frozen": ["backbone.stem", "backbone.layer1"]}},
    "halves, layers, crops and augmentation": {
        "data": {"crop": "resized", "augment": {"randaugment": 2, "brightness": 0.4, "hue": 0.1, "erase": 0.5}},
        "optim": {
            "schedule": "cosine",
            "frozen": ["backbone.layer[12]"],
            "layers": [{"match": "backbone.*", "lr_scale": 0.2}, {"match": "backbone.layer4.*", "lr_scale": 0.01}],
            "warmup_steps": 2,
            "warmup_from": 0.1,
            "cosine_from": "warmup",
        },
    },
    "multistep, warm-up": {"optim": {"schedule": "multistep", "milestones": [1], "warmup_epochs": 1.5}},
    "plateau of top-1": {"optim": {"monitor": "top1", "patience": 0}},
    "mixup and cutmix": {"mixing": {"mixup": 0.4, "cutmix": 1.0}},
    "average": {"ema": 0.8},
    "float64, channels last": {"amp": "fp64", "channels_last": True, "deterministic": True},
}


SLOW_OPTIONS: dict[str, dict[str, Any]] = {
    "bf16": {"amp": "bf16", "ema": 0.5, "mixing": {"cutmix": 1.0}, "data": {"crop_size": 64}},
    "compiled": {"compile": True, "model": {"head": "bert", "dropout": 0.5}},
}
SLOW = [pytest.param(option, marks=pytest.mark.slow) for option in SLOW_OPTIONS]


@pytest.mark.parametrize("option", [*OPTIONS, *SLOW])
def test_a_killed_run_goes_on_to_the_same_bits(option: str, tmp_path: Path) -> None:
    recipe = recipe_with(epochs=2, **{**OPTIONS, **SLOW_OPTIONS}[option])
    whole, _ = run(recipe, tmp_path / "whole")
    for die_at in (3, 4):  # in the first epoch, and when it goes on in the second
        with pytest.raises(Killed):
            run(recipe, tmp_path / "cut", die_at=die_at)
    cut, events = run(recipe, tmp_path / "cut")
    assert events[0].resumed == (1, 1)
    assert numbers(cut.history) == numbers(whole.history)
    for kind in ("weights", "average"):
        found, expected = (getattr(load_state(str(tmp_path / name)), kind) for name in ("cut", "whole"))
        assert (found is None) == (expected is None) == (kind == "average" and not recipe.ema)
        assert all(torch.equal(value, expected[name]) for name, value in (found or {}).items())
    if option.startswith("swats"):
        since = number_of(whole.history[-1], "lr_sgd_since_step")
        assert since is not None
        assert (since > 0) == ("after" in option)


def test_frozen_stages_keep_weights_and_statistics(tmp_path: Path) -> None:
    run(recipe_with(epochs=1, optim={"frozen": ["backbone.layer1"]}), tmp_path / "frozen")
    torch.manual_seed(0)
    fresh = build_recognizer(
        backbone="resnet18", width=0.125, dropout=0.2, num_classes=3, clip_length=4, size=16
    ).state_dict()
    same = {name for name, value in weights_of(tmp_path / "frozen").items() if torch.equal(value, fresh[name])}
    assert {name for name in fresh if name.startswith("backbone.layer1")} <= same
    assert not any(name.startswith(("backbone.layer2", "classifier")) for name in same)
    with pytest.raises(ConfigError, match=r"optim.frozen: the recognizer has no module 'backbone.stage1'"):
        run(recipe_with(optim={"frozen": ["backbone.stage1"]}), tmp_path / "misspelt")


def test_the_average_is_what_is_validated_and_saved(tmp_path: Path) -> None:
    summary, _ = run(recipe_with(epochs=2, ema=0.9), tmp_path)
    state = load_state(str(tmp_path))
    assert state is not None
    assert state.average is not None
    last, info = load_recognizer(str(tmp_path / "last.pt"))
    for name, value in last.state_dict().items():
        assert torch.equal(value, state.average[f"module.{name}"])
    assert any(not torch.equal(value, state.weights[name]) for name, value in last.state_dict().items())
    plain, _ = run(recipe_with(epochs=2), tmp_path / "plain")
    assert [row["train_loss"] for row in plain.history] == [row["train_loss"] for row in summary.history]
    assert plain.history[-1]["val_loss"] != summary.history[-1]["val_loss"] == info.metrics["val_loss"]


def test_a_broken_batch_stops_before_the_update_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = poison(monkeypatch, "v005")
    with pytest.raises(UserError, match=r"epoch 1, step \d: the loss is nan in the clips of .*v005") as caught:
        run(recipe_with(), tmp_path, shards)
    assert len(str(caught.value).split(";")[0].split(",")) <= 6  # one micro-batch of four, not all of the batch
    state = load_state(str(tmp_path))
    assert state is None or all(value.isfinite().all() for value in state.weights.values())


def test_skip_leaves_broken_batches_out_and_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = poison(monkeypatch, "v005")
    recipe = recipe_with(non_finite="skip", ema=0.5, epochs=2)
    summary, events = run(recipe, tmp_path / "whole", shards)
    left_out = [event for event in events if isinstance(event, LeftOut)]
    assert [row["skipped"] for row in summary.history] == [1, 1]  # an epoch has every video once
    assert len(left_out) == 2
    assert all("v005" in event.reason for event in left_out)
    for weights in (weights_of(tmp_path / "whole"), load_recognizer(summary.checkpoint)[0].state_dict()):
        assert all(value.isfinite().all() for value in weights.values())
    assert all(math.isfinite(row["train_loss"]) for row in summary.history)
    with pytest.raises(Killed):
        run(recipe, tmp_path / "cut", shards, die_at=6)
    cut, _ = run(recipe, tmp_path / "cut", shards)
    assert numbers(cut.history) == numbers(summary.history)


def test_a_run_that_stopped_may_go_on_with_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = poison(monkeypatch, "v005")
    with pytest.raises(UserError, match='or non_finite = "skip" to leave such updates out'):
        run(recipe_with(), tmp_path, shards)
    summary, _ = run(recipe_with(non_finite="skip"), tmp_path, shards)
    assert len(summary.history) == 3


def test_an_epoch_without_an_update_ends_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = poison(monkeypatch, *(f"v{i:03d}" for i in range(24)))
    with pytest.raises(UserError, match="epoch 1: every update was left out"):
        run(recipe_with(non_finite="skip"), tmp_path, shards)


def test_early_stop(tmp_path: Path) -> None:
    hopeless = recipe_with(epochs=9, early_stop=2, optim={"lr": 1e-12, "schedule": "constant"}, ema=0.0)
    summary, events = run(hopeless, tmp_path)
    assert len(summary.history) == summary.best["epoch"] + 2 < 9
    assert events[-1] == StoppedEarly(epoch=len(summary.history), best_epoch=summary.best["epoch"])
    assert (tmp_path / "last.pt").exists()
    again, _ = run(hopeless, tmp_path)
    assert len(again.history) == len(summary.history)
    more, _ = run(recipe_with(epochs=9, early_stop=0, optim={"lr": 1e-12, "schedule": "constant"}), tmp_path)
    assert len(more.history) == 9


def test_double_precision_is_double_throughout(tmp_path: Path) -> None:
    run(recipe_with(epochs=1, amp="fp64"), tmp_path)
    assert {value.dtype for value in weights_of(tmp_path).values() if value.is_floating_point()} == {torch.float64}


def test_channels_last_changes_the_layout_and_not_the_numbers(tmp_path: Path) -> None:
    plain, _ = run(recipe_with(epochs=1, amp="fp64", model={"backbone": "r2plus1d_18"}), tmp_path / "plain")
    last, _ = run(recipe_with(epochs=1, amp="fp64", model={"backbone": "r2plus1d_18"}, channels_last=True), tmp_path)
    assert last.history[0]["val_loss"] == pytest.approx(plain.history[0]["val_loss"], rel=1e-6)
    assert last.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=1e-6)


def test_deterministic_mode_is_left_again(tmp_path: Path) -> None:
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_norms_are_synchronised_on_gpus_only() -> None:
    from kinebert.training.numerics import prepare

    model = build_recognizer(backbone="resnet18", width=0.125, num_classes=3, clip_length=4, size=16)
    with pytest.raises(ConfigError, match="sync_norm = true needs GPUs"):
        prepare(copy.deepcopy(model), recipe_with(sync_norm=True), torch.device("cpu"), 2)
    assert (
        prepare(model, recipe_with(sync_norm=True), torch.device("cpu"), 1) is model
    )  # one worker has nothing to share


@pytest.mark.slow
def test_compiled_it_learns_the_same(tmp_path: Path) -> None:
    plain, _ = run(recipe_with(epochs=1, model={"dropout": 0.0, "head": "tgap"}), tmp_path / "plain")
    compiled, _ = run(
        recipe_with(epochs=1, model={"dropout": 0.0, "head": "tgap"}, compile=True), tmp_path / "compiled"
    )
    assert compiled.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=1e-3)
    assert set(weights_of(tmp_path / "compiled")) == set(weights_of(tmp_path / "plain"))


def test_an_overflow_of_float16_lowers_the_scale_and_leaves_the_update_out() -> None:
    torch.manual_seed(0)
    model = build_recognizer(backbone="resnet18", width=0.125, num_classes=3, clip_length=4, size=16)
    learner = Learner(recipe_with(micro_batch=8), model, WorkerContext(), [f"v{i}" for i in range(8)])
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, growth_interval=10**6)
    clips = torch.randint(0, 256, (8, 4, 16, 16, 3), dtype=torch.uint8)
    batch = Batch(clips, torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]), torch.arange(8))
    before = model.classifier.weight.clone()
    learner.start_epoch()
    done = learner.step(iter([batch]), 0, 0, 1e-3)
    assert "float16 overflowed" in done.left_out
    assert torch.equal(model.classifier.weight, before)
    assert learner.scaler.get_scale() == 2.0**125
    for step in range(1, 120):
        done = learner.step(iter([batch]), 0, step, 1e-3)
        if not done.left_out:
            break
    assert not torch.equal(model.classifier.weight, before)
    assert math.isfinite(done.loss)


def learner_of(micro_batch: int, **changes: Any) -> Learner:
    """One whose batch norms see no batch, so that only the sums of a step are left to differ."""
    torch.manual_seed(0)
    model = build_recognizer(
        backbone="resnet18", head="tgap", width=0.125, num_classes=3, clip_length=4, size=16, dropout=0.0
    )
    optim = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "frozen": ["backbone"], **changes}
    recipe = recipe_with(amp="fp64", batch_size=8, micro_batch=micro_batch, optim=optim)
    learner = Learner(recipe, model, WorkerContext(), [f"v{i}" for i in range(8)])
    learner.start_epoch()
    return learner


def batches_of(size: int) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    clips = torch.randint(0, 256, (8, 4, 16, 16, 3), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    for part in torch.arange(8).split(size):
        yield Batch(clips[part], labels[part], part)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_step_does_not_depend_on_the_cut_into_micro_batches(size: int) -> None:
    whole, cut = learner_of(8), learner_of(size)
    expected, found = whole.step(batches_of(8), 0, 0, 0.1), cut.step(batches_of(size), 0, 0, 0.1)
    numbers_of = [(done.loss, done.grad_norm, done.num_right, done.num_clips) for done in (expected, found)]
    assert numbers_of[1] == pytest.approx(numbers_of[0], rel=1e-9)
    for name, value in whole.model.named_parameters():
        torch.testing.assert_close(cut.model.get_parameter(name), value)


def test_a_step_says_what_was_before_the_update_and_limits_the_gradient() -> None:
    learner = learner_of(8, max_grad_norm=0.01, weight_decay=0.0)
    (batch,) = batches_of(8)
    with torch.no_grad():
        logits_NK = learner.model(to_device_batch(batch.clips, learner.model.spec, torch.device("cpu")))
    before = copy.deepcopy(learner.model.state_dict())
    done = learner.step(iter([batch]), 0, 0, 0.1)
    assert done.loss == pytest.approx(float(F.cross_entropy(logits_NK, batch.labels)))
    assert done.num_right == int((logits_NK.argmax(1) == batch.labels).sum())
    assert done.grad_norm > 0.01
    moved = [(value - before[name]).square().sum() for name, value in learner.model.state_dict().items()]
    assert math.sqrt(float(sum(moved))) == pytest.approx(0.1 * 0.01, rel=1e-3)
