"""An MLflow server over PostgreSQL keeps what a SQLite file keeps, of two trainings at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from kinebert.commits import VARIABLE as COMMIT
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.mlflow_servers import mlflow_server, postgres
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = pytest.mark.slow
CHANGES = ("seconds", "clips_per_s", "data_wait", "startup", "memory", "system/")
"""Parts of the names of numbers that are of the machine."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    artifacts = tmp_path_factory.mktemp("server") / "artifacts"
    artifacts.mkdir()
    with postgres() as store, mlflow_server(store, artifacts) as address:
        yield address


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("postgres")
    return make_set(make_rows(folder / "videos", [9] * 12), folder / "sets" / "rgb", FrameRecipe(resize="none"), 12)


def start(folder: Path, program: str, *args: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), COMMIT: "the same"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-m", "kinebert.pipelines.cli", program, *args]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def finish(process: "subprocess.Popen[str]") -> str:
    printed, _ = process.communicate(timeout=280)
    assert process.returncode == 0, printed
    return printed


def recorded(folder: Path) -> dict[str, Any]:
    """All that MLflow keeps of the run of a folder, without what is of the time and place."""
    address = RunAddress.load(str(folder))
    assert address is not None
    client = MlflowClient(address.tracking_uri)
    run = client.get_run(address.run_id)
    names = sorted(name for name in run.data.metrics if not any(word in name for word in CHANGES))
    histories = {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(address.run_id, name)]
        for name in names
    }
    assert run.outputs is not None
    assert run.inputs is not None
    models = [client.get_logged_model(output.model_id) for output in run.outputs.model_outputs]
    return {
        "status": run.info.status,
        "params": run.data.params,
        "metrics": {name: sorted(values) for name, values in histories.items()},
        "tags": {key: value for key, value in run.data.tags.items() if key not in ("run_folder", "mlflow.runName")},
        "artifacts": sorted(file for file in _files(client, address.run_id) if not file.startswith("images/")),
        "sets": sorted((given.dataset.name, given.dataset.digest) for given in run.inputs.dataset_inputs),
        "models": sorted((model.name, str(model.status), {**model.params}["epoch"]) for model in models),
    }


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from _files(client, run_id, item.path)
        else:
            yield item.path


@pytest.mark.timeout(900)
def test_two_trainings_at_once_are_recorded_as_in_a_file(server: str, shards: ShardSet, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(small_recipe(shards.uri, epochs=2) + '[test]\nclips = "multi"\n')
    options = ["recipe.toml", "--experiment", "both", "--output"]
    both = [start(tmp_path, "train", *options, f"runs/{name}", "--tracking-uri", server) for name in ("one", "two")]
    for process in both:
        finish(process)
    finish(start(tmp_path, "train", *options, "runs/file"))
    here = recorded(tmp_path / "runs" / "file")
    assert here["status"] == "FINISHED"
    assert {"step/loss", "epoch/val_top1", "val_top1", "val_loss"} <= here["metrics"].keys()
    assert {"best.pt", "recipe.toml", "report/report.md"} <= set(here["artifacts"])
    assert len(here["sets"]) == 2
    for name in ("one", "two"):
        assert recorded(tmp_path / "runs" / name) == here
    for name, part in (("one", "val"), ("two", "val")):
        finish(start(tmp_path, "evaluate", f"runs/{name}/best.pt", "--part", part))
    printed = finish(start(tmp_path, "compare", "--experiment", "both", "--tracking-uri", server))
    assert "+0.0 points of top-1" in printed
    assert "p = 1, not significant" in printed
    page = (tmp_path / "comparison" / "comparison.html").read_text()
    assert "one" in page
    printed = finish(start(tmp_path, "register", "runs/one/best.pt", "--name", "gestures"))
    assert "gestures, version 1: models:/gestures/1" in printed
