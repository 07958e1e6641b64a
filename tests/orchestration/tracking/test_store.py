"""MLflow stores: which one is taken, what is refused, and what their errors are told as."""

import multiprocessing
import os
import socket
import sqlite3
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import OperationalError

from kinebert.orchestration.tracking import store as tracking_store
from kinebert.orchestration.tracking.store import (
    choose_store,
    connect,
    experiment_id,
    explained,
    page_command,
    reason_of,
)
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.errors import ConfigError, UserError


class Stranger(BaseHTTPRequestHandler):
    """A web server that is not MLflow."""

    def do_GET(self) -> None:
        self.send_error(404)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None: ...


def test_servers_that_are_none_are_refused_in_one_line_and_soon() -> None:
    began = time.monotonic()
    with pytest.raises(UserError) as absent:
        Tracker.start("http://127.0.0.1:9", "kinebert", "run", {})
    assert time.monotonic() - began < 15
    assert "http://127.0.0.1:9: the tracking server does not answer" in str(absent.value)
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError) as stranger:
            Tracker.start(f"http://127.0.0.1:{server.server_port}", "kinebert", "run", {})
    finally:
        server.shutdown()
    assert "MLflow says: " in str(stranger.value)
    assert "\n" not in str(absent.value) + str(stranger.value)
    assert time.monotonic() - began < 25


def test_which_store_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert choose_store(None, "/data/runs/rgb") == "sqlite:////data/runs/mlflow.db"
    assert choose_store("http://server:5000", "/data/runs/rgb") == "http://server:5000"
    assert choose_store("my.db", "/data/runs/rgb") == f"sqlite:///{tmp_path}/my.db"
    assert page_command("sqlite:////a/m.db") == "mlflow ui --backend-store-uri sqlite:////a/m.db"
    with pytest.raises(ConfigError, match="need an MLflow server; give it with --tracking-uri"):
        choose_store(None, "s3://bucket/runs/rgb")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert choose_store(None, "s3://bucket/runs/rgb") == "http://other:5000"
    assert choose_store("http://server:5000", "s3://bucket/runs/rgb") == "http://server:5000"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('stores')}/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("sqlite:////a b/m.db", "mlflow ui --backend-store-uri 'sqlite:////a b/m.db'"),
        ("http://server:5000", "http://server:5000"),
        ("sqlite:////a/$(rm x).db", "mlflow ui --backend-store-uri 'sqlite:////a/$(rm x).db'"),
    ],
)
def test_the_command_that_opens_a_page_can_be_pasted(uri: str, told: str) -> None:
    assert page_command(uri) == told


def test_relative_stores_are_where_the_user_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ("sqlite:///here.db", "here.db", str(tmp_path / "here.db")):
        assert choose_store(given, "/elsewhere/run") == f"sqlite:///{tmp_path}/here.db"


def test_an_experiment_is_made_once_and_its_files_lie_beside_the_store(store: str) -> None:
    client = connect(store)
    first = experiment_id(client, store, 'it\'s a "name"')
    assert experiment_id(client, store, 'it\'s a "name"') == first
    assert experiment_id(client, store, "another") != first
    folder = Path(store.removeprefix("sqlite:///")).parent
    assert client.get_experiment(first).artifact_location.startswith((folder / "mlartifacts").as_uri())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MlflowException("first line\nsecond line"), "sqlite:///x.db: MLflow says: first line"),
        (OperationalError("select 1", {}, Exception("database is locked")), "database is locked"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (MlflowException("x" * 1000), f"MLflow says: {'x' * 200}"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line_with_the_store(error: Exception, words: str) -> None:
    with pytest.raises(UserError) as told, explained("sqlite:///x.db"):
        raise error
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_mistakes_of_ours_are_not_explained_away() -> None:
    with pytest.raises(ZeroDivisionError), explained("sqlite:///x.db"):
        raise ZeroDivisionError


def test_an_error_without_words_has_its_name() -> None:
    assert reason_of(TimeoutError()) == "TimeoutError"
    assert reason_of(ValueError("one\ntwo")) == "one"
    for_programmers = "(raised as a result of Query-invoked autoflush; consider using a block)"
    full = MlflowException(f"{for_programmers}\n(sqlite3.OperationalError) database or disk is full\n[SQL: ...]")
    assert reason_of(full) == "(sqlite3.OperationalError) database or disk is full. Make room on its disk."
    assert reason_of(ValueError("y" * 300)) == "y" * 200


def test_a_store_is_set_up_by_one_at_a_time(tmp_path: Path) -> None:
    uri, order = f"sqlite:///{tmp_path}/mlflow.db", []

    def second() -> None:
        with tracking_store._one_at_a_time(uri):
            order.append("second")

    with tracking_store._one_at_a_time(uri):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    with tracking_store._one_at_a_time("http://server"):  # a server does it itself
        pass
    assert os.listdir(tmp_path) == ["mlflow.db.lock"]


@pytest.mark.parametrize("user", ["", "me:secret@"])
def test_a_server_that_answers_with_an_error_is_asked_further(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may hide /health; whether it is MLflow, the first request tells."""
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(MlflowClient, "search_experiments", lambda *_, **__: [])
    try:
        assert isinstance(connect(f"http://{user}127.0.0.1:{server.server_port}"), MlflowClient)
    finally:
        server.shutdown()


def test_a_port_that_takes_and_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    real = urllib.request.urlopen
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: real(url, timeout=0.3))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{uri}: the tracking server does not answer .*timed out"):
            connect(uri)


def _start(uri: str, barrier: Any) -> None:
    barrier.wait(60)
    Tracker.start(uri, "kinebert", "one of many", {}).end("FINISHED")


@pytest.mark.slow
def test_several_programs_may_set_up_one_store_at_once(tmp_path: Path) -> None:
    """A fresh SQLite store breaks when several processes migrate it at the same moment."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    processes = [context.Process(target=_start, args=(uri, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where status = 'FINISHED'").fetchone() == (2,)
