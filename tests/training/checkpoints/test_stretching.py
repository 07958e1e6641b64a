"""Cosine schedules that get another end while they are followed."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import parse_toml, to_plain, to_toml
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.state import TrainState, load_state
from kinebert.training.checkpoints.stretching import stretch
from kinebert.training.optim.schedule import Schedule
from kinebert.training.recipe.optim import OptimRecipe
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.small_training import Killed, numbers, recipe_with, run, weights_of

RECIPE = recipe_with(optim={"lr": 3e-3, "schedule": "cosine"}, epochs=4)


def rates(epochs: int, *stretched: tuple[int, int], steps_per_epoch: int = 2) -> list[float]:
    recipe = OptimRecipe(lr=1.0, schedule="cosine", stretched=stretched)
    schedule = Schedule(recipe, steps_per_epoch, epochs)
    return [schedule.lr(step) for step in range(steps_per_epoch * epochs + 1)]


def cosine(share: float) -> float:
    """By hand: from 1 at the curve's beginning to 0 at its end."""
    return 0.5 + 0.5 * math.cos(math.pi * share)


def test_what_is_left_of_the_curve_ends_with_the_new_number_of_epochs() -> None:
    longer, shorter = rates(6, (2, 4)), rates(3, (2, 4))
    assert longer[:5] == shorter[:5] == rates(4)[:5], "until the bend, to the bit"
    left = [1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1.0]  # half of the curve is left: 1/2 + 1/2 of these
    assert longer[5:] == pytest.approx([cosine(0.5 + share / 2) for share in left])
    assert shorter[5:] == pytest.approx([cosine(0.75), 0.0], abs=1e-15)


def test_a_stretched_curve_can_be_stretched_again() -> None:
    twice = rates(10, (2, 4), (4, 6))
    assert twice[:9] == rates(6, (2, 4))[:9]
    assert twice[8] == pytest.approx(cosine(0.75)), "2 of the 4 epochs after the first bend, which had half of it left"
    assert twice[14] == pytest.approx(cosine(0.875)), "3 of 6 epochs with a quarter left"
    assert twice[-1] == pytest.approx(0, abs=1e-15)
    assert all(a >= b for a, b in itertools.pairwise(twice))


def test_a_curve_without_a_bend_has_the_bits_that_it_always_had() -> None:
    expected = [0.5 * (1 + math.cos(math.pi * min(step, 14) / 14)) for step in range(15)]
    assert rates(7) == expected


@pytest.mark.parametrize("die_at", [2, 4, 6])
def test_it_goes_on_to_the_weights_of_a_run_with_that_recipe(die_at: int, tmp_path: Path) -> None:
    """Killed within an epoch (events 2 and 6 are steps) or between two, and once more after the stretch."""
    with pytest.raises(Killed):
        run(RECIPE, tmp_path / "cut", die_at=die_at)
    state = load_state(str(tmp_path / "cut"))
    assert state is not None
    asked = replace(RECIPE, epochs=3)
    recipe = stretch(asked, state, "cut")
    bend = 1 if die_at < 5 else 2
    assert recipe.optim.stretched == ((bend, 4),)
    with pytest.raises(Killed):
        run(recipe, tmp_path / "cut", die_at=5)
    state = load_state(str(tmp_path / "cut"))
    assert state is not None
    assert stretch(asked, state, "cut") == recipe, "the same command again"
    summary, _ = run(recipe, tmp_path / "cut")
    whole, _ = run(
        from_mapping(TrainRecipe, parse_toml(to_toml(to_plain(recipe)).encode(), ""), ""), tmp_path / "whole"
    )
    assert numbers(summary.history) == numbers(whole.history)
    ours, theirs = weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_without_the_request_it_is_refused_with_the_reason_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(RECIPE, tmp_path, die_at=4)
    with pytest.raises(UserError) as refused:
        run(replace(RECIPE, epochs=3), tmp_path)
    told = str(refused.value)
    assert "recipe.epochs: 4 != 3" in told
    assert "cosine, which falls to 0 by the last epoch" in told
    assert "another folder" in told
    assert "--stretch-schedule" in told
    run(RECIPE, tmp_path)
    with pytest.raises(UserError, match=r"or start there from these weights \(model\.weights = its last\.pt\)"):
        run(replace(RECIPE, epochs=9), tmp_path)
    for other in (replace(RECIPE, seed=1), replace(RECIPE, optim=replace(RECIPE.optim, schedule="plateau"))):
        with pytest.raises(UserError) as refused:
            run(other, tmp_path)
        assert "--stretch-schedule" not in str(refused.value)


def test_a_bend_that_lies_behind_is_another_training(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(RECIPE, tmp_path, die_at=8)  # two epochs are done
    with pytest.raises(UserError, match="stretched"):
        run(recipe_with(optim={"lr": 3e-3, "schedule": "cosine", "stretched": [[1, 4]]}, epochs=3), tmp_path)


def state_of(recipe: TrainRecipe, epoch: int, step: int = 0) -> TrainState:
    return TrainState(
        recipe=recipe.identity(),
        shards={},
        weights={},
        optimizer={},
        schedule={},
        scaler=None,
        epoch=epoch,
        step=step,
        sums=[],
        best=None,
        history=[],
    )


def test_where_it_bends() -> None:
    longer = replace(RECIPE, epochs=9)
    assert stretch(longer, state_of(RECIPE, 1), "f").optim.stretched == ((1, 4),)
    assert stretch(longer, state_of(RECIPE, 1, 2), "f").optim.stretched == ((2, 4),), "the next epoch's beginning"
    once = stretch(longer, state_of(RECIPE, 1), "f")
    assert stretch(replace(RECIPE, epochs=9), state_of(once, 3), "f") == once
    twice = stretch(replace(RECIPE, epochs=5), state_of(once, 3), "f")
    assert twice.optim.stretched == ((1, 4), (3, 9))
    assert stretch(replace(RECIPE, epochs=5), state_of(once, 0, 2), "f").optim.stretched == ((1, 4),), (
        "the curve after the first bend was never followed"
    )
    assert stretch(RECIPE, state_of(RECIPE, 2), "f") == RECIPE


@pytest.mark.parametrize(
    ("recipe", "epoch", "said"),
    [
        (replace(RECIPE, epochs=2), 2, "2 epochs are done or begun"),
        (replace(RECIPE, epochs=9), 4, "has come to 0"),
        (recipe_with(epochs=9), 2, "moves the end of a cosine; optim.schedule is 'plateau'"),
        (
            recipe_with(optim={"schedule": "cosine"}, stages=[{"clip_length": 4, "epochs": 5}]),
            2,
            "the stages have schedules of their own",
        ),
    ],
)
def test_what_cannot_be_stretched_is_refused(recipe: TrainRecipe, epoch: int, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        stretch(recipe, state_of(RECIPE, epoch), "f")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"optim": {"stretched": [[1, 4]]}},
        {"optim": {"schedule": "cosine", "stretched": [[2, 4], [1, 9]]}},
        {"optim": {"schedule": "cosine", "stretched": [[0, 4]]}},
        {"optim": {"schedule": "cosine", "stretched": [[4, 4]]}},
        {"optim": {"schedule": "cosine", "stretched": [[3, 4]]}, "epochs": 3},
        {"optim": {"schedule": "cosine", "stretched": [[1, 4]]}, "stages": [{"clip_length": 4, "epochs": 5}]},
    ],
)
def test_bends_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"optim\.stretched"):
        recipe_with(**changes)
