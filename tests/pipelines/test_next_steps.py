"""The command that a program says comes next is one that works."""

import shlex

import pytest

from kinebert.pipelines.next_steps import next_lines, train_command
from kinebert.pipelines.options import load_recipe
from kinebert.preprocessing.modalities import MODALITIES
from kinebert.preprocessing.recipe_names import recipe_names


@pytest.mark.parametrize("modality", sorted({"rgb", "flow", "pose"} & MODALITIES.keys()))
@pytest.mark.parametrize("split", ["split1", "mine", "official 2", "1"])
def test_a_set_is_trained_on_by_a_recipe_for_its_pictures_on_a_split_that_it_has(modality: str, split: str) -> None:
    command = shlex.split(train_command("/sets/my own", modality, [split]))
    assert command[:4] == ["kinebert", "train", modality, "--set"]
    data = load_recipe(command[2], [command[4:]]).data
    assert (data.modality, data.shards, data.split) == (modality, "/sets/my own", split)


def test_a_split_is_named_only_where_the_usual_one_is_not_there() -> None:
    assert train_command("s", "rgb", ["other", "split1"]) == "kinebert train rgb --set data.shards=s"
    assert train_command("s", "rgb", []) == "kinebert train rgb --set data.shards=s"


def test_pictures_without_a_recipe_of_their_own_are_left_to_the_user() -> None:
    assert "depth" not in recipe_names()
    assert train_command("s", "depth", ["split1"]) == "kinebert train RECIPE --set data.shards=s"


def test_several_commands_stand_below_each_other() -> None:
    assert next_lines(["a b", "c"]) == ["next: a b", "      c"]
    assert next_lines([]) == []
