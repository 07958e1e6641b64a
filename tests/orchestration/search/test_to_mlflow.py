"""What MLflow is told of a search, with a store that is there, that is away, or that a killed driver left."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.reports.drawing import to_png
from kinebert.orchestration.search import to_mlflow
from kinebert.orchestration.search.figures import draw_learning, draw_parallel
from kinebert.orchestration.search.records import Record, TakeOver, TrialEpoch, save_record, trial_folder
from kinebert.orchestration.search.report import outcome, table
from kinebert.orchestration.search.space import read_space
from kinebert.orchestration.search.tidying import Keeper
from kinebert.orchestration.search.to_mlflow import Recorder, winner
from kinebert.orchestration.search.trials import Job
from kinebert.orchestration.search.tuning import TuningResult
from kinebert.orchestration.tracking.lifecycle import open_run
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.pipelines.tune import _report
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from kinebert.training.run_folder import rank
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.fake_shards import make_shards

SPACE = {"optim.lr": {"log_uniform": [1e-5, 1e-1]}, "model.head": {"choice": ["bert", "tgap"]}}
TUNE = TuneRecipe(space=SPACE, keep=1)
SHARDS: Any = make_shards()
BASE = TrainRecipe(data=DataRecipe(shards="/set"), batch_size=8, epochs=3, tune=TUNE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def job(tmp_path: Path) -> Job:
    return Job(base=BASE, output=str(tmp_path), cpus_per_worker=1.0, where="r.toml")


def trial(tmp_path: Path, number: int, top1: float, state: Any = "finished", epochs: int = 3) -> Record:
    values = {"optim.lr": 10.0 ** -(1 + number % 4), "model.head": ("bert", "tgap")[number % 2]}
    rows = [
        TrialEpoch(epoch=e, val_top1=top1 * e / 3, val_loss=1.0, order=10 * number + e, generation=0)
        for e in range(1, epochs + 1)
    ]
    record = Record(number=number, values=values, seed=number, state=state, rows=rows, startup_s=1.5)
    save_record(str(tmp_path), record)
    return record


def parent(store: str, tmp_path: Path) -> Tracker:
    return open_run(str(tmp_path), store, "kinebert", {})


def children(store: str, run: Tracker) -> dict[int, Any]:
    client = MlflowClient(store)
    experiment = client.get_run(run.address.run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run.address.run_id}'")
    return {int(child.data.tags.get("trial", -1)): child for child in found}


def test_trials_become_children_and_the_best_is_tagged(store: str, tmp_path: Path) -> None:
    run = parent(store, tmp_path)
    recorder = Recorder(run, job(tmp_path), SHARDS, [])
    good, bad = trial(tmp_path, 0, 0.9), trial(tmp_path, 1, 0.6, "stopped", 2)
    bad.reason = "asha: behind"
    broken = trial(tmp_path, 2, 0.99, "failed")
    for record in (replace(good, state="running", rows=good.rows[:1]), good, bad, broken):
        recorder.changed(record, False)
    assert recorder.close()
    best = winner([good, bad, broken], TUNE, str(tmp_path))
    assert best is not None
    assert best.record.number == 0  # not the one that failed
    make_checkpoint(Path(best.checkpoint), SHARDS, ProtocolRecipe())
    recorder.crown(best)
    found = children(store, run)
    assert [found[n].info.status for n in range(3)] == ["FINISHED", "FINISHED", "FAILED"]
    assert [found[n].data.tags["best"] for n in range(3)] == ["true", "false", "false"]
    assert found[1].data.tags["reason"] == "asha: behind"
    assert found[0].data.params["optim.lr"] == "0.1"
    assert found[0].data.tags["shards_content"] == SHARDS.content
    assert found[0].data.tags["run_folder"] == trial_folder(str(tmp_path), 0)
    assert not [name for name in found[0].data.params if name.startswith("tune")]
    history = MlflowClient(store).get_metric_history(found[0].info.run_id, "epoch/val_top1")
    assert [metric.step for metric in history] == [1, 2, 3]
    assert found[0].data.metrics["search/startup_s"] == 1.5
    shown = [{name: run.data.metrics[name] for name in ("val_top1", "val_loss")} for run in (found[0], found[1])]
    assert shown == [{"val_top1": 0.9, "val_loss": 1.0}, {"val_top1": pytest.approx(0.4), "val_loss": 1.0}]
    run.flush()
    of_parent = MlflowClient(store).get_run(run.address.run_id).data.metrics
    assert of_parent == {"val_top1": 0.9, "val_loss": 1.0, "search/best_val_top1": 0.9}
    for number in range(3):
        assert [item.path for item in MlflowClient(store).list_artifacts(found[number].info.run_id)][
            -1
        ] == "recipe.toml"
        contexts = {data.tags[0].value: data.dataset.digest for data in found[number].inputs.dataset_inputs}
        assert contexts == {"training": SHARDS.content, "validation": SHARDS.content}
    ((model,), *others) = (found[number].outputs.model_outputs for number in range(1))
    assert not others
    assert MlflowClient(store).get_logged_model(model.model_id).tags["flavors"] == "pyfunc"


@pytest.mark.parametrize("fails", ["log_batch", "set_terminated"])
def test_a_run_that_is_not_closed_is_tried_again_and_told(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(to_mlflow, "_PAUSES_S", (0.0,))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    run = parent(store, tmp_path)
    recorder = Recorder(run, job(tmp_path), SHARDS, [])
    record = trial(tmp_path, 0, 0.9)
    recorder.changed(replace(record, state="running", rows=record.rows[:1]), True)
    recorder._thread.shutdown(wait=True)
    away = True
    real = getattr(MlflowClient, fails)

    def sometimes(self: Any, *args: Any, **kwargs: Any) -> Any:
        if away:
            raise OSError("the store is away")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, fails, sometimes)
    recorder._update(record)
    assert not recorder.close()
    assert children(store, run)[0].info.status == "RUNNING"
    away = False
    assert recorder.close()
    assert children(store, run)[0].info.status == "FINISHED"
    history = MlflowClient(store).get_metric_history(children(store, run)[0].info.run_id, "epoch/val_top1")
    assert [metric.step for metric in history] == [1, 2, 3]


def test_the_epoch_that_is_reported_is_the_one_whose_weights_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of equal accuracies that with the lower loss; where the search looks at another number, both are known."""
    record = trial(tmp_path, 0, 0.9)
    numbers = [(0.8, 0.9), (0.9, 0.7), (0.9, 0.6), (0.9, 0.6), (0.5, 0.2)]
    record.rows = [
        {"epoch": e, "val_top1": top1, "val_loss": loss, "order": e, "generation": 0}
        for e, (top1, loss) in enumerate(numbers, 1)
    ]
    by_top1 = winner([record], TUNE, str(tmp_path))
    by_loss = winner([record], replace(TUNE, metric="val_loss"), str(tmp_path))
    assert by_top1 is not None
    assert by_loss is not None
    assert (by_top1.row["epoch"], by_top1.kept["epoch"]) == (3, 3)
    assert (by_loss.row["epoch"], by_loss.kept["epoch"]) == (5, 3)
    for metric, told in (("val_loss", True), ("val_top1", False)):
        tune = replace(TUNE, metric=metric)  # type: ignore[arg-type]
        best = winner([record], tune, str(tmp_path))
        assert _report(TuningResult(str(tmp_path), tune, (record,), best, "sqlite:///mlflow.db", "id")) == 0
        said = "its best.pt holds epoch 3, the best in val_top1, with val_loss 0.6\n" in capsys.readouterr().out
        assert said is told
    kept: Any = None  # as kinebert.training.loop.loop does
    for row in record.rows:
        kept = row if kept is None or rank(row) > rank(kept) else kept
    assert kept is by_top1.kept


