"""A named pipe in the place of a file that a program is given: one line at once, and nobody waits for a writer."""

import os
from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines import average, compare, evaluate, extract_frames, fuse, predict, register, train, tune
from kinebert.preprocessing.recipe import FrameRecipe
from tests.helpers.sets import make_rows, make_set, small_recipe

LINES: dict[str, tuple[Any, str]] = {
    "evaluate a checkpoint": (evaluate, "{0}"),
    "predict by a checkpoint": (predict, "{1}/videos/class0/v00.mp4 --checkpoint {0}"),
    "register a checkpoint": (register, "{0} --name mine"),
    "weights": (train, "{1}/recipe.toml --output {1}/run --set model.weights={0}"),
    "fuse scores": (fuse, "{0} {0} --output {1}/fused"),
    "average scores": (average, "{0} --output {1}/averaged"),
    "compare scores": (compare, "{0} {0} --output {1}/compared"),
    "recipe of a training": (train, "{0} --output {1}/run"),
    "recipe of a search": (tune, "{0} --output {1}/search"),
    "manifest": (extract_frames, "--manifest {0} --output {1}/more"),
    "options": (extract_frames, "--config {0}"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, a set of them, a recipe, and the pipe."""
    folder = tmp_path_factory.mktemp("pipes")
    make_set(make_rows(folder / "videos", [6, 7, 8]), folder / "set", FrameRecipe(resize="none"))
    (folder / "recipe.toml").write_text(small_recipe(folder / "set", epochs=1))
    os.mkfifo(folder / "pipe")
    return folder


def files(folder: Path) -> list[Path]:
    """All that is no folder: a program may make the one that it was told to write to."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", LINES)
def test_a_pipe_is_named_at_once(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, args = LINES[line]
    before = files(folder)
    assert program.cli(args.format(folder / "pipe", folder).split()) == 2
    told = capsys.readouterr().err.splitlines()
    assert [one for one in told if one.startswith("error: ")] == told[-1:]
    assert "named pipe" in told[-1]
    assert str(folder / "pipe") in told[-1]
    assert files(folder) == before
