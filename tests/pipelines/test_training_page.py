"""docs/training.md: its recipes train, its commands run, and no key of a recipe is missing."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch

from kinebert.pipelines import train as train_program
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import to_toml
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_rows, make_set
from tests.helpers.without_ray import train_here

PAGE = (ROOT / "docs" / "training.md").read_text()
RECIPES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```\n(kinebert.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SHIPPED = "pipelines/recipes/progressive.toml"
PROGRESSIVE = next(text for text in RECIPES if "[[stages]]" in text)
SMALL = {"batch_size": 4, "micro_batch": 2, "eval_batch": 4, "epochs": 1, "loader_workers": 0}
SMALL_DATA = {"clip_length": 4, "crop_size": 32}
OTHER_PAGES = ("test", "tune")


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(under[key], over[key]) for key in under.keys() & over if isinstance(over[key], dict)}
    return {**under, **over, **both}


def reduced(plain: dict[str, Any], shards: str) -> dict[str, Any]:
    """A recipe of the page, so small that it trains in a second on a CPU."""
    lengths = iter((2, 4, 6, 8))
    stages = [{"clip_length": next(lengths), "epochs": 1} for _ in plain.get("stages", [])]
    model = {"backbone": "resnet18", "reduction": "none", "width": 0.125}
    if "multigrid" in plain:  # as few epochs as its cycles need
        plain = merged(plain, {"multigrid": {"finetune_epochs": 0}})
    small = merged(plain, {**SMALL, "amp": "auto", "compile": False, "data": {**SMALL_DATA, "shards": shards}})
    epochs = {"epochs": 5} if "multigrid" in plain else {}
    return merged(small, {"model": model, **epochs, **({"stages": stages} if stages else {})})


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("page")
    recipe = FrameRecipe(resize="none", jpeg_quality=90)
    return make_set(make_rows(folder / "videos", [10] * 12), folder / "sets" / "rgb", recipe, videos_per_shard=12)


def named(i: int) -> str:
    return RECIPES[i].strip().splitlines()[0] + f" ... ({i})"


@pytest.mark.parametrize("i", range(len(RECIPES)), ids=named)
def test_every_example_is_a_recipe_and_trains(i: int, shards: ShardSet, tmp_path: Path) -> None:
    base, plain = tomllib.loads(RECIPES[0]), tomllib.loads(RECIPES[i])
    given = plain if "stages" in plain else merged(base, plain)
    from_mapping(TrainRecipe, given, "the page")
    small = from_mapping(TrainRecipe, reduced(given, shards.uri), "the page, reduced")
    summary = train(small, shards, WorkerContext(num_threads=1), str(tmp_path), lambda _: None)
    assert len(summary.history) == small.epochs == max(1, len(small.stages), 5 * small.multigrid.on)


def keys(cls: Any, prefix: str = "") -> Iterator[str]:
    for field in fields(cls):
        hint = get_type_hints(cls)[field.name]
        if is_dataclass(hint):
            yield from keys(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_no_key_is_missing() -> None:
    known = {key for key in keys(TrainRecipe) if not key.startswith(OTHER_PAGES) and ".groups." not in key}
    told = set(re.findall(r"`([a-z_.]+)(?: = [^`]+)?`", PAGE))
    assert known - told - {"stages"} == set()
    assert "[[stages]]" in PAGE


@pytest.fixture
def folder(shards: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's two recipes, reduced."""
    for name, text in (("rgb.toml", RECIPES[0]), (SHIPPED, PROGRESSIVE)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(to_toml(reduced(tomllib.loads(text), shards.uri)))
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def run(command: str) -> None:
    kinebert, program, *args = shlex.split(command)
    assert (kinebert, program) == ("kinebert", "train")
    assert train_program.cli(args) == 0, command


def test_the_page_has_the_commands_that_are_run_here() -> None:
    assert [command.split(" --")[0] for command in COMMANDS] == [
        *["kinebert train rgb.toml"] * 5,
        f"kinebert train {SHIPPED}",
    ]
    assert (ROOT / SHIPPED).read_text().endswith(PROGRESSIVE)


@pytest.mark.slow
def test_a_run_goes_on_for_more_epochs(folder: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS[:2]:
        run(command)
    assert "going on at epoch 2, step 1" in capsys.readouterr().out
    written = {path.name for path in (folder / "runs" / "rgb").iterdir()}
    assert {"best.pt", "last.pt", "state.pt", "recipe.toml", "history.json", "report"} <= written
    assert load_recognizer("runs/rgb/last.pt")[1].epoch == 12


def test_a_dry_run_trains_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    run(COMMANDS[3])
    printed = capsys.readouterr().out
    assert "nothing was trained and nothing was written" in printed
    assert re.search(r"^backbone = \"resnet18\" +# rgb.toml$", printed, re.MULTILINE)
    assert re.search(r"^seed = 0 +# default$", printed, re.MULTILINE)
    assert sorted(folder.rglob("*")) == before


def test_stages_are_one_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(monkeypatch)
    run(COMMANDS[5])
    printed = capsys.readouterr().out
    assert "stage 2 of 4: clips of 4" in printed
    assert "best of 4 epochs: epoch 4" in printed
    assert load_recognizer("runs/progressive/best.pt")[0].spec.num_frames == 8
    assert load_recognizer("runs/progressive/stage1_last.pt")[0].spec.num_frames == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", [COMMANDS[2], COMMANDS[4]])
def test_the_other_commands(command: str, folder: Path, ray_cluster: Any) -> None:
    run(command)
