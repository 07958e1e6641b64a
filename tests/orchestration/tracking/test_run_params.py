"""Parameters of a run are what a person varies: few, and what they leave out is known all the same."""

from dataclasses import replace

from kinebert.orchestration.tracking.run_params import ALWAYS, usual, varied
from kinebert.preprocessing.config import flatten, to_plain
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe

RECIPE = TrainRecipe(data=DataRecipe(shards="/data/set", split="mine"), eval_batch=3)


def test_some_are_told_of_every_run_and_others_where_they_are_not_usual() -> None:
    assert varied(RECIPE).keys() == {*ALWAYS, "eval_batch"}
    assert varied(RECIPE)["data.split"] == "mine"
    changed = replace(RECIPE, model=ModelRecipe(head="bert", head_options={"num_layers": 2}))
    assert varied(changed)["model.head_options.num_layers"] == 2


def test_what_is_not_told_is_at_its_default() -> None:
    known = {**usual(), **varied(RECIPE)}
    whole = flatten(to_plain(replace(RECIPE, tune=None)))
    places = whole.keys() - known.keys()
    assert places == {"data.shards", "data.cache_folder", "model.weights_digest", "tune"}
    assert known == {key: value for key, value in whole.items() if key not in places}


def test_a_search_is_no_parameter_of_what_is_trained() -> None:
    tune = TuneRecipe(space={"optim.lr": {"choice": [0.1, 0.2]}})
    assert varied(replace(RECIPE, tune=tune)) == varied(RECIPE)
