"""docs/tuning.md: its space can be read, and its commands run, on a small set in place of the demo's."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.orchestration.search.space import read_space
from kinebert.pipelines import cli as kinebert
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import load_config, read_toml
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from tests.helpers.paths import ROOT
from tests.helpers.requirements import imported
from tests.helpers.sets import make_set, make_videos
from tests.helpers.videos import manifest_rows

PAGE = (ROOT / "docs" / "tuning.md").read_text()
TABLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]
RUN = [line for line in COMMANDS if line.startswith("kinebert ")]
DEMO = ROOT / "pipelines" / "recipes" / "demo" / "tune.toml"


def test_the_table_of_the_page_is_a_search(tmp_path: Path) -> None:
    (table,) = TABLES
    (tmp_path / "r.toml").write_text(table)
    plain = read_toml(tmp_path / "r.toml")["tune"]
    base = TrainRecipe(data=DataRecipe(shards="/set"))
    assert len(read_space(from_mapping(TuneRecipe, plain, "page"), base, "page")) == 5


def test_the_demo_has_a_search() -> None:
    recipe = load_config(TrainRecipe, DEMO)
    assert recipe.tune is not None
    assert recipe.tune.trials == 20
    assert len(read_space(recipe.tune, recipe, "demo")) == 4


def test_every_key_of_the_table_is_explained() -> None:
    missing = [name for name in TuneRecipe.__dataclass_fields__ if f"`{name}`" not in PAGE and f"{name} =" not in PAGE]
    assert [name for name in missing if f"tune.{name}" not in PAGE] == ["space"] * ("[tune.space]" not in PAGE)


@pytest.mark.slow
def test_every_command_runs(tmp_path: Path, ray_cluster: Any, monkeypatch: Any, capsys: Any) -> None:
    imported("optuna", "optuna")
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    make_videos(tmp_path / "videos", [9] * 18)
    rows = manifest_rows(tmp_path / "videos", part=lambda i: ("train", "val", "test")[i % 3])
    make_set(rows, tmp_path / "demo" / "sets" / "frames", FrameRecipe(resize="none"))
    small = ["batch_size = 4", "micro_batch = 2", "epochs = 2", "crop_size = 32", "width = 0.125", "clip_length = 4"]
    text = DEMO.read_text().replace("[tune]\n", "[tune]\nkeep = 24\n")
    for line in small:
        text = re.sub(rf"^{line.split()[0]} = .*$", line, text, flags=re.MULTILINE)
    recipe = tmp_path / "pipelines" / "recipes" / "demo" / "tune.toml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(text)
    (tmp_path / "recipe.toml").write_text(text.replace("trials = 20", "trials = 2"))
    assert len(RUN) >= 6
    for line in RUN:
        args = shlex.split(line)[1:]
        monkeypatch.setattr("sys.argv", ["kinebert", *args])
        assert kinebert.main() == 0, (line, capsys.readouterr())
    assert (tmp_path / "searches" / "mlflow.db").exists()
    assert len(list((tmp_path / "searches" / "demo" / "trials").glob("????"))) == 24
    torch.set_num_threads(threads)
