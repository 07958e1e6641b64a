"""Parameters of a run are what a person varies: few, and what they leave out is known all the same."""

from dataclasses import replace

from kinebert.orchestration.tracking.run_params import ALWAYS, usual, varied
from kinebert.preprocessing.config import flatten, to_plain
from kinebert.training.recipe.train import (
    AugmentRecipe,
    DataRecipe,
    LayerRecipe,
    ModelRecipe,
    MultigridRecipe,
    OptimRecipe,
    TrainRecipe,
)
from kinebert.training.recipe.tune import TuneRecipe

RECIPE = TrainRecipe(data=DataRecipe(shards="/data/set", split="mine"), eval_batch=3)


def test_some_are_told_of_every_run_and_others_where_they_are_not_usual() -> None:
    assert varied(RECIPE).keys() == {*ALWAYS, "eval_batch"}
    assert varied(RECIPE)["data.split"] == "mine"
    changed = replace(RECIPE, model=ModelRecipe(head="bert", head_options={"num_layers": 2}))
    assert varied(changed)["model.head_options.num_layers"] == 2


def test_how_a_network_learns_and_what_it_sees_is_told() -> None:
    layers = (LayerRecipe(match="backbone.flow_layer.*", lr_scale=0.01),)
    changed = replace(
        RECIPE,
        optim=OptimRecipe(layers=layers, frozen=("backbone.layer[12]",), warmup_steps=8000),
        data=replace(RECIPE.data, crop="short_side", augment=AugmentRecipe(erase=0.25)),
        multigrid=MultigridRecipe(short_cycle=True),
    )
    told = varied(changed)
    assert told["optim.layers"] == [{"lr_scale": 0.01, "weight_decay": None, "match": "backbone.flow_layer.*"}]
    assert (told["optim.frozen"], told["optim.warmup_steps"]) == (["backbone.layer[12]"], 8000)
    assert (told["data.crop"], told["data.augment.erase"], told["multigrid.short_cycle"]) == ("short_side", 0.25, True)


def test_what_is_not_told_is_at_its_default() -> None:
    known = {**usual(), **varied(RECIPE)}
    whole = flatten(to_plain(replace(RECIPE, tune=None)))
    places = whole.keys() - known.keys()
    assert places == {"data.shards", "data.beside", "data.cache_folder", "model.weights_digest", "tune"}
    assert known == {key: value for key, value in whole.items() if key not in places}


def test_a_search_is_no_parameter_of_what_is_trained() -> None:
    tune = TuneRecipe(space={"optim.lr": {"choice": [0.1, 0.2]}})
    assert varied(replace(RECIPE, tune=tune)) == varied(RECIPE)
