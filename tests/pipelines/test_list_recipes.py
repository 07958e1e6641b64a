"""``kinebert recipes``: lists, shows, copies and explains; a training takes its names anywhere."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines import describe, list_recipes, train
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.recipe_names import named_file, recipe_names
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.paths import ROOT
from tests.helpers.terminals import Terminal


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_list_says_all_of_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_recipes.cli([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in recipe_names()][:4] == ["flow", "own/flow", "own/rgb", "own/rgb_weights"]
    at = lines.index("eccv2020/table6_bert")
    assert lines[at + 1 : at + 4] == [
        "    arXiv:2008.01232, table 6, BERT",
        "    r2plus1d_34 + bert; rgb, 32 images in a row, 112 px",
        "    66.7 M parameters, 152 GMac a clip, 13 GiB to train",
    ]
    assert lines[-3:] == [
        "next: kinebert recipes show NAME",
        "      kinebert recipes copy NAME",
        "      kinebert train NAME --set data.shards=SET",
    ]
    assert list_recipes.cli(["list", "own", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found] == ["own/flow", "own/rgb", "own/rgb_weights"]
    assert found[0]["cost"].startswith("3.6 M parameters")


@pytest.mark.parametrize("args", [[], ["--keys"], ["--keys", "model"]])
@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_a_terminal(args: list[str], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    assert list_recipes.cli(args) == 0
    assert max(map(len, screen.screen())) <= width


def test_the_list_waits_for_no_torch() -> None:
    code = (
        "import sys; from kinebert.pipelines import list_recipes; list_recipes.cli([]); list_recipes.cli(['--keys'])\n"
        "print([name for name in ('torch', 'ray', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_one_is_shown_as_it_is_and_copied_but_never_over_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = named_file("demo/tune").read_text()
    assert list_recipes.cli(["show", "demo/tune"]) == 0
    assert capsys.readouterr().out == text
    assert list_recipes.cli(["copy", "demo/tune"]) == 0
    assert "next: kinebert train tune.toml" in capsys.readouterr().out
    assert (tmp_path / "tune.toml").read_text() == text
    (tmp_path / "tune.toml").write_text("mine")
    assert list_recipes.cli(["copy", "demo/tune"]) == 2
    assert "tune.toml: is there already, and nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "tune.toml").read_text() == "mine"
    assert list_recipes.cli(["copy", "own/flow", "--output", "my flow.toml"]) == 0
    assert "next: kinebert train 'my flow.toml'" in capsys.readouterr().out
    assert load_config(TrainRecipe, "my flow.toml") == load_config(TrainRecipe, "own/flow")
    assert list_recipes.cli(["copy", "ut_interaction/flow"]) == 0
    assert "next" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["show"], "which recipe?"),
        (["show", "rbg"], "There is no recipe 'rbg'. Did you mean rgb"),
        (["list", "eccv2021"], "no recipe whose name begins with 'eccv2021'"),
        (["copy", "rgb", "--output", "absent/x.toml"], "absent/x.toml: cannot write the copy: there is no such file"),
        (["--keys", "model.hed"], "There is no key 'model.hed' in a recipe. Did you mean model.head"),
    ],
)
def test_mistakes_are_one_line(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_recipes.cli(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_keys_are_explained_with_what_there_is_to_choose(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_recipes.cli(["--keys", "optim.momentum", "model.head", "model.head_options"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("optim.momentum = 0.9\n    Momentum of sgd.\n    (number)\n")
    assert "\nmodel.head = " in printed
    assert "\n    concat: " in printed
    assert "\n    lstm: num_layers = 2, head_width = 450\n" in printed
    assert list_recipes.cli(["--keys", "tune", "--json"]) == 0
    found = {key["name"]: key for key in json.loads(capsys.readouterr().out)}
    assert found["tune.space"]["required"]
    assert found["tune.trials"]["default"] == 20


def test_programs_take_names_anywhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe.cli(["eccv2020/table4_rgb_bert", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 24_946_003
    asked: list[Any] = []

    def refuse(request: Any, _: Any) -> None:
        asked.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr("kinebert.orchestration.jobs.training.train", refuse)
    assert train.cli(["demo/rgb_bert", "--set", "epochs=3"]) == 130
    assert (asked[0].output, asked[0].source) == ("runs/rgb_bert", "demo/rgb_bert")
    assert (asked[0].recipe.epochs, asked[0].recipe.model.width) == (3, 0.25)
    assert train.cli(["rgb_tgap"]) == 2
    assert "Did you mean demo/rgb_tgap?" in capsys.readouterr().err
