"""Recipes by name: found anywhere, behind files of the same path, and refused with the names that are near."""

import os
from pathlib import Path

import pytest

from kinebert.preprocessing.config import read_toml
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe_names import FOLDER, named_file, near, recipe_file, recipe_names
from tests.helpers.paths import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_file_has_a_name() -> None:
    files = sorted((ROOT / "pipelines" / "recipes").rglob("*.toml"))
    assert [(FOLDER / f"{name}.toml").resolve() for name in recipe_names()] == sorted(files)
    assert {"rgb", "flow", "own/flow", "demo/rgb_bert", "eccv2020/table4_rgb_bert"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_name_is_its_file_in_any_folder(name: str) -> None:
    assert read_toml(name) == read_toml(ROOT / "pipelines" / "recipes" / f"{name}.toml")


def test_a_file_of_that_path_wins_and_a_folder_does_not(tmp_path: Path) -> None:
    (tmp_path / "rgb").write_text("epochs = 7\n")
    (tmp_path / "flow").mkdir()
    (tmp_path / "demo").mkdir()
    assert read_toml("rgb") == {"epochs": 7}
    assert read_toml("rgb", ["epochs=8"]) == {"epochs": 8}
    assert read_toml("flow")["data"]["modality"] == "flow"
    assert read_toml("demo/rgb_bert")["data"]["shards"] == "demo/sets/frames"
    with pytest.raises(ConfigError, match="this is a directory, a recipe file was expected"):
        read_toml("demo")
    os.mkfifo(tmp_path / "pose")
    assert recipe_file("pose") == named_file("pose")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("rbg", "rgb"),
        ("RGB", "rgb"),
        ("own-flow", "own/flow"),
        ("rgb.toml", "rgb"),
        ("pipelines/recipes/eccv2020/table4_rgb_bert.toml", "eccv2020/table4_rgb_bert"),
        ("table4_rgb_bert", "eccv2020/table4_rgb_bert"),
        ("eccv2020/table4_rgb_brt", "eccv2020/table4_rgb_bert"),
        ("ut_interaction", "ut_interaction/flow"),
    ],
)
def test_what_is_neither_is_refused_with_what_is_near(given: str, meant: str) -> None:
    assert near(given)[0] == meant
    with pytest.raises(ConfigError, match=f"{given}: there is no such recipe file. .*Did you mean {meant}") as refused:
        recipe_file(given)
    assert "`kinebert recipes` lists all" in str(refused.value)


@pytest.mark.parametrize("given", ["nothing_like_it", "../../../etc/passwd", "/rgb", "demo/", "x" * 5000, "a\0b"])
def test_nothing_is_guessed(given: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_toml(given)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="There is no recipe"):
        named_file(given)
