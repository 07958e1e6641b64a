"""Which shapes the epochs of a recipe have, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.multigrid import MultigridRecipe, calendar_of, phases_of
from kinebert.training.recipe.train import DataRecipe, OptimRecipe, StageRecipe, TrainRecipe

DATA = DataRecipe(shards="/set", clip_length=16, crop_size=224)
LONG = MultigridRecipe(long_cycle=True)


def recipe(multigrid: MultigridRecipe = LONG, **more: Any) -> TrainRecipe:
    given = {"batch_size": 8, "micro_batch": 8, "epochs": 15, "multigrid": multigrid, **more}
    return TrainRecipe(data=DATA, **given)


def begins(of: TrainRecipe) -> list[tuple[int, str]]:
    return [(epoch, ",".join(map(str, cycle))) for epoch, cycle in phases_of(of)]


def test_without_it_there_is_one_shape() -> None:
    assert begins(recipe(MultigridRecipe())) == [(0, "8x16x224")]
    assert recipe(MultigridRecipe()).digest() == replace(recipe(), multigrid=MultigridRecipe()).digest()


def test_a_long_cycle_and_the_recipe_s_own_shape_after_it() -> None:
    shapes = ["64x4x158", "32x8x158", "16x8x224", "8x16x224"]
    assert begins(recipe()) == list(zip([0, 8, 12, 14], shapes, strict=True))
    tuned = recipe(replace(LONG, finetune_epochs=4), epochs=19)
    assert begins(tuned) == [*zip([0, 8, 12, 14], shapes, strict=True), (15, "8x16x224")]
    twice = recipe(replace(LONG, cycles=2), epochs=30)
    assert [epoch for epoch, _ in phases_of(twice)] == [0, 8, 12, 14, 15, 23, 27, 29]


def test_a_long_cycle_before_each_milestone() -> None:
    """As PySlowFast has it: each rate sees all shapes, and what is left after the last milestone has the full one."""
    stepped = OptimRecipe(schedule="multistep", milestones=(15, 45, 50))
    found = recipe(replace(LONG, finetune_epochs=10), epochs=55, optim=stepped)
    assert [epoch for epoch, _ in phases_of(found)] == [0, 8, 12, 14, 15, 31, 39, 43, 45]
    assert str(phases_of(found)[-1][1][0]) == "8x16x224"


def test_the_calendar_of_a_recipe() -> None:
    calendar = calendar_of(recipe(), 640)
    assert calendar.steps == [10] * 8 + [20] * 4 + [40] * 2 + [80]
    assert sum(calendar.steps) == 4 * 80, "15 epochs in the updates of 4"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"epochs": 5}, r"5 epochs are too few for 1 cycles of 4 shapes: .* epochs \[1, 4, 5, 6\]"),
        ({"epochs": 15, "multigrid": replace(LONG, cycles=4)}, "too few for 4 cycles"),
        ({"compile": True}, "multigrid does not go with compile: a graph is of one shape"),
        ({"stages": (StageRecipe(clip_length=8, epochs=20),)}, "multigrid does not go with stages"),
        ({"optim": OptimRecipe(schedule="cosine", stretched=((4, 9),))}, "does not go with optim.stretched"),
    ],
)
def test_what_it_does_not_go_with(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe(**more)


def test_numbers_of_a_long_cycle_that_is_off() -> None:
    with pytest.raises(ConfigError, match="are of multigrid.long_cycle, but that is off"):
        MultigridRecipe(short_cycle=True, cycles=2)
    with pytest.raises(ConfigError, match="multigrid.finetune_epochs must be at least 0, got -1"):
        MultigridRecipe(long_cycle=True, finetune_epochs=-1)


def test_the_epochs_of_a_long_cycle_are_a_part_of_the_run() -> None:
    assert recipe().identity()["epochs"] == 15
    assert recipe(MultigridRecipe(short_cycle=True)).identity().get("epochs") is None
