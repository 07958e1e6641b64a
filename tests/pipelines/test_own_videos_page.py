"""docs/own_videos.md: its commands are understood, and its table says of each recipe what its file says."""

import re
from pathlib import Path

import pytest

from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.recipe_names import recipe_names
from kinebert.training.recipe.summary import summary
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.page_commands import commands_of, understood
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "own_videos.md").read_text()


@pytest.mark.parametrize("command", commands_of("own_videos.md"))
def test_its_commands_are_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run but for their jobs, whose own tests run those; a training's recipe has been read by then."""
    request = understood(command, tmp_path, monkeypatch)
    _, name, source, *_ = command.split()
    if name == "train":
        assert (request.recipe.data.split, request.source) == ("mine", source)


def test_its_table_has_the_recipes_with_what_their_files_say() -> None:
    rows = {
        row[0].strip("` "): row for row in (line.strip("|").split("|") for line in PAGE.splitlines()) if len(row) > 5
    }
    own = [name for name in recipe_names() if name.startswith("own/")]
    assert [name for name in rows if name in recipe_names()] == own
    for name in own:
        parameters, macs, memory = (cell.strip() for cell in rows[name][3:6])
        told = re.fullmatch(r"(\S+) M parameters, (\S+) GMac a clip, (\S+ GiB) to train", summary(name).cost)
        assert told
        assert (parameters, memory) == (f"{told[1]} M", told[3])
        assert float(macs.removesuffix(" G")) == pytest.approx(float(told[2]), abs=0.05)


def test_few_videos_make_enough_updates() -> None:
    for name, least, most in (("own/flow", 900, 1200), ("own/rgb", 1200, 1600), ("own/rgb_weights", 200, 400)):
        recipe = load_config(TrainRecipe, name)
        assert least <= recipe.epochs * (200 // recipe.batch_size) <= most