def test_a_restart_closes_and_completes_what_a_killed_driver_left(store: str, tmp_path: Path) -> None:
    run = parent(store, tmp_path)
    first = Recorder(run, job(tmp_path), SHARDS, [])
    whole = trial(tmp_path, 0, 0.9)
    first.changed(replace(whole, state="running", rows=whole.rows[:1]), True)
    first._thread.shutdown(wait=True)
    first._children[0].flush()
    tags = {"mlflow.parentRunId": run.address.run_id}
    Tracker.start(store, "kinebert", "made, but not written down", tags)
    assert {child.info.status for child in children(store, run).values()} == {"RUNNING"}
    second = Recorder(run, job(tmp_path), SHARDS, [whole])
    second.close()
    found = children(store, run)
    assert found[0].info.status == "FINISHED"
    assert found[-1].info.status == "KILLED"
    history = MlflowClient(store).get_metric_history(found[0].info.run_id, "epoch/val_top1")
    assert [metric.step for metric in history] == [1, 2, 3]
    ended = found[0].info.end_time
    Recorder(run, job(tmp_path), SHARDS, [whole]).close()
    assert children(store, run)[0].info.end_time == ended  # what is closed and complete is left alone


def test_a_trial_that_came_to_nothing_has_a_new_run_and_one_that_goes_on_its_own_with_what_changed(
    store: str, tmp_path: Path
) -> None:
    run = parent(store, tmp_path)
    ended, going = trial(tmp_path, 0, 0.9), trial(tmp_path, 1, 0.5, "running", 1)
    nothing = trial(tmp_path, 2, 0.5, "running", 0)
    known = [ended, going, nothing]
    first = Recorder(run, job(tmp_path), SHARDS, [])
    for record in known:
        first.changed(record, False)
    first.close()
    before = {number: child.info.run_id for number, child in children(store, run).items()}
    other = replace(job(tmp_path), base=replace(BASE, eval_batch=3))
    second = Recorder(run, other, SHARDS, known)
    for record in known:
        second.changed(record, False)
    assert second.close()
    assert second.complete
    addresses = [RunAddress.load(trial_folder(str(tmp_path), n)) for n in range(3)]
    found = [MlflowClient(store).get_run(address.run_id) for address in addresses if address is not None]
    assert [found[n].info.run_id == before[n] for n in range(3)] == [True, True, False]
    assert [found[n].data.params.get("eval_batch") for n in range(3)] == [None, None, "3"]  # 16 is usual
    assert found[1].data.tags["changed.eval_batch"] == "16 -> 3 from epoch 2"
    assert not [tag for n in (0, 2) for tag in found[n].data.tags if tag.startswith(("changed.", "now."))]
    assert "eval_batch = 16" in Path(trial_folder(str(tmp_path), 0), "recipe.toml").read_text()


