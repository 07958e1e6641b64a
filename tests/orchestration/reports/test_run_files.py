"""What the driver writes into the folder of a training."""

import json
from pathlib import Path

import pytest

from kinebert.orchestration.reports.run_files import load_history, save_history, save_recipe
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import read_toml
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.run_folder import EpochRow

ROWS = [
    EpochRow(epoch=1, train_loss=1.5, val_loss=1.25, val_top1=0.5, lr=0.01),
    EpochRow(epoch=2, train_loss=0.5, val_loss=0.25, val_top1=0.75, lr=0.001),
]


def test_epochs_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_history(str(tmp_path), ROWS)
    assert load_history(str(tmp_path)) == ROWS
    assert json.loads((tmp_path / "history.json").read_text()) == ROWS
    save_history(str(tmp_path), ROWS[:1])
    assert load_history(str(tmp_path)) == ROWS[:1]


def test_where_none_were_kept_there_are_none(tmp_path: Path) -> None:
    assert load_history(str(tmp_path)) == []
    assert load_history(str(tmp_path / "absent")) == []
    assert load_history("") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("{}", "expected list, got {}"),
        ("[" * 50_000, "nested too deeply"),
        ('[{"val_top1": 0.5}]', "the key 'epoch' is required"),
        ('[{"epoch": 1, "val_top1": "high"}]', "val_top1: expected float, got 'high'"),
    ],
)
def test_a_damaged_history_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text(text)
    with pytest.raises(UserError, match=rf"history\.json: not the numbers .* Delete it, .*{reason}") as told:
        load_history(str(tmp_path))
    assert "\n" not in str(told.value)


def test_numbers_that_are_none_and_those_of_later_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text('[{"epoch": 1, "val_loss": NaN, "val_top1": 1, "later": [1]}]')
    row = dict(load_history(str(tmp_path))[0])
    assert (row["val_top1"], row["later"], row["val_loss"] != row["val_loss"]) == (1.0, [1], True)


def test_a_recipe_says_all_settings_and_is_read_as_it_was(tmp_path: Path) -> None:
    recipe = TrainRecipe(data=DataRecipe(shards='/sets/"rgb" ü'), epochs=7, seed=3)
    path = save_recipe(str(tmp_path / "new" / "run"), recipe)
    assert path == str(tmp_path / "new" / "run" / "recipe.toml")
    values = read_toml(path, [])
    assert values["optim"]["lr"] == recipe.optim.lr  # a default
    assert from_mapping(TrainRecipe, values, path) == recipe


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UserError, match="run: cannot write the recipe"):
        save_recipe(str(tmp_path / "run"), TrainRecipe(data=DataRecipe(shards="/set")))
    assert (tmp_path / "run").read_text() == "mine"
