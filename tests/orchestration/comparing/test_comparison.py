"""Runs put side by side by one function: what is read, in which order, and what is written."""

import csv
from pathlib import Path

import pytest

from kinebert.orchestration.comparing.comparison import compare
from kinebert.orchestration.jobs.requests import ComparisonRequest
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.errors import ConfigError, UserError
from tests.helpers.compared import HEAD, MULTI, make_run, make_scores


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trainings; the scores of ``elsewhere`` are in MLflow alone."""
    folder = tmp_path_factory.mktemp("side by side")
    for i, name in enumerate(("tgap", "bert")):
        make_run(folder / name, {MULTI: make_scores(0.6 + 0.2 * i, seed=i)}, HEAD if name == "tgap" else {})
    run = make_run(folder / "elsewhere", {MULTI: make_scores(0.7, seed=5)})
    tracker = Tracker.start(f"sqlite:///{folder}/mlflow.db", "gestures", "elsewhere", {})
    tracker.artifact(run / MULTI / "scores.parquet", MULTI)
    tracker.end("FINISHED")
    tracker.address.save(str(run))
    (run / MULTI / "scores.parquet").unlink()
    (run / MULTI).rmdir()
    return folder


def test_what_is_written_and_returned(runs: Path, tmp_path: Path) -> None:
    result = compare(ComparisonRequest(runs=(str(runs / "tgap"), str(runs / "bert")), output=str(tmp_path / "out")))
    assert result.verdict.ranked
    assert result.page == str(tmp_path / "out" / "comparison.html")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"comparison.html", *result.tables}
    assert "<title>tgap, bert</title>" in Path(result.page).read_text()
    with (tmp_path / "out" / "runs.csv").open() as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["tgap", "bert"]


def test_the_baseline_comes_first_and_the_others_stay_in_order(runs: Path, tmp_path: Path) -> None:
    given = tuple(str(runs / name) for name in ("tgap", "elsewhere", "bert"))
    result = compare(ComparisonRequest(runs=given, baseline="bert", output=str(tmp_path)))
    assert [run.name for run in result.verdict.runs] == ["bert", "tgap", "elsewhere"]
    assert result.verdict.baseline.run.name == "bert"
    with pytest.raises(ConfigError, match="no run is called 'best'. There are: tgap, elsewhere, bert"):
        compare(ComparisonRequest(runs=given, baseline="best", output=str(tmp_path)))


def test_scores_that_mlflow_alone_has_are_taken_from_there(runs: Path, tmp_path: Path) -> None:
    given = (str(runs / "tgap"), str(runs / "elsewhere"))
    result = compare(ComparisonRequest(runs=given, output=str(tmp_path)))
    assert [standing.run.name for standing in result.verdict.standings] == ["elsewhere", "tgap"]


def test_a_name_is_looked_for_in_mlflow_and_a_folder_is_not(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    store = f"sqlite:///{runs}/mlflow.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = compare(ComparisonRequest(runs=("bert", "tgap"), output=str(tmp_path)))  # both are folders here
    assert [run.name for run in result.verdict.runs] == ["bert", "tgap"]
    monkeypatch.chdir(tmp_path)
    given = (str(runs / "bert"), "elsewhere")
    result = compare(ComparisonRequest(runs=given, output=str(tmp_path / "out"), tracking_uri=store))
    assert [run.name for run in result.verdict.runs] == ["bert", "elsewhere"]
    with pytest.raises(UserError, match="runs/mlflow.db: there is no such MLflow store"):
        compare(ComparisonRequest(runs=given, output=str(tmp_path / "out")))


def test_one_run_is_no_comparison(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a comparison takes two or more runs, got 1"):
        compare(ComparisonRequest(runs=(str(runs / "bert"),), output=str(tmp_path / "out")))
    assert not (tmp_path / "out" / "comparison.html").exists()


def test_runs_of_the_same_name_are_told_apart(runs: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "other" / "bert", {MULTI: make_scores(0.5)})
    given = (str(runs / "bert"), str(tmp_path / "other" / "bert"))
    result = compare(ComparisonRequest(runs=given, output=str(tmp_path / "out")))
    assert [run.name for run in result.verdict.runs] == [f"{runs.name}/bert", "other/bert"]


def test_a_folder_that_cannot_be_written_is_found_out_first(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out: this is a file, the output must be a folder"):
        compare(ComparisonRequest(runs=("/no/such/run", "/nor/this"), output=str(tmp_path / "out")))