def test_trials_that_are_not_at_work_any_more_are_closed(store: str, tmp_path: Path) -> None:
    run = parent(store, tmp_path)
    recorder = Recorder(run, job(tmp_path), SHARDS, [])
    recorder.changed(trial(tmp_path, 0, 0.9, "running", 1), True)
    recorder.close()
    assert children(store, run)[0].info.status == "KILLED"


def test_a_store_that_is_away_for_a_while_costs_nothing(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = parent(store, tmp_path)
    recorder = Recorder(run, job(tmp_path), SHARDS, [])
    real = Tracker.start

    def away(*_: Any, **__: Any) -> Any:
        raise UserError("connection refused")

    monkeypatch.setattr(Tracker, "start", staticmethod(away))
    for number in range(2):
        recorder.changed(trial(tmp_path, number, 0.5), False)
    recorder._thread.shutdown(wait=True)
    assert capsys.readouterr().err == "MLflow is out of reach; trials are recorded later: connection refused\n"
    monkeypatch.setattr(Tracker, "start", staticmethod(real))
    assert recorder.close()
    assert [child.info.status for child in children(store, run).values()] == ["FINISHED"] * 2


def test_weights_are_kept_of_the_best_and_numbers_of_all(tmp_path: Path) -> None:
    records = [trial(tmp_path, number, 0.5 + number / 10) for number in range(3)]
    for record in records:
        for name in ("best.pt", "last.pt", "state.pt"):
            Path(trial_folder(str(tmp_path), record.number), name).write_bytes(b"x")
    keeper = Keeper(job(tmp_path))
    keeper.tidy(records, at_work=2)
    assert [Path(trial_folder(str(tmp_path), n), "state.pt").exists() for n in range(3)] == [False, False, True]
    keeper.tidy(records)
    assert [Path(trial_folder(str(tmp_path), n), "best.pt").exists() for n in range(3)] == [False, False, True]
    assert all(Path(trial_folder(str(tmp_path), n), "recipe.toml").exists() for n in range(3))


def test_a_search_is_drawn_and_told_whatever_came_of_it(tmp_path: Path) -> None:
    space = read_space(TUNE, BASE, "r.toml")
    states = ["finished", "stopped", "failed", "finished"]
    records = [trial(tmp_path, number, 0.3 * number, state) for number, state in enumerate(states)]
    records[3].takeovers.append(TakeOver(epoch=2, donor=0, values={"optim.lr": 0.1, "model.head": "bert"}))
    for row in records[1].rows:
        row["val_loss"] = math.nan
    empty = Record(number=4, values=records[0].values, seed=4, state="failed", reason="no memory")
    for tune in (TUNE, replace(TUNE, metric="val_loss")):
        for chosen in ([empty], [*records, empty]):
            for figure in (draw_parallel(chosen, space, tune), draw_learning(chosen, tune)):
                assert to_png(figure).startswith(b"\x89PNG")
    shown, *rest = table([*records, empty], TUNE, 2)
    lines = [*str(shown).splitlines(), *map(str, rest)]
    assert lines[0].split() == ["trial", "state", "epochs", "val_top1", "optim.lr", "model.head"]
    assert lines[1].split() == ["3", "finished", "3", "90.0%", "0.0001", "tgap"]
    assert lines[3:] == ["and 1 more", "2 failed; the first: trial 2: "]
    assert outcome(empty, TUNE).endswith("failed at epoch 0, no epoch; optim.lr = 0.1, model.head = bert: no memory")
