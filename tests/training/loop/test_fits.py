"""A state whose tensors are not those of the recipe's network is refused by name before training goes on."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.checkpoints.recognizer import save_plain
from kinebert.training.checkpoints.state import TrainState, about, content_of, load_state
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.loop.fits import check_fits
from kinebert.training.loop.initial import initial_recognizer
from kinebert.training.loop.learner import Learner
from kinebert.training.models import Recognizer
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import STATE_FILE
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
