"""Every key of a recipe is explained by what stands below it in the code."""

from dataclasses import dataclass

import pytest

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import flatten, to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.keys import field_docs, keys_below, recipe_keys
from kinebert.training.recipe.optim import OptimRecipe
from kinebert.training.recipe.train import DataRecipe, TrainRecipe


@dataclass
class _Base:
    first: int = 1
    """One
    sentence."""
    bare: int = 2


@dataclass
class _Derived(_Base):
    """Of the class."""

    second: str = ""
    """Another."""
    first: int = 3
    """Said anew."""


def test_docstrings_are_those_below_the_fields() -> None:
    assert field_docs(_Base) == {"first": "One sentence."}
    assert field_docs(_Derived) == {"first": "Said anew.", "second": "Another."}
    assert field_docs(OptimRecipe)["momentum"] == "Momentum of sgd."


def test_every_value_of_a_whole_recipe_is_a_key_with_words_and_its_default() -> None:
    recipe = TrainRecipe(data=DataRecipe(shards="s"))
    values = flatten(to_plain(recipe))
    found = {key.name: key for key in recipe_keys()}
    inside = ("tune.", "stages.", "distill.", "optim.layers.", "model.streams.")
    tables = {name.rstrip(".") for name in inside}
    expected = {name: value for name, value in values.items() if name not in tables}
    assert {name for name in found if not name.startswith(inside)} - {
        "model.head_options",
        "model.backbone_options",
    } == (set(expected))
    assert all(key.about and key.kind for key in found.values())
    for name, value in expected.items():
        if name != "data.shards":
            default = found[name].default
            assert (list(default) if isinstance(default, tuple) else default) == value, name
    assert [name for name, key in found.items() if key.required] == [
        "data.shards",
        "optim.layers.match",
        "distill.method",
        "distill.network.backbone",
        "tune.space",
        "stages.clip_length",
        "stages.epochs",
    ]


def test_a_key_is_found_by_itself_and_by_its_table() -> None:
    assert [key.name for key in keys_below("model.head")] == ["model.head"]
    assert {key.name for key in keys_below("optim.groups.head")} == {
        "optim.groups.head.lr_scale",
        "optim.groups.head.weight_decay",
    }
    assert len(keys_below("test")) == 6
    assert keys_below("") == list(recipe_keys())
    (schedule,) = keys_below("optim.schedule")
    assert schedule.kind == "plateau, multistep, cosine, constant"
    assert keys_below("optim.betas")[0].kind == "list of 2 numbers"
    assert keys_below("loader_workers")[0].kind == "whole number or auto"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("lr", "optim.lr or stages.lr"), ("model.hed", "model.head"), ("optm", "optim"), ("epoch", "epochs")],
)
def test_an_unknown_one_is_refused_with_what_is_near(given: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"There is no key '{given}' in a recipe. Did you mean {meant}"):
        keys_below(given)


def test_keys_of_a_stage_are_those_that_a_recipe_takes() -> None:
    stage = {"clip_length": 4, "epochs": 1, "lr": 0.5}
    assert {f"stages.{name}" for name in stage} <= {key.name for key in keys_below("stages")}
    recipe = from_mapping(TrainRecipe, {"data": {"shards": "s"}, "stages": [stage]}, "here")
    assert recipe.stages[0].lr == 0.5
