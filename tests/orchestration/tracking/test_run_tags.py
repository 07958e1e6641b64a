"""What an MLflow run says of itself."""

import getpass
from pathlib import Path
from typing import Any

import pytest

import kinebert
from kinebert.commits import VARIABLE, Commit
from kinebert.orchestration.tracking.run_tags import code_version, describe_training, training_tags
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from tests.helpers.fake_shards import make_shards

RECIPE = TrainRecipe(data=DataRecipe(shards="/fake/set", split="split1"), epochs=7)
SHARDS: Any = make_shards()


@pytest.mark.parametrize(("told", "commit", "changed"), [("abc", "abc", None), ("abc modified", "abc", "true")])
def test_what_is_known_of_the_commit(
    told: str, commit: str, changed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, told)
    tags = code_version("train")
    assert tags["mlflow.source.name"] == "kinebert train"
    assert tags["mlflow.source.git.commit"] == commit
    assert tags.get("git_changed") == changed
    assert f"kinebert {kinebert.__version__}, torch " in tags["versions"]


def test_nothing_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinebert.orchestration.tracking.run_tags.find_commit", Commit)
    tags = code_version("tune")
    assert tags["mlflow.source.git.commit"] == "unknown"
    assert "git_changed" not in tags


def test_a_container_without_a_user_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
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
