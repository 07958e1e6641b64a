"""What a run is told beside numbers, by a client that refuses: nothing of it ends the work that it is about."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from kinebert.orchestration.search.strays import end_strays
from kinebert.orchestration.tracking import tracker as tracking
from kinebert.orchestration.tracking.lifecycle import open_run
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing import storage
from tests.helpers.fake_shards import make_shards

WAY = ". Another program holds it. End that one, or use a server where several write."

ADDRESS = RunAddress("sqlite:////nowhere/mlflow.db", "kinebert", "run0")
SHARDS: Any = make_shards()


class Client:
    """An MLflow client whose calls are noted; the first ``refusals`` of them fail."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> None:
            self.calls.append((name, (*args, *options.values())))
            if len(self.calls) <= self.refusals:
                raise MlflowException("database is locked\nand more that nobody reads")

        return call

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [args for called, args in self.calls if called == name]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that were asked for; none is made."""
    asked: list[float] = []
    monkeypatch.setattr(tracking.time, "sleep", asked.append)  # type: ignore[attr-defined]
    return asked


def tracker(client: Any) -> Tracker:
    return Tracker(client, ADDRESS)


def test_a_set_is_told_by_its_content_and_what_is_taken_of_it() -> None:
    client = Client()
    tracker(client).dataset(SHARDS, {"training": "split1/train", "validation": "split1/val"})
    given = [inputs for _, (inputs,) in client.of("log_inputs")]
    assert [one.tags[0].value for one in given] == ["training", "validation"]
    assert {one.dataset.digest for one in given} == {SHARDS.content}
    assert [one.dataset.name for one in given] == ["set split1/train", "set split1/val"]
    profiles = [json.loads(one.dataset.profile) for one in given]
    assert [profile["videos"] for profile in profiles] == [24, 9]
    assert profiles[0]["images"] == sum(video.num_images for video in SHARDS.select("split1", "train"))
    columns = json.loads(given[0].dataset.schema)["mlflow_colspec"]
    assert [column["name"] for column in columns] == ["image", "video_id", "label_name", "split split1"]


def test_a_set_that_is_refused_for_a_moment_is_told_again(
    pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(refusals=2)
    tracker(client).dataset(SHARDS, {"evaluation": "split1/val"})
    assert len(client.of("log_inputs")) == 3
    assert len(pauses) == 2
    assert capsys.readouterr().err == ""


def test_a_set_that_stays_refused_is_told_of_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    client = Client(refusals=9)
    tracker(client).dataset(SHARDS, {"training": "split1/train", "evaluation": "split1/val"})
    assert capsys.readouterr().err.splitlines() == [
        f"MLflow did not take the record of set split1/train: database is locked{WAY}",
        f"MLflow did not take the record of set split1/val: database is locked{WAY}",
    ]


def test_tags_and_files_that_are_refused_are_named_and_cost_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text("epochs = 3")
    run = tracker(Client(refusals=9))
    run.tags({"state": "failed", "reason": "no memory"})
    run.artifact(tmp_path / "recipe.toml")
    run.artifact(tmp_path, "report")
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"MLflow did not take the tags state, reason: database is locked{WAY}"
    assert told[1] == f"MLflow did not take recipe.toml: database is locked{WAY}"
    assert told[2] == f"MLflow did not take {tmp_path.name}: database is locked{WAY}"


def test_a_folder_is_given_with_its_files_and_a_file_alone(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"x")
    client = Client()
    tracker(client).artifact(tmp_path / "best.pt")
    tracker(client).artifact(tmp_path, "report")
    assert client.of("log_artifact") == [("run0", str(tmp_path / "best.pt"), None)]
    assert client.of("log_artifacts") == [("run0", str(tmp_path), "report")]


def test_a_remote_file_is_given_under_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    read: dict[str, bytes] = {}

    class Reads(Client):
        def log_artifact(self, run_id: str, path: str, folder: str | None) -> None:
            read[Path(path).name] = Path(path).read_bytes()

    remote = SimpleNamespace(**{**vars(storage), "is_local": lambda _: False})
    monkeypatch.setattr(tracking, "storage", remote)
    tracker(Reads()).artifact_of(str(tmp_path / "best.pt"))
    assert read == {"best.pt": b"weights"}


def test_a_run_that_cannot_be_closed_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert not tracker(Client(refusals=1)).end("FINISHED")
    assert capsys.readouterr().err == f"MLflow did not close the run: database is locked{WAY}\n"
    client = Client()
    assert tracker(client).end("KILLED")
    assert client.of("set_terminated") == [("run0", "KILLED")]


def test_numbers_that_are_lost_are_counted(capsys: pytest.CaptureFixture[str], pauses: list[float]) -> None:
    run = tracker(Client(refusals=99))
    run.metrics({"step/loss": 1.0, "step/top1": 0.5}, 1)
    assert not run.deliver()
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"MLflow is out of reach; its numbers are kept and sent later: database is locked{WAY}"
    assert last == "MLflow stayed out of reach: 2 numbers of the run are lost."
    assert sum(pauses) < 60  # nobody waits a minute for numbers


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('records')}/mlflow.db"


def test_a_folder_goes_on_with_its_run_and_with_a_new_one_in_another_store(store: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    first = open_run(str(tmp_path / "run"), store, "kinebert", {"trial": "1"})
    first.end("FINISHED")
    assert open_run(str(tmp_path / "run"), store, "kinebert", {}).address == first.address
    assert first.is_open()
    other = f"sqlite:///{tmp_path}/other.db"
    second = open_run(str(tmp_path / "run"), other, "kinebert", {})
    assert second.address.tracking_uri == other
    assert RunAddress.load(str(tmp_path / "run")) == second.address


def test_only_strangers_that_are_open_are_closed(store: str) -> None:
    parent, another = (Tracker.start(store, "kinebert", name, {}) for name in ("parent", "another"))
    tags = {"mlflow.parentRunId": parent.address.run_id}
    known, stray, ended = (Tracker.start(store, "kinebert", name, tags) for name in ("known", "stray", "ended"))
    ended.end("FINISHED")
    foreign = Tracker.start(store, "kinebert", "foreign", {"mlflow.parentRunId": another.address.run_id})
    end_strays(parent.address, [known.address.run_id])
    assert [run.is_open() for run in (parent, known, stray, ended, foreign)] == [True, True, False, False, True]
    assert str(stray._client.get_run(stray.address.run_id).info.status) == "KILLED"
    assert str(ended._client.get_run(ended.address.run_id).info.status) == "FINISHED"


def test_the_address_of_a_server_with_a_password_is_for_its_owner_only(tmp_path: Path) -> None:
    for name, uri in (("with", "http://me:secret@host"), ("without", "http://host")):
        (tmp_path / name).mkdir()
        RunAddress(uri, "kinebert", "run0").save(str(tmp_path / name))
        assert RunAddress.load(str(tmp_path / name)) == RunAddress(uri, "kinebert", "run0")
    assert (tmp_path / "with" / "mlflow.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "without" / "mlflow.json").stat().st_mode & 0o400
