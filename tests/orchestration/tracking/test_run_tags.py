"""What an MLflow run says of itself."""

import getpass
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.tracking import run_tags
from kinebert.orchestration.tracking.run_tags import COMMIT, code_version, describe_training, training_tags
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from tests.helpers.fake_shards import make_shards

RECIPE = TrainRecipe(data=DataRecipe(shards="/fake/set", split="split1"), epochs=7)
SHARDS: Any = make_shards()


def git(folder: Path, *args: str) -> str:
    name = ["-c", "user.name=n", "-c", "user.email=e@x"]
    done = subprocess.run(["git", "-C", str(folder), *name, *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of one file, which the code is made to lie in."""
    monkeypatch.delenv(COMMIT, raising=False)
    module = tmp_path / "orchestration" / "tracking" / "run_tags.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(run_tags, "__file__", str(module))
    return tmp_path


def test_the_commit_and_whether_it_was_changed_since(checkout: Path) -> None:
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "one")
    tags = code_version("train")
    assert tags["mlflow.source.git.commit"] == git(checkout, "rev-parse", "HEAD")
    assert tags["git_changed"] == "false"
    assert tags["mlflow.source.name"] == "kinebert train"
    (checkout / "notes.txt").write_text("nothing that is tracked")
    assert code_version("train")["git_changed"] == "false"
    (checkout / "orchestration" / "tracking" / "run_tags.py").write_text("changed")
    assert code_version("train")["git_changed"] == "true"


def test_outside_of_a_checkout_nothing_is_made_up(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    tags = code_version("tune")
    assert tags["mlflow.source.git.commit"] == "unknown"
    assert "git_changed" not in tags


def test_a_machine_without_git_is_one_outside_of_a_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert code_version("tune")["mlflow.source.git.commit"] == "unknown"


def test_whoever_submits_a_job_says_its_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMIT, "abc123")
    tags = code_version("train")
    assert tags["mlflow.source.git.commit"] == "abc123"
    assert "git_changed" not in tags  # whoever knew has not said


def test_a_container_without_a_user_has_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert "mlflow.user" not in code_version("train")
    monkeypatch.setattr(getpass, "getuser", lambda: "me")
    assert code_version("train")["mlflow.user"] == "me"


def test_trainings_are_told_apart_by_code_data_recipe_and_place() -> None:
    tags = training_tags("train", RECIPE, SHARDS, "/runs/one")
    assert tags["shards_content"] == SHARDS.content
    assert tags["shards_digest"] == SHARDS.digest
    assert tags["recipe_digest"] == RECIPE.digest()
    assert tags["run_folder"] == "/runs/one"
    assert f"7 epochs; {len(SHARDS.classes)} classes of /fake/set" in tags["mlflow.note.content"]


class Told:
    """What a run is told, in place of a store."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.parts: dict[str, str] = {}

    def artifact_of(self, uri: str) -> None:
        self.files.append(uri)
        assert Path(uri).exists(), "it was written before"

    def dataset(self, shards: Any, parts: dict[str, str]) -> None:
        assert shards is SHARDS
        self.parts = parts


def test_what_is_trained_is_in_the_folder_and_with_the_run(tmp_path: Path) -> None:
    told: Any = Told()
    describe_training(told, str(tmp_path), RECIPE, SHARDS)
    assert told.files == [str(tmp_path / "recipe.toml")]
    assert told.parts == {"training": "split1/train", "validation": "split1/val"}
