"""Runs of a comparison that are read from an MLflow store."""

from pathlib import Path

import pytest

from kinebert.orchestration.comparing.from_mlflow import Store
from kinebert.orchestration.comparing.runs import read_run
from kinebert.orchestration.tracking.metric_names import LAST_EPOCH, epoch_metrics
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.errors import UserError
from tests.helpers.compared import HEAD, MULTI, make_run, make_scores


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with two finished trainings, one that failed, and a search with a trial; two have the same name."""
    folder = tmp_path_factory.mktemp("compared")
    uri = f"sqlite:///{folder}/mlflow.db"
    for name, status in (("one", "FINISHED"), ("two", "FINISHED"), ("broken", "FAILED")):
        run = make_run(folder / name, {MULTI: make_scores(0.6)}, HEAD)
        tracker = Tracker.start(uri, "gestures", name, {"mlflow.source.git.commit": f"commit of {name}"})
        tracker.params({"model.head": "tgap", "epochs": 6})
        tracker.artifact(run / "recipe.toml")
        tracker.artifact(run / MULTI / "scores.parquet", MULTI)
        for epoch in (1, 2):
            tracker.metrics({"epoch/val_top1": epoch / 10, "epoch/val_loss": 1 / epoch, "step/loss": 9.0}, epoch)
        tracker.end(status)
    search = Tracker.start(uri, "gestures", "a search", {})
    trial = Tracker.start(uri, "gestures", "one", {"mlflow.parentRunId": search.address.run_id})
    trial.params({"optim.lr": 0.1})
    trial.end("FINISHED")
    search.end("FINISHED")
    Tracker.start(uri, "others", "alone", {}).end("FINISHED")
    return uri


@pytest.fixture
def store(uri: str) -> Store:
    return Store(uri)


def test_a_run_has_its_recipe_scores_epochs_and_code(store: Store, uri: str) -> None:
    run = store.find("two", None)
    folder = Path(uri.removeprefix("sqlite:///")).parent / "two"
    assert run.recipe == read_run(str(folder)).recipe
    assert list(run.tables) == [MULTI]
    assert run.tables[MULTI].video_ids == make_scores(0.6).video_ids
    assert run.history == [
        {"epoch": 1, "val_top1": 0.1, "val_loss": 1.0},
        {"epoch": 2, "val_top1": 0.2, "val_loss": 0.5},
    ]
    assert run.facts == {"commit": "commit of two"}
    assert uri in run.where


def test_a_run_of_an_earlier_version_that_went_on_has_one_history(tmp_path: Path) -> None:
    rows = [{"epoch": n, "train_loss": 1 / n, "val_loss": 2 / n, "val_top1": n / 9, "lr": 0.1 / n} for n in (1, 2, 3)]
    rows = [{**row, "seconds": 4.0, "clips_per_s": 40.0, "skipped": 0.0} for row in rows]
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracker.start(uri, "gestures", "went on", {})
    for row in rows[:2]:  # as it was told then
        tracker.metrics({f"epoch/{key}": value for key, value in row.items() if key != "epoch"}, int(row["epoch"]))
    tracker.end("KILLED")
    again = Tracker.resume(tracker.address)
    assert again.last_step(LAST_EPOCH) == 2
    again.metrics(epoch_metrics(rows[2]), 3)
    again.end("FINISHED")
    assert Store(uri).find("went on", None).history == rows


def test_a_run_is_found_by_its_id_and_one_without_files_by_its_parameters(store: Store) -> None:
    runs, _ = store.experiment("gestures")
    trial = next(run for run in runs if not run.tables)
    assert trial.recipe == {"optim.lr": "0.1"}
    run_id = trial.where.split()[1]
    assert store.find(run_id, None).recipe == trial.recipe


def test_a_name_of_several_runs_is_refused_with_their_ids(store: Store) -> None:
    with pytest.raises(UserError, match="one: 2 runs in .* have this name. Name one by its id: ") as told:
        store.find("one", "gestures")
    assert str(told.value).count("(finished)") == 2


def test_what_is_nowhere_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: neither a folder, nor a scores.parquet, nor a run in sqlite"):
        store.find("absent", None)
    with pytest.raises(UserError, match="alone: neither a folder"):
        store.find("alone", "gestures")  # it is of another experiment
    with pytest.raises(UserError, match="there is no experiment 'jests'. There are: .*gestures"):
        store.experiment("jests")
    with pytest.raises(UserError, match="there is no such MLflow store. Say which with --tracking-uri"):
        Store(f"sqlite:///{tmp_path}/no.db")
    assert not (tmp_path / "no.db").exists()


def test_a_quote_in_a_name_is_part_of_it(store: Store) -> None:
    with pytest.raises(UserError, match="it's' or 1=1: neither"):
        store.find("it's' or 1=1", None)


def test_an_experiment_is_its_finished_runs_without_searches_oldest_first(store: Store) -> None:
    runs, notes = store.experiment("gestures")
    assert [run.name for run in runs] == ["one", "two", "one"]
    assert notes == ["1 runs of the experiment are left out: broken (failed)"]
    assert [run.name for run in store.experiment("others")[0]] == ["alone"]


def test_an_experiment_without_a_finished_run_is_refused(uri: str) -> None:
    Tracker.start(uri, "begun", "at work", {})
    with pytest.raises(UserError, match="the experiment 'begun' in .* has no finished run"):
        Store(uri).experiment("begun")
