"""What is said of packages, codecs, Ray and MLflow, with faults injected."""

import importlib.metadata
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from kinebert.orchestration.diagnosis import packages, poses, services, video
from kinebert.preprocessing.pose.weights import FOLDER_VARIABLE


def test_packages_that_are_lacking_or_too_old_are_named() -> None:
    numpy = importlib.metadata.version("numpy")
    found = packages.packages(["numpy>=999", "nobody-has-this>=1", "pyarrow>=1", 'optuna>=999; extra == "tune"'])
    assert found.state == "wrong"
    assert found.found == f"lacking: numpy>=999 ({numpy}), nobody-has-this>=1 (not installed)"
    assert packages.packages(["numpy>=1"]).found == "the 1 that are needed are installed, and new enough"
    assert packages.packages(None).state == "ok"  # in a job that the project travels with


def test_an_optional_package_that_is_not_there_is_a_note() -> None:
    assert packages.optional("optuna", None, "pip install it").state == "note"
    assert packages.optional("optuna", "5.0", "pip install it").found == "5.0"


@pytest.mark.parametrize(
    ("names", "state", "words"),
    [
        ({"h264", "hevc", "vp9", "libdav1d", "mpeg4"}, "ok", "h264, hevc, vp9, av1, mpeg4"),
        ({"h264", "hevc", "vp9", "av1", "mpeg4"}, "note", "lacking: av1"),  # FFmpeg's own needs a GPU that decodes
        ({"hevc"}, "wrong", "lacking: h264, vp9, av1, mpeg4"),
    ],
)
def test_decoders(names: set[str], state: str, words: str) -> None:
    found = video.decoders(names, "PyAV")
    assert found.state == state
    assert found.found == f"{words} (PyAV)"


def test_codecs_opencv_and_numba_are_used_not_only_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.state for one in video.look()] == ["ok"] * 4
    assert video._libx264(set()).state == "note"
    monkeypatch.delattr(cv2.optflow, "DualTVL1OpticalFlow_create")
    found = video._opencv()
    assert found.state == "wrong"
    assert "opencv-contrib-python-headless" in found.remedy


def test_stores_of_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert services.store("new.db").found == f"sqlite:///{tmp_path}/new.db is not there yet, and will be made"
    assert list(tmp_path.iterdir()) == [], "nothing is made"
    with sqlite3.connect(tmp_path / "old.db") as file:
        file.execute("create table experiments (id integer)")
    assert services.store(f"sqlite:///{tmp_path}/old.db").found.endswith("old.db answers")
    (tmp_path / "text.db").write_text("this is no database, it is a text of some length" * 20)
    broken = services.store("sqlite:///text.db")
    assert broken.state == "wrong"
    assert "file is not a database" in broken.found
    assert "MLFLOW_TRACKING_URI" in broken.remedy
    assert services.store("nosuch://host/db").state == "wrong"
    silent = services.store("http://127.0.0.1:9")
    assert silent.state == "wrong"
    assert "http://127.0.0.1:9: the tracking server does not answer" in silent.found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.db", "text.db"]


def test_ray_without_and_with_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kinebert.orchestration.cluster.ray.is_initialized", lambda: False)  # the tests' own
    (private,) = services.look_at_ray()
    assert "programs start a private one" in private.found
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    given, jobs = services.look_at_ray()
    assert (given.state, jobs.state) == ("wrong", "wrong")
    assert "RAY_ADDRESS=127.0.0.1:9: no Ray cluster answers there" in given.found
    assert "http://127.0.0.1:9: no job server answers there" in jobs.found


def test_little_shared_memory_makes_a_private_ray_slow() -> None:
    assert services._private("2.60", 2**30, 2**28).state == "ok"
    found = services._private("2.60", 64 * 2**20, 2**28)
    assert found.state == "note"
    assert "--shm-size" in found.remedy


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = SimpleNamespace(num_cpus=8, num_gpus=2)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-secret")
    monkeypatch.setattr("kinebert.orchestration.cluster.cluster", lambda: Context(found))
    monkeypatch.setattr("kinebert.orchestration.cluster.nodes", lambda: [None] * 3)
    said = services._joined("2.60", "head:6379")
    assert said.found == "2.60; RAY_ADDRESS=head:6379 answers, by the token of the environment: 3 nodes, 8 CPUs, 2 GPUs"


class Context:
    """A block that gives a value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __enter__(self) -> Any:
        return self.value

    def __exit__(self, *_: object) -> None:
        pass


def test_what_finds_poses_is_looked_for_and_missing_files_come_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    found = {one.subject: one for one in poses.look()}
    assert found.keys() >= {"ai-edge-litert", "onnxruntime", "files of blazepose"}
    assert found["files of blazepose"].state == "note"
    assert "kinebert pose-weights blazepose" in found["files of blazepose"].remedy
