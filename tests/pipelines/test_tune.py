"""``kinebert tune`` as a user meets it: what is refused, what a search leaves behind, and how it goes on."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient

from kinebert.orchestration.search.records import Record, load_records, trial_folder
from kinebert.orchestration.search.space import recipe_with
from kinebert.pipelines import tune
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.checkpoints.state import load_state, save_state
from kinebert.training.checkpoints.takeover import take_over
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.sets import make_rows, make_set, small_recipe

OPTIM = """\
[optim]
name = "sgd"
schedule = "constant"
lr = 1e-3
max_grad_norm = 1e30
"""
SEARCH = """\
[tune]
search = "grid"
scheduler = "none"
[tune.space]
"optim.lr" = { choice = [1e-3, 1e30] }
label_smoothing = { grid = [0.0, 0.1] }
"""
POPULATION = """
scheduler = "pbt"
trials = 2
quantile = 0.5
interval = 2
[tune.space]
"optim.lr" = { log_uniform = [1e-6, 1e-2] }
"optim.weight_decay" = { uniform = [0.0, 0.1] }
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    shards = make_set(make_rows(folder / "videos", [6] * 12), folder / "rgb", FrameRecipe(resize="none"))
    head = small_recipe(shards.uri, epochs=4) + OPTIM
    (folder / "r.toml").write_text(head + SEARCH)
    (folder / "population.toml").write_text(f"{head}[tune]{POPULATION}")
    (folder / "plain.toml").write_text(head)
    return folder / "r.toml"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def searched(recipe: Path, ray_cluster: Any) -> Path:
    """The folder of a search of which half the trials fail."""
    output = recipe.parent / "searches" / "grid"
    two_at_a_time = ["--cpus-per-worker", "1.5"]  # so that two processes do two trials each
    assert tune.cli([str(recipe), "--output", str(output), *two_at_a_time]) == 0
    return output


def store(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder.parent}/mlflow.db")


def family(folder: Path) -> tuple[Any, dict[int, Any]]:
    """The parent run of a search, and its children by trial."""
    client = store(folder)
    address = json.loads((folder / "mlflow.json").read_text())
    parent = client.get_run(address["run_id"])
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    runs = client.search_runs([parent.info.experiment_id], query)
    assert len({run.data.tags["trial"] for run in runs}) == len(runs)
    return parent, {int(run.data.tags["trial"]): run for run in runs}


