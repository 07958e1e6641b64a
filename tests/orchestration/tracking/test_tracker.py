"""MLflow as the driver uses it: a SQLite store, a server that is not there, and a store that fails in the middle."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking import tracker as tracking
from kinebert.orchestration.tracking.lifecycle import running
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.errors import UserError


def test_attaching_leaves_the_run_as_it_is_and_never_makes_a_store(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Tracker.start(store, "kinebert", "attached", {})
    first.end("FAILED")
    again = Tracker.attach(first.address)
    assert again is not None
    again.metrics({"test/top1": 0.5}, 1)
    again.flush()
    assert history(first, "test/top1") == [(1, 0.5)]
    assert run_of(first).info.status == "FAILED"
    assert Tracker.attach(RunAddress(f"sqlite:///{tmp_path}/gone.db", "kinebert", "0" * 32)) is None
    assert "not recorded in MLflow" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite file for all tests: its set-up takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store ü')}/mlflow.db"


def history(tracker: Tracker, name: str) -> list[tuple[int, float]]:
    metrics = tracker._client.get_metric_history(tracker.address.run_id, name)
    return [(metric.step, metric.value) for metric in metrics]


def run_of(tracker: Tracker) -> Any:
    return tracker._client.get_run(tracker.address.run_id)


def test_what_is_told_arrives(store: str, tmp_path: Path) -> None:
    tracker = Tracker.start(store, "kinebert", "first", {"modality": "rgb"})
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").write_text("all well")
    (tmp_path / "best.pt").write_bytes(b"weights")
    with running(tracker):
        tracker.params({"optim.lr": 0.01, "long": "x" * 9000})
        for step in range(1, 2101):  # more than two pages
            tracker.metrics({"step/loss": 1 / step, "step/top1": 0.5}, step)
        tracker.artifact(tmp_path / "report", "report")
        tracker.artifact_of(str(tmp_path / "best.pt"))
    run = run_of(tracker)
    assert (run.info.status, run.info.run_name, run.data.tags["modality"]) == ("FINISHED", "first", "rgb")
    assert run.data.params == {"optim.lr": "0.01", "long": "x" * 6000}
    assert history(tracker, "step/loss") == [(step, 1 / step) for step in range(1, 2101)]
    assert len(history(tracker, "step/top1")) == 2100
    listed = {file.path for file in tracker._client.list_artifacts(run.info.run_id)}
    assert listed == {"report", "best.pt"}
    assert run.info.artifact_uri.startswith(f"file://{Path(store.removeprefix('sqlite:///')).parent.as_uri()[7:]}")


def test_a_run_goes_on_where_it_was(store: str, tmp_path: Path) -> None:
    first = Tracker.start(store, "kinebert", "resumed", {})
    first.address.save(str(tmp_path))
    with running(first):
        first.params({"epochs": 3})
        first.metrics({"step/loss": 1.0}, 1)
    address = RunAddress.load(str(tmp_path))
    assert address == first.address
    second = Tracker.resume(address)
    assert run_of(second).info.status == "RUNNING"
    assert second.last_step("step/loss") == 1
    assert (second.steps("step/loss"), second.steps("step/never")) == ({1}, set())
    assert second.last_step("step/never") == -1
    with running(second):
        second.params({"epochs": 4, "new": 1})  # MLflow refuses to change one; the first value stays
        second.metrics({"step/loss": 0.5}, 2)
    assert history(second, "step/loss") == [(1, 1.0), (2, 0.5)]
    assert run_of(second).data.params == {"epochs": "3", "new": "1"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (ValueError("bug"), "FAILED"),
        (UserError("yours"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
    ],
)
def test_the_end_of_the_block_is_the_status_of_the_run(store: str, error: BaseException | None, status: str) -> None:
    tracker = Tracker.start(store, "kinebert", "ending", {})

    def block() -> None:
        with running(tracker):
            tracker.metrics({"m": 1.0}, 1)
            if error is not None:
                raise error

    if error is None:
        block()
    else:
        with pytest.raises(type(error)):
            block()
    assert run_of(tracker).info.status == status
    assert history(tracker, "m") == [(1, 1.0)]


def test_a_store_that_fails_for_a_while_loses_nothing_and_stops_nobody(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker.start(store, "kinebert", "shaken", {})
    monkeypatch.setattr(tracking, "_FLUSH_S", 0.0)
    monkeypatch.setattr(tracking, "_PATIENCE_S", 0.0)
    tracker._next_flush = 0.0
    real, broken = tracker._client.log_batch, True

    def log_batch(run_id: str, metrics: list[Metric]) -> None:
        if broken:
            raise ConnectionError("connection refused\nand more")
        real(run_id, metrics=metrics)

    monkeypatch.setattr(tracker._client, "log_batch", log_batch)
    tracker.metrics({"m": 1.0}, 1)
    tracker.metrics({"m": 2.0}, 2)
    assert capsys.readouterr().err == (
        "MLflow is out of reach; its numbers are kept and sent later: connection refused\n"  # said once
    )
    broken = False
    tracker.metrics({"m": 3.0}, 3)
    assert history(tracker, "m") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    tracker.end("FINISHED")


def test_a_server_that_no_longer_answers_is_not_asked_at_every_number(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As behind a network that drops what it is given: nobody refuses, nobody answers."""
    monkeypatch.setattr(tracking, "_FLUSH_S", 0.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker.start(store, "kinebert", "silent", {})
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, and never reads from them
        answering, tracker._client = tracker._client, MlflowClient(f"http://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        for step in range(500):
            tracker.metrics({"m": float(step)}, step)
        assert time.monotonic() - began < 20  # one attempt, of about a second
        tracker._client = answering
    assert "MLflow is out of reach" in capsys.readouterr().err
    assert tracker.deliver()
    assert history(tracker, "m") == [(step, float(step)) for step in range(500)]
    tracker.end("FINISHED")


def test_a_store_that_stays_away_costs_numbers_but_not_the_training(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker.start(store, "kinebert", "lost", {})

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    for name in ("log_batch", "log_artifact", "set_terminated"):
        monkeypatch.setattr(tracker._client, name, refuse)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with running(tracker):
        tracker.metrics({"m": 1.0, "n": 2.0}, 1)
        tracker.artifact(tmp_path / "best.pt")
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "MLflow did not take best.pt: gone",
        "MLflow is out of reach; its numbers are kept and sent later: gone",
        "MLflow stayed out of reach: 2 numbers of the run are lost.",
        "MLflow did not close the run: gone",
    ]


def test_stores_and_addresses_that_are_none(store: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nosuch://x: "):
        Tracker.start("nosuch://x", "kinebert", "run", {})
    (tmp_path / "text.db").write_text("not a database at all, but long enough to look at " * 20)
    with pytest.raises(UserError, match=r"text.db: "):
        Tracker.start(f"sqlite:///{tmp_path}/text.db", "kinebert", "run", {})
    with pytest.raises(UserError, match="cannot write to this folder"):
        Tracker.start("sqlite:////proc/kinebert/mlflow.db", "kinebert", "run", {})
    with pytest.raises(UserError, match="MLflow says: .*0123"):
        Tracker.resume(RunAddress(store, "kinebert", "0123"))
    (tmp_path / "mlflow.json").write_text("{}")
    with pytest.raises(UserError, match="not the address of an MLflow run. Delete it"):
        RunAddress.load(str(tmp_path))
    assert RunAddress.load(str(tmp_path / "absent")) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty."),
        ("[" * 100_000, "it is nested too deeply."),
        ('{"tracking_uri": "sqlite:///x.db", "experiment": "e"}', "the key 'run_id' of RunAddress is required"),
        ('{"tracking_uri": 1, "experiment": "e", "run_id": "0"}', "tracking_uri: expected str, got 1."),
        ('{"tracking_uri": "u", "experiment": "e", "run_id": ""}', "run_id: '' is none."),
        ('{"tracking_uri": "u\\u0000", "experiment": "e", "run_id": "0"}', "tracking_uri: .* is none."),
    ],
)
def test_a_damaged_address_is_refused_in_one_line_with_the_way_out(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "mlflow.json").write_text(text)
    said = rf"^{tmp_path}/mlflow.json: not the address of an MLflow run. Delete it to start a new run. Reason: {reason}"
    with pytest.raises(UserError, match=said) as told:
        RunAddress.load(str(tmp_path))
    assert "\n" not in str(told.value)


def test_an_address_is_read_as_it_was_written_and_by_earlier_versions(tmp_path: Path) -> None:
    address = RunAddress("sqlite:///Größe.db", "ex \u4e00", "ab12")
    address.save(str(tmp_path))
    assert RunAddress.load(str(tmp_path)) == address
    (tmp_path / "mlflow.json").write_text('{"tracking_uri": "u", "experiment": "e", "run_id": "0", "later": 1}')
    assert RunAddress.load(str(tmp_path)) == RunAddress("u", "e", "0")
