"""What an MLflow store refuses, and in what ways it fails: told apart, in one line each, and noted as missing."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from mlflow.tracking import MlflowClient

from kinebert.orchestration.comparing.from_mlflow import Store
from kinebert.orchestration.tracking import store as tracking_store
from kinebert.orchestration.tracking import tracker as tracking
from kinebert.orchestration.tracking.lifecycle import open_run
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.store import was_refused
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.errors import UserError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('refusals')}/mlflow.db"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


def status_of(address: RunAddress) -> str:
    return str(MlflowClient(address.tracking_uri).get_run(address.run_id).info.status)


def test_names_of_users_arrive_and_are_grouped_as_they_were(store: str, tmp_path: Path) -> None:
    tracker = Tracker.start(store, "kinebert", "n" * 400, {"fold #1": "x"})
    tracker.metrics({"fold #1 (80-20)-test-single/top1": 0.5}, 1)
    tracker.tags({"a+b": "y" * 9000})
    (tmp_path / "scores").write_text("x")
    tracker.artifact(tmp_path / "scores", "fold #1/../x")
    assert tracker.end("FINISHED")
    assert tracker.complete
    client = MlflowClient(store)
    data = client.get_run(tracker.address.run_id).data
    assert data.metrics == {"fold _1 _80-20_-test-single/top1": 0.5}
    assert (data.tags["fold _1"], len(data.tags["a_b"])) == ("x", 5000)
    assert [item.path for item in client.list_artifacts(tracker.address.run_id, "fold _1/__/x")] == [
        "fold _1/__/x/scores"
    ]


def test_one_name_that_is_refused_does_not_hold_up_the_others(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "legal_name", lambda name: name)
    tracker = Tracker.start(store, "kinebert", "refused", {})
    for step in range(3):
        tracker.metrics({"good": 1.0, "b#d": 2.0, "also good": 3.0}, step)
    assert tracker.flush()
    tracker.metrics({"good": 1.0, "b#d": 2.0}, 3)
    assert tracker.end("FINISHED")
    assert not tracker.complete
    client = MlflowClient(store)
    for name, steps in (("good", 4), ("also good", 3)):
        assert len(client.get_metric_history(tracker.address.run_id, name)) == steps
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("MLflow refuses b#d, which the run will lack: ")
    assert "out of reach" not in told


def test_a_run_that_was_deleted_meanwhile_is_named_once(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker.start(store, "kinebert", "deleted", {})
    MlflowClient(store).delete_run(tracker.address.run_id)
    for step in range(3):
        tracker.metrics({f"m{i}": 1.0 for i in range(20)}, step)
    assert tracker.flush()
    assert not tracker.complete
    (told,) = capsys.readouterr().err.splitlines()
    assert "m0, m1, m10, m11, m12 and 15 more" in told
    assert "deleted" in told


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (MlflowException("no", codes.INVALID_PARAMETER_VALUE), True),
        (MlflowException("no", codes.RESOURCE_ALREADY_EXISTS), True),
        (MlflowException("no", codes.BAD_REQUEST), True),
        (MlflowException("no", codes.PERMISSION_DENIED), True),
        (MlflowException("later", codes.TEMPORARILY_UNAVAILABLE), False),
        (MlflowException("later", codes.INTERNAL_ERROR), False),
        (MlflowException("later", codes.REQUEST_LIMIT_EXCEEDED), False),
        (ConnectionError("gone"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_what_is_wrong_with_the_request_is_no_outage(error: Exception, refused: bool) -> None:
    assert was_refused(error) is refused


def test_an_experiment_that_was_deleted_is_named_with_the_ways_out(store: str) -> None:
    tracker = Tracker.start(store, "given up", "run", {})
    client = MlflowClient(store)
    experiment = client.get_run(tracker.address.run_id).info.experiment_id
    client.delete_experiment(experiment)
    restore = f"experiments restore --experiment-id {experiment}"
    for ask in (lambda: Tracker.start(store, "given up", "again", {}), lambda: Store(store).experiment("given up")):
        with pytest.raises(UserError, match="the experiment 'given up' was deleted. Give another --experiment") as told:
            ask()
        assert restore in str(told.value)
    client.restore_experiment(experiment)
    assert Tracker.start(store, "given up", "again", {})


def test_a_run_that_was_deleted_is_named_with_the_ways_out(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = open_run(str(tmp_path), store, "kinebert", {})
    run_id = tracker.address.run_id
    MlflowClient(store).delete_run(run_id)
    for ask in (lambda: open_run(str(tmp_path), store, "kinebert", {}), lambda: Store(store).find(run_id, None)):
        with pytest.raises(UserError, match=f"was deleted. Restore it: .* mlflow runs restore --run-id {run_id}"):
            ask()
    assert Tracker.attach(tracker.address) is None
    assert "was deleted. Restore it" in capsys.readouterr().err
    another = open_run(str(tmp_path), store, "kinebert", {}, continues=False)
    assert another.address.run_id != run_id


def test_a_start_that_came_to_nothing_keeps_its_run_and_the_next_has_another(store: str, tmp_path: Path) -> None:
    first = open_run(str(tmp_path), store, "kinebert", {"recipe_digest": "one"}, continues=False)
    second = open_run(str(tmp_path), store, "kinebert", {"recipe_digest": "two"}, continues=False)
    assert status_of(first.address) == "KILLED"  # nobody closed it
    assert status_of(second.address) == "RUNNING"
    assert RunAddress.load(str(tmp_path)) == second.address
    data = MlflowClient(store).get_run(second.address.run_id).data
    assert data.tags["recipe_digest"] == "two"


@pytest.fixture
def own(store: str, tmp_path: Path) -> str:
    """A store of this test's own, copied from one that was set up."""
    Tracker.start(store, "kinebert", "any", {})
    path = tmp_path / "own.db"
    with sqlite3.connect(store.removeprefix("sqlite:///")) as source, sqlite3.connect(path) as copy:
        source.backup(copy)
    return f"sqlite:///{path}"


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("break_it", [gone, lambda path: os.truncate(path, 4096), lambda path: path.write_bytes(b"x")])
def test_a_store_that_is_lost_on_the_way_costs_a_line_for_each_thing(
    own: str, tmp_path: Path, break_it: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker.start(own, "kinebert", "run", {})
    break_it(Path(own.removeprefix("sqlite:///")))
    tracker.metrics({"m": 1.0}, 1)
    (tmp_path / "report.md").write_text("all well")
    tracker.tags({"state": "finished"})
    tracker.end("FINISHED")
    assert not tracker.complete
    told = capfd.readouterr().err
    assert "Traceback" not in told
    lines = told.splitlines()
    assert 3 <= len(lines) <= 5
    assert all(line.startswith("MLflow ") for line in lines), told


def test_a_full_disk_and_a_file_that_another_holds_are_one_line_with_a_remedy(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    asked = 0

    def refuse(reason: str) -> Any:
        def opened(_: str) -> Any:
            nonlocal asked
            asked += 1
            raise OperationalError("select 1", {}, sqlite3.OperationalError(reason))

        return opened

    for reason, remedy, times in (
        ("database or disk is full", "Make room on its disk.", 1),
        ("database is locked", "Another program holds it.", 2),
        ("attempt to write a readonly database", "Make the file and its folder writable.", 1),
    ):
        asked = 0
        monkeypatch.setattr(tracking_store, "_opened", refuse(reason))
        with pytest.raises(UserError, match=reason) as told:
            Tracker.start(own, "kinebert", "run", {})
        assert remedy in str(told.value)
        assert "\n" not in str(told.value)
        assert asked == times