@pytest.mark.parametrize(
    ("name", "sets", "words"),
    [
        ("plain", [], "plain.toml: there is no table [tune] that says what to search. See docs/tuning.md."),
        ("r", ["tune.space.optim.rl={choice=[1]}"], "a recipe has no field 'optim.rl'. Did you mean 'optim.lr'?"),
        ("r", ["tune.space.optim.name={choice=['sdg']}"], "optim.name = 'sdg': optim: name: 'sdg' is not one of"),
        ("r", ["tune.shceduler=asha"], "unknown key 'shceduler' in TuneRecipe. Did you mean 'scheduler'?"),
        ("r", ["tune.space.data.split={choice=['split1', 'two']}"], "data.split = 'two': "),
        ("r", ["tune.space.model.backbone={choice=['resnet18', 'resnet81']}"], "resnet81"),
        ("r", ["data.shards=/nowhere"], "/nowhere"),
        ("r", ["workers=64", "batch_size=256"], "workers = 64, but this machine has"),
    ],
)
def test_mistakes_are_refused_in_one_line_before_a_cluster_starts(
    recipe: Path, tmp_path: Path, name: str, sets: list[str], words: str, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("kinebert.orchestration.cluster.ray.is_initialized", lambda: False)
    monkeypatch.setattr("kinebert.orchestration.cluster.ray.init", lambda **_: pytest.fail("a cluster was started"))
    options = ["--set", *sets] if sets else []
    assert tune.cli([str(recipe.with_stem(name)), *options, "--output", str(tmp_path / "s")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_tpe_without_optuna_says_how_to_get_it(recipe: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    sets = ["tune.search=tpe", "tune.space.label_smoothing={uniform=[0.0, 0.1]}"]
    assert tune.cli([str(recipe), "--set", *sets]) == 2
    assert 'needs Optuna: pip install "kinebert[tune]"' in capsys.readouterr().err


def test_a_search_leaves_records_weights_pictures_and_its_runs(searched: Path) -> None:
    records = load_records(str(searched))
    assert [record.state for record in records] == ["finished", "finished", "failed", "failed"]
    assert "set a lower optim.lr" in records[2].reason
    assert "Traceback" in Path(trial_folder(str(searched), 2), "error.txt").read_text()
    assert len({record.seed for record in records}) == 4
    assert all(len(record.rows) == 4 for record in records[:2])
    names = {path.name for path in searched.iterdir()}
    assert {"parallel.png", "learning.png", "trials.csv", "search.json", "mlflow.json", "trials"} == names - {".lock"}
    with open(searched / "trials.csv") as file:
        assert [row["state"] for row in csv.DictReader(file)] == [record.state for record in records]
    for record in records[:2]:
        folder = Path(trial_folder(str(searched), record.number))
        assert not (folder / "state.pt").exists()
        assert load_recognizer(str(folder / "best.pt"))[1].epoch >= 1
        again = load_config(TrainRecipe, folder / "recipe.toml")
        assert (again.optim.lr, again.label_smoothing) == (1e-3, record.values["label_smoothing"])
        assert (again.seed, again.tune) == (record.seed, None)
        assert len(json.loads((folder / "history.json").read_text())) == 4


def test_mlflow_has_a_parent_and_a_child_for_each_trial_and_none_is_left_running(searched: Path) -> None:
    parent, children = family(searched)
    assert parent.info.status == "FINISHED"
    assert [children[number].info.status for number in range(4)] == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    assert children[2].data.tags["state"] == "failed"
    assert children[2].data.tags["reason"] == load_records(str(searched))[2].reason
    assert children[1].data.params["label_smoothing"] == "0.1"
    history = store(searched).get_metric_history(children[1].info.run_id, "epoch/val_top1")
    assert [metric.step for metric in history] == [1, 2, 3, 4]
    best = [number for number, run in children.items() if run.data.tags.get("best") == "true"]
    assert [str(number) for number in best] == [parent.data.tags["best_trial"]]
    assert parent.data.tags["best_run"] == children[best[0]].info.run_id
    pictures = {file.path for file in store(searched).list_artifacts(parent.info.run_id, "search")}
    assert pictures == {"search/parallel.png", "search/learning.png", "search/trials.csv"}
    kept = [[file.path for file in store(searched).list_artifacts(run.info.run_id)] for run in children.values()]
    assert sorted(kept) == [["best.pt", "recipe.toml"], *[["recipe.toml"]] * 3]
    assert all(len(run.inputs.dataset_inputs) == 2 for run in children.values())
    (model,) = (output.model_id for run in children.values() for output in run.outputs.model_outputs)
    assert store(searched).get_logged_model(model).source_run_id == parent.data.tags["best_run"]
    assert parent.data.params["tune.search"] == "grid"


def test_the_same_command_again_repeats_nothing_and_another_search_is_refused(
    searched: Path, recipe: Path, capsys: Any
) -> None:
    files = {path: path.stat().st_mtime_ns for path in (searched / "trials").rglob("*.pt")}
    assert tune.cli([str(recipe), "--output", str(searched)]) == 0
    assert "going on: 4 trials were begun, 4 of them have ended" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (searched / "trials").rglob("*.pt")} == files
    assert family(searched)[0].info.status == "FINISHED"
    for sets, words in (
        (["tune.space.label_smoothing={grid=[0.2]}"], "tune.space.label_smoothing.grid: [0.0, 0.1] != [0.2]"),
        (["model.width=0.25"], "recipe.model.width: 0.125 != 0.25"),
        (["tune.seed=1"], "tune.seed: 0 != 1"),
    ):
        assert tune.cli([str(recipe), "--output", str(searched), "--set", *sets]) == 2
        assert words in capsys.readouterr().err


def by_hand(recipe: Path, donor: Record, taker: Record, folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a trial that goes on from another's after two epochs, without a search."""
    base = replace(load_config(TrainRecipe, recipe), tune=None)
    shards, worker = ShardSet.open(base.data.shards), WorkerContext(num_threads=1)
    first = recipe_with(base, {"seed": donor.seed, **donor.values}, "r")
    train(first, shards, worker, str(folder / "donor"), lambda _: None, pause_after=2)
    state = load_state(str(folder / "donor"))
    assert state is not None
    then = recipe_with(base, {"seed": taker.seed, **taker.present_values}, "r")
    (folder / "taker").mkdir()
    save_state(str(folder / "taker"), take_over(state, then))
    train(then, shards, worker, str(folder / "taker"), lambda _: None)
    return load_recognizer(str(folder / "taker" / "last.pt"))[0].state_dict()


def test_a_population_really_takes_weights_over(recipe: Path, tmp_path: Path, ray_cluster: Any, capsys: Any) -> None:
    output = recipe.parent / "searches" / "population"
    args = [str(recipe.with_stem("population")), "--output", str(output), "--set", "tune.keep=2"]
    assert tune.cli(args) == 0
    records = load_records(str(output))
    assert [record.epoch for record in records] == [4, 4]
    (taker,) = [record for record in records if record.takeovers]
    (takeover,) = taker.takeovers
    assert takeover.epoch == 2
    assert takeover.values != taker.values
    assert [row["generation"] for row in taker.rows] == [0, 0, 1, 1]
    assert [row["lr"] for row in taker.rows] == [taker.values["optim.lr"]] * 2 + [takeover.values["optim.lr"]] * 2
    folder = trial_folder(str(output), taker.number, 1)
    expected = by_hand(recipe.with_stem("population"), records[takeover.donor], taker, tmp_path)
    found = load_recognizer(str(Path(folder, "last.pt")))[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    _, children = family(output)
    assert {run.info.status for run in children.values()} == {"FINISHED"}
    assert f"from trial {takeover.donor}" in children[taker.number].data.tags["takeovers"]
    assert re.search(r"best: trial \d, val_top1 ", capsys.readouterr().out)
    assert load_state(folder) is None  # what only a restart would need is gone
