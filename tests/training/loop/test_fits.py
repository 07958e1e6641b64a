"""A state whose tensors are not those of the recipe's network is refused by name before training goes on."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.recognizer import save_plain
from kinebert.training.checkpoints.state import TrainState, about, content_of, load_state
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.loop.fits import check_fits, check_reached
from kinebert.training.loop.initial import initial_recognizer
from kinebert.training.loop.learner import Learner
from kinebert.training.loop.stages import plan_stages
from kinebert.training.models import Recognizer
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import STATE_FILE, EpochRow
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import recipe_with

Made = tuple[TrainState, TrainRecipe, Recognizer]


@pytest.fixture(scope="module")
def made() -> Made:
    """A state of a training with an average of the weights after one update, its recipe and a network without data."""
    recipe, shards = recipe_with(ema=0.9), make_shards()
    model = initial_recognizer(recipe, shards)[0]
    learner = Learner(recipe, model, WorkerContext(), ["a"])
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    learner.optimizer.step()
    state = TrainState(
        recipe=recipe.identity(), shards=about(shards), **learner.state(), epoch=0, step=1, sums=[1.0, 1.0, 1.0, 0.0],
        schedule={"scale": 1.0, "best": float("inf"), "bad_epochs": 0}, best=None, history=[],
    )  # fmt: skip
    with torch.device("meta"):
        return state, recipe, initial_recognizer(recipe, shards)[0]


@pytest.mark.parametrize(
    "optim",
    [
        {"name": "adam"},
        {"name": "sgd"},
        {"name": "sgd", "momentum": 0.0, "dampening": 0.0},
        {"name": "swats"},
        {"name": "adamw", "groups": {"head": {"lr_scale": 2.0}}},
    ],
)
def test_what_an_optimizer_keeps_fits_itself(optim: dict[str, Any], made: Made) -> None:
    """At the beginning, after updates, and where a parameter had no gradient yet."""
    state, recipe = made[0], recipe_with(ema=0.9, optim=optim)
    learner = Learner(recipe, initial_recognizer(recipe, make_shards())[0], WorkerContext(), ["a"])
    for _ in range(3):
        check_fits(replace(state, optimizer=learner.optimizer.state_dict()), recipe, learner.model, "s.pt")
        for parameter in list(learner.model.parameters())[1:]:
            parameter.grad = torch.ones_like(parameter)
        learner.optimizer.step()


def test_an_optimizer_that_has_switched_is_tried_as_it_is_now(made: Made) -> None:
    recipe = recipe_with(ema=0.9, optim={"name": "swats", "switch_tolerance": 1e9})
    learner = Learner(recipe, initial_recognizer(recipe, make_shards())[0], WorkerContext(), ["a"])
    kept = []
    for _ in range(4):
        for parameter in learner.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        learner.optimizer.step()
        kept.append(copy.deepcopy(learner.optimizer.state_dict()))
        check_fits(replace(made[0], optimizer=kept[-1]), recipe, learner.model, "s.pt")
    assert "momentum" in kept[-1]["state"][0]
    kept[-1]["state"] = kept[0]["state"]
    with pytest.raises(UserError, match="optimizer: 'momentum' of parameter 0 is not there"):
        check_fits(replace(made[0], optimizer=kept[-1]), recipe, learner.model, "s.pt")


def test_what_was_saved_fits(made: Made, tmp_path: Path) -> None:
    state, recipe, model = made
    check_fits(state, recipe, model, "s.pt")
    save_plain(str(tmp_path / STATE_FILE), content_of(state), "kinebert training state", 1)
    found = load_state(str(tmp_path))
    assert found is not None
    check_fits(found, recipe, model, "s.pt")


def _first(values: dict[str, Any]) -> str:
    return next(name for name, value in values.items() if value.ndim > 1)


def _squeeze(values: dict[str, Any], name: str) -> None:
    values[name] = values[name].flatten()[:1].repeat(7)


HARMS: dict[str, tuple[Callable[[TrainState], Any], str]] = {
    "a weight is gone": (lambda s: s.weights.pop(_first(s.weights)), "weights: .* is not there"),
    "a weight too many": (lambda s: s.weights.update(x=torch.ones(1)), "weights: 'x' is unknown"),
    "another shape": (lambda s: _squeeze(s.weights, _first(s.weights)), r"weights: .* of shape \(7,\), expected"),
    "integers": (
        lambda s: s.weights.update({_first(s.weights): s.weights[_first(s.weights)].int()}),
        "weights: .* is torch.int32",
    ),
    "no average": (lambda s: setattr(s, "average", None), "average: it is not there"),
    "average of another": (lambda s: _squeeze(s.average or {}, _first(s.average or {})), r"average: .*\(7,\)"),
    "no groups": (lambda s: s.optimizer.pop("param_groups"), "optimizer: param_groups: expected list"),
    "no state": (lambda s: s.optimizer.pop("state"), "optimizer: state: expected dict"),
    "fewer parameters": (lambda s: s.optimizer["param_groups"][0]["params"].pop(), "optimizer: its groups have"),
    "moments of another": (lambda s: _squeeze(s.optimizer["state"][0], "exp_avg"), "optimizer: 'exp_avg' of parameter"),
    "moments without one": (lambda s: s.optimizer["state"][1].pop("exp_avg_sq"), "optimizer: 'exp_avg_sq' of"),
    "word for a moment": (
        lambda s: s.optimizer["state"][1].update(exp_avg="x"), "optimizer: 'exp_avg' of parameter 1 is of type str"
    ),
    "one number for all": (lambda s: s.optimizer["state"][0].update(exp_avg=torch.ones(1)), r"optimizer: .*\(1,\)"),
    "many steps": (lambda s: s.optimizer["state"][0].update(step=torch.ones(2)), r"optimizer: 'step' .* one number"),
    "group without betas": (lambda s: s.optimizer["param_groups"][0].pop("betas"), "optimizer: the values .*betas"),
    "word in a group": (
        lambda s: s.optimizer["param_groups"][0].update(weight_decay="x"), "optimizer: the values of a group cannot"
    ),
    "word for a scale": (
        lambda s: s.optimizer["param_groups"][0].update(lr_scale="x"), "optimizer: the values of a group cannot"
    ),
    "scaler": (lambda s: setattr(s, "scaler", {"scale": 1.0}), "scaler: the key '_growth_tracker' is not there"),
    "two averages": (lambda s: (s.average or {}).update(n_averaged=torch.ones(2)), "average: 'n_averaged' is of shape"),
    "no such parameter": (lambda s: s.optimizer["state"].update({10**6: {"step": 1}}), "optimizer: state: there is no"),
    "schedule": (lambda s: s.schedule.pop("best"), "schedule: the key 'best' is not there"),
    "word in schedule": (lambda s: s.schedule.update(best="x"), "schedule: best: expected float, got 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_what_does_not_fit_is_named_with_the_way_out(harm: str, made: Made) -> None:
    state, recipe, model = made
    state = copy.deepcopy(state)
    spoil, reason = HARMS[harm]
    spoil(state)
    with pytest.raises(UserError, match=rf"^/r/state\.pt: .* choose another output folder .* Reason: {reason}") as told:
        check_fits(state, recipe, model, "/r/state.pt")
    assert "\n" not in str(told.value)


_ROW: EpochRow = {"epoch": 1, "val_top1": 0.5}
PROGRESS: dict[str, tuple[dict[str, Any], str]] = {
    "another stage": ({"stage": 1}, "it is of stage 2 of 1"),
    "epochs without numbers": ({"epoch": 2}, "it is of stage 1 of 1, after 2 epochs, with the numbers of 1"),
    "epochs beyond any memory": ({"epoch": 2**40}, "it is of stage 1 of 1, after 1099511627776 epochs"),
    "numbers of other epochs": ({"history": [{"epoch": 3, "val_top1": 0.5}]}, "it is of stage 1 of 1, after 1 epochs"),
    "too many steps": ({"step": 2**40}, f"{2**40} steps of an epoch are done, which has"),
    "too many sums": ({"sums": [0.0] * 9}, "sums: expected 4 numbers, got 9"),
    "steps without sums": ({"step": 1, "sums": []}, "sums: expected 4 numbers, got 0"),
    "no best": ({"best": None}, "there is no best epoch"),
    "a best to come": ({"best": {"epoch": 4, "val_top1": 0.5}}, "the best epoch is 4, and 1 are done"),
    "a best without accuracy": ({"best": {"epoch": 1}}, "there is no 'val_top1' among the numbers of epoch 1"),
    "an epoch without accuracy": ({"history": [{"epoch": 1}]}, "there is no 'val_top1' among the numbers of epoch 1"),
}


@pytest.mark.parametrize("harm", PROGRESS)
def test_progress_that_does_not_go_together_is_refused(harm: str, made: Made) -> None:
    stages = plan_stages(made[1], 16)
    state = replace(made[0], epoch=1, step=0, best=_ROW, history=[_ROW])
    check_reached(state, stages, "s.pt")
    check_reached(replace(state, best=None, taken_over=1), stages, "s.pt")
    changes, reason = PROGRESS[harm]
    with pytest.raises(UserError, match=rf"^s\.pt: .* choose another output folder .* Reason: {reason}"):
        check_reached(replace(state, **changes), stages, "s.pt")


@pytest.mark.parametrize("name", ["recipe", "shards", "best", "history", "schedule", "sums", "epoch"])
def test_a_tensor_in_the_place_of_a_plain_value_is_damage(name: str, made: Made, tmp_path: Path) -> None:
    tensor = torch.zeros(3)
    deep = {"history": [{"epoch": tensor}], "sums": [tensor], "epoch": tensor}.get(name, {"epoch": 1, "x": [tensor]})
    save_plain(str(tmp_path / STATE_FILE), {**content_of(made[0]), name: deep}, "kinebert training state", 1)
    with pytest.raises(
        UserError, match=rf"state\.pt: the saved state is damaged.*{name}.*got a tensor of shape \(3,\)"
    ):
        load_state(str(tmp_path))


@pytest.mark.parametrize("name", list(TrainState.__dataclass_fields__))
def test_every_field_of_a_saved_state_has_its_type(name: str, made: Made, tmp_path: Path) -> None:
    for value in ("a word", [["x"]], -3):
        content = {**content_of(made[0]), name: value}
        save_plain(str(tmp_path / STATE_FILE), content, "kinebert training state", 1)
        with pytest.raises(UserError, match=rf"state\.pt: the saved state is damaged.*{name}.* Delete it to train"):
            load_state(str(tmp_path))


def test_missing_unknown_and_deep_values_are_damage(made: Made, tmp_path: Path) -> None:
    deep: Any = 0
    for _ in range(300):
        deep = [deep]
    content = content_of(made[0])
    for spoilt, reason in (
        ({**content, "recipe": {"x": deep}}, "nested too deeply"),
        ({**content, "later": 1}, "unknown key 'later'"),
        ({key: value for key, value in content.items() if key != "history"}, "the key 'history' of TrainState"),
    ):
        save_plain(str(tmp_path / STATE_FILE), spoilt, "kinebert training state", 1)
        with pytest.raises(UserError, match=reason):
            load_state(str(tmp_path))
