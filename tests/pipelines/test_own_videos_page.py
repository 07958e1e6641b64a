"""docs/own_videos.md: its commands are understood, and its table says of each recipe what its file says."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines import evaluate, extract_flow, extract_frames, fuse, index_videos, train
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.recipe_names import recipe_names
from kinebert.training.recipe.summary import summary
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "own_videos.md").read_text()
COMMANDS = [line for block in re.findall(r"```\n(kinebert.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
PROGRAMS: Mapping[str, Any] = {
    "index": (index_videos, "pipelines.index_videos.index"),
    "extract-frames": (extract_frames, "orchestration.jobs.extraction.extract"),
    "extract-flow": (extract_flow, "orchestration.jobs.extraction.extract"),
    "train": (train, "orchestration.jobs.training.train"),
    "evaluate": (evaluate, "orchestration.jobs.evaluation.evaluate"),
    "fuse": (fuse, "orchestration.jobs.fusion.fuse"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run but for their jobs, whose own tests run those; a training's recipe has been read by then."""
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []

    def job(request: Any, *_: Any) -> None:
        asked.append(request)
        raise KeyboardInterrupt

    _, name, *args = shlex.split(command)
    program, place = PROGRAMS[name]
    place = "orchestration.jobs.dry_run.dry_run" if "--dry-run" in args else place
    monkeypatch.setattr(f"kinebert.{place}", job)
    assert program.cli(args) == 130
    if name == "train":
        assert (asked[0].recipe.data.split, asked[0].source) == ("mine", args[0])


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
