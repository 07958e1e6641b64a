"""Mirrors get what MLflow gets, by the same names; one that fails ends nothing, an absent one is refused first."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking import mirrors
from kinebert.orchestration.tracking.mirrors import check_mirrors
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.pipelines import train
from kinebert.preprocessing.errors import ConfigError

PICTURE = np.zeros((4, 6, 3), np.uint8)


class FakeRun:
    """A run of W&B: what is logged is kept, and its summary has the last of it, as the real one."""

    def __init__(self, summary: dict[str, Any], fails: bool) -> None:
        self.summary, self.fails = summary, fails
        self.logged: list[dict[str, Any]] = []
        self.axes: dict[str, str | None] = {}
        self.settings: dict[str, Any] = {}
        self.config = SimpleNamespace(update=lambda values, allow_val_change: self.settings.update(values))
        self.finished = 0

    def define_metric(self, name: str, step_metric: str | None = None, hidden: bool = False) -> None:
        self.axes[name] = step_metric

    def log(self, values: dict[str, Any]) -> None:
        if self.fails:
            raise ConnectionError("no way to there")
        self.logged.append(values)
        self.summary.update(values)

    def finish(self) -> None:
        self.finished += 1


class FakeWandb(ModuleType):
    """The module wandb: runs by their ids, and with what they were asked for."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.summaries: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        self.runs: list[FakeRun] = []
        self.fails = False

    def init(self, **options: Any) -> FakeRun:
        self.asked.append(options)
        self.runs.append(FakeRun(self.summaries.setdefault(options["id"], {}), self.fails))
        return self.runs[-1]

    def Image(  # noqa: N802
        self, picture: Any
    ) -> tuple[str, tuple[int, ...]]:
        return "image", picture.shape


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    module = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delitem(sys.modules, "kinebert.orchestration.tracking.mirrors.wandb_runs", raising=False)
    return module


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mirrors')}/mlflow.db"


def mirrored(store: str, folder: Path) -> Tracker:
    tracker = Tracker.start(store, "kinebert", "run", {})
    tracker.mirror(("wandb",), str(folder))
    return tracker


def test_wandb_gets_what_mlflow_gets_over_the_same_steps(store: str, tmp_path: Path, wandb: FakeWandb) -> None:
    tracker = mirrored(store, tmp_path / "rgb")
    tracker.params({"optim.lr": 0.1})
    tracker.metrics({"step/loss": 2.0, "system/cpu": 50.0}, 7)
    tracker.metrics({"val_top1": 0.5, "epoch/val_loss": 1.0, "fold #1/top1": 0.25}, 1)
    tracker.end("FINISHED")
    (run,) = wandb.runs
    (asked,) = wandb.asked
    wanted = {"project": "kinebert", "id": tracker.address.run_id, "name": "rgb", "dir": str(tmp_path / "rgb")}
    assert wanted.items() <= asked.items()
    assert run.settings == {"optim.lr": "0.1"}
    assert run.logged == [
        {"step/loss": 2.0, "system/cpu": 50.0, "updates": 7},
        {"val_top1": 0.5, "epoch/val_loss": 1.0, "fold _1/top1": 0.25, "epochs": 1},
    ]
    assert (run.axes["*"], run.axes["step/*"], run.axes["system/*"]) == ("epochs", "updates", "updates")
    assert run.finished == 1
    told = {name: value for values in run.logged for name, value in values.items() if name not in ("updates", "epochs")}
    assert told == MlflowClient(store).get_run(tracker.address.run_id).data.metrics


def test_a_run_of_wandb_goes_on_where_it_was(store: str, tmp_path: Path, wandb: FakeWandb) -> None:
    tracker = mirrored(store, tmp_path)
    tracker.metrics({"step/loss": 2.0}, 7)
    again = Tracker.resume(tracker.address)
    again.mirror(("wandb",), str(tmp_path))
    for step in (6, 7, 8):
        again.metrics({"step/loss": float(step)}, step)
    again.metrics({"epoch/val_loss": 1.0}, 1)
    assert wandb.runs[1].logged == [{"step/loss": 8.0, "updates": 8}, {"epoch/val_loss": 1.0, "epochs": 1}]


def test_a_mirror_that_fails_is_said_once_and_ends_nothing(
    store: str, tmp_path: Path, wandb: FakeWandb, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.fails = True
    tracker = mirrored(store, tmp_path)
    for step in range(3):
        tracker.metrics({"step/loss": 1.0}, step)
    assert tracker.end("FINISHED")
    (told,) = capsys.readouterr().err.splitlines()
    assert told == "the mirror wandb fails and is left out from here on; MLflow has it all: no way to there"
    assert len(MlflowClient(store).get_metric_history(tracker.address.run_id, "step/loss")) == 3
    assert tracker.complete


def test_a_mirror_that_cannot_be_opened_ends_nothing(
    store: str, tmp_path: Path, wandb: FakeWandb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError("log in first")

    monkeypatch.setattr(wandb, "init", refuse)
    tracker = mirrored(store, tmp_path)
    tracker.metrics({"step/loss": 1.0}, 1)
    assert tracker.end("FINISHED")
    assert capsys.readouterr().err.count("log in first") == 1


def test_a_mirror_whose_package_is_absent_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mirrors, "find_spec", lambda _: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(ConfigError, match=rf"pip install 'kinebert\[{name}\]'"):
            check_mirrors((name,), str(tmp_path))
    monkeypatch.setattr(mirrors, "find_spec", lambda _: "there")
    check_mirrors(("tensorboard", "wandb"), str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no mirror 'wand'\. Did you mean wandb"):
        check_mirrors(("wand",), str(tmp_path))
    with pytest.raises(ConfigError, match="is no folder of this machine"):
        check_mirrors(("wandb",), "s3://bucket/run")
    with pytest.raises(SystemExit):
        train.cli(["recipe.toml", "--mirror", "tensorbord"])
    assert "tensorboard" in capsys.readouterr().err


def test_without_a_word_nothing_is_mirrored(store: str, tmp_path: Path, wandb: FakeWandb) -> None:
    tracker = Tracker.start(store, "kinebert", "run", {})
    tracker.mirror((), str(tmp_path))
    tracker.metrics({"step/loss": 1.0}, 1)
    assert tracker.end("FINISHED")
    assert (wandb.runs, list(tmp_path.iterdir())) == ([], [])
