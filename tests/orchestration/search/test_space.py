"""What may be searched, what is refused before anything is started, and that a seed always draws the same."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from kinebert.orchestration.search.space import (
    Numbers,
    Options,
    draw,
    fields_of,
    grid_cells,
    perturb,
    read_space,
    recipe_with,
    trial_seed,
)
from kinebert.orchestration.search.suggest import known_beforehand, num_trials
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.optim import StageRecipe
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe

BASE = TrainRecipe(data=DataRecipe(shards="/set"), model=ModelRecipe(backbone="resnet18"), batch_size=8)
LR = {"optim.lr": {"log_uniform": [1e-5, 1e-1]}}
MIXED: dict[str, Any] = {
    **LR,
    "model.dropout": {"uniform": [0, 0.5]},
    "optim.patience": {"int": [1, 4]},
    "model.head": {"choice": ["bert", "tgap"]},
}


def space_of(space: dict[str, Any], **tune: Any) -> Any:
    return read_space(TuneRecipe(space=space, **tune), BASE, "r.toml")


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"optim.rl": {"uniform": [0, 1]}}, r"r.toml: tune.space: optim.rl: a recipe has no field 'optim.rl'. Did you"),
        ({"learning": {"rate": {"uniform": [0, 1]}}}, "a recipe has no field 'learning.rate'"),
        ({"optim.lr": {"log_unifrom": [1, 2]}}, "there is no 'log_unifrom'. There are: uniform, log_uniform, int, "),
        ({"optim.lr": {"uniform": [1, 2], "int": [1, 2]}}, "must have one kind of values, got uniform, int"),
        ({"optim.lr": 0.1}, r"optim.lr must be a table such as \{choice"),
        ({"optim.lr": {"uniform": [2, 1]}}, "two numbers, the lower first, got "),
        ({"optim.lr": {"uniform": ["a", 1]}}, "two numbers, the lower first, got "),
        ({"optim.lr": {"log_uniform": [0, 1]}}, "a logarithm needs numbers above 0"),
        ({"optim.patience": {"int": [1, 2.5]}}, "two whole numbers"),
        ({"optim.lr": {"choice": []}}, "expected a list of values"),
        ({"optim.lr": {"choice": [0.1, "fast"]}}, "optim.lr = 'fast': optim: lr: expected float, got 'fast'"),
        ({"optim.lr": {"uniform": [-1, 1]}}, "optim.lr = -1.*must be positive"),
        ({"optim.patience": {"uniform": [0.5, 2]}}, "optim.patience = 0.5: optim: patience: expected int, got 0.5"),
        ({"optim.name": {"choice": ["sgd", "adamx"]}}, "'adamx' is not one of 'adamw'"),
        ({"model.head": {"choice": ["bert", "brt"]}}, "'brt'"),
        ({"batch_size": {"choice": [8, 12]}}, "batch_size 12 cannot be cut"),
        ({"workers": {"choice": [1, 2]}}, "workers cannot be searched: give it in the recipe"),
        ({"tune.seed": {"int": [1, 2]}}, "a search does not search itself"),
        ({"test.clips": {"choice": ["multi"]}}, "it changes no weight"),
    ],
)
def test_what_is_no_space_is_refused_with_the_way_out(space: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        space_of(space)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        ({"space": {}}, "tune.space is empty"),
        ({"space": LR, "search": "grid"}, r"a grid needs single values, optim.lr = \{grid"),
        ({"space": {"optim.lr": {"grid": [1.0]}}, "search": "tpe"}, "tpe chooses values itself"),
        ({"space": {"model.width": {"choice": [0.5, 1.0]}}, "scheduler": "pbt"}, "cannot change in the middle"),
        ({"space": {"optim.name": {"choice": ["sgd"]}}, "scheduler": "pbt"}, "cannot change in the middle"),
        (
            {"space": {"optim.decay_norms": {"choice": [True, False]}}, "scheduler": "pbt"},
            "cannot change in the middle",
        ),
        ({"space": {"optim.monitor": {"choice": ["loss", "top1"]}}, "scheduler": "pbt"}, "cannot change in the middle"),
        ({"space": LR, "scheduler": "pbt", "search": "tpe"}, "starts from random values"),
        ({"space": LR, "scheduler": "pbt", "trials": 1}, "at least 2"),
        ({"space": LR, "quantile": 0.6}, "tune.quantile"),
        ({"space": LR, "reduction": 1}, "tune.reduction"),
        ({"space": LR, "trials": 0}, "tune.trials"),
        ({"space": LR, "seed": -1}, "tune.seed"),
        ({"space": LR, "concurrent": -1}, "tune.concurrent"),
        ({"space": LR, "shceduler": "asha"}, "unknown key 'shceduler' in TuneRecipe. Did you mean 'scheduler'"),
        ({"space": LR, "metric": "val_top2"}, "'val_top2' is not one of 'val_top1'"),
    ],
)
def test_what_is_no_search_is_refused(tune: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_space(from_mapping(TuneRecipe, tune, "r.toml"), BASE, "r.toml")


def test_a_population_has_no_stages() -> None:
    staged = replace(BASE, stages=(StageRecipe(clip_length=8, epochs=2), StageRecipe(clip_length=16, epochs=1)))
    with pytest.raises(ConfigError, match="this recipe has stages. Leave stages out, or take another scheduler"):
        read_space(TuneRecipe(space=LR, scheduler="pbt"), staged, "r.toml")
    assert read_space(TuneRecipe(space=LR), staged, "r.toml")


def test_fields_are_written_with_and_without_quotes() -> None:
    quoted = space_of({"optim.lr": {"uniform": [0.1, 1]}, "model.head_options.num_layers": {"choice": [1, 2]}})
    options = {"head_options": {"num_layers": {"choice": [1, 2]}}}
    nested = space_of({"optim": {"lr": {"uniform": [0.1, 1]}}, "model": options})
    assert quoted == nested == {"optim.lr": Numbers(0.1, 1), "model.head_options.num_layers": Options((1, 2))}
    assert recipe_with(BASE, {"model.head_options.num_layers": 2}, "r").model.head_options == {"num_layers": 2}


def test_every_field_of_a_recipe_has_a_name() -> None:
    known = fields_of(TrainRecipe)
    assert {"optim.lr", "model.head_options", "data.clip_length", "batch_size"} <= known.keys()
    assert "optim" not in known


def test_the_same_seed_draws_the_same_and_another_seed_does_not() -> None:
    space = space_of(MIXED)
    first = [draw(space, 0, number) for number in range(200)]
    assert first == [draw(space, 0, number) for number in range(200)]
    assert first[7] == draw(dict(reversed(space.items())), 0, 7)  # nor does the order of the table matter
    assert len({str(values) for values in (*first, *(draw(space, 1, n) for n in range(200)))}) == 400
    below = sum(values["optim.lr"] < 1e-3 for values in first)
    assert 70 < below < 130  # the middle of the logarithm
    assert Counter(values["optim.patience"] for values in first).keys() == {1, 2, 3, 4}
    assert 70 < Counter(values["model.head"] for values in first)["bert"] < 130
    assert all(0 <= values["model.dropout"] <= 0.5 for values in first)
    assert all(len(f"{values['optim.lr']:g}") <= 9 for values in first)
    for values in first[:20]:
        recipe_with(BASE, values, "r.toml")


def test_trials_have_seeds_of_their_own() -> None:
    seeds = {trial_seed(seed, number) for seed in range(3) for number in range(100)}
    assert len(seeds) == 300
    assert trial_seed(0, 0) == trial_seed(0, 0) < 2**32


def test_a_grid_has_every_combination_and_random_search_visits_grids_in_turn() -> None:
    table = {"optim.lr": {"grid": [0.1, 0.2]}, "model.head": {"choice": ["bert", "tgap", "concat"]}}
    space = space_of(table, search="grid")
    tune = TuneRecipe(space=table, search="grid")
    assert num_trials(tune, space) == len(grid_cells(space)) == 6
    assert len({str(values) for values in known_beforehand(tune, space)}) == 6
    mixed = space_of({"optim.lr": {"grid": [0.1, 0.2]}, "model.dropout": {"uniform": [0, 0.5]}})
    assert [draw(mixed, 0, number)["optim.lr"] for number in range(4)] == [0.1, 0.2, 0.1, 0.2]


def test_population_values_move_a_little_or_are_drawn_anew_and_stay_inside() -> None:
    space = space_of(MIXED)
    values = {"optim.lr": 1e-3, "model.dropout": 0.5, "optim.patience": 2, "model.head": "bert"}
    moved = [perturb(space, values, 0, number, 1) for number in range(400)]
    assert moved[3] == perturb(space, values, 0, 3, 1) != perturb(space, values, 0, 3, 2)
    rates = Counter(found["optim.lr"] for found in moved)
    assert 0.3 < rates[8e-4] / 400 < 0.45  # half of the three quarters that are not drawn anew
    assert 0.3 < rates[1.25e-3] / 400 < 0.45
    assert max(found["model.dropout"] for found in moved) == 0.5
    assert {found["optim.patience"] for found in moved} == {1, 2, 3, 4}
    for found in moved[:20]:
        recipe_with(BASE, found, "r.toml")


def test_the_table_is_no_part_of_a_training() -> None:
    tuned = replace(BASE, tune=TuneRecipe(space=LR))
    assert tuned.identity() == BASE.identity()
    assert tuned.digest() == BASE.digest()
    assert recipe_with(tuned, {"optim.lr": 0.5}, "r").tune is None
