"""Readers register themselves, and what people are told of them comes from there."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from kinebert.pipelines import index_videos
from kinebert.preprocessing.datasets import READERS, readers
from kinebert.preprocessing.datasets.listing import Listing
from kinebert.preprocessing.datasets.registry import Reader, register_reader, sources, sources_table
from kinebert.preprocessing.errors import ConfigError, UserError
from tests.helpers.paths import ROOT

NAMES = ["csv", "folder", "activitynet", "ava", "hmdb51", "kinetics", "ssv2", "ucf101"]


def test_every_file_of_the_folder_registers_its_reader() -> None:
    assert sorted(READERS) == sorted(NAMES)
    files = {path.stem for path in Path(next(iter(readers.__path__))).glob("*.py")} - {"__init__"}
    assert {reader.read.__module__.rpartition(".")[2] for reader in READERS.values()} == files


def test_the_readmes_table_is_the_registrys() -> None:
    assert sources_table() in (ROOT / "README.md").read_text()


def test_help_and_choices_are_the_registrys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        index_videos.cli(["--help"])
    assert status.value.code == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for reader in sources():
        assert f"{reader.name} {reader.paths}: {reader.about}." in text
    assert "{sources}" not in text
    assert "csv, folder, activitynet, ava, hmdb51, kinetics, ssv2 or ucf101." in text
    with pytest.raises(SystemExit) as status:
        index_videos.cli(["jester", "x", "--output", "y"])
    assert status.value.code == 2


def test_ones_own_videos_come_first() -> None:
    assert [reader.name for reader in sources()] == NAMES
    assert [bool(reader.data_set) for reader in sources()] == [False, False, True, True, True, True, True, True]
    assert all(inspect.getdoc(reader.read) for reader in sources())


@pytest.mark.parametrize(("given", "words"), [(0, "got 0 paths"), (1, "got 1 path."), (4, "got 4 paths")])
def test_the_number_of_paths_is_the_registrys_to_check(given: int, words: str) -> None:
    def read(paths: Sequence[str]) -> Listing:
        raise AssertionError("was called")

    reader = Reader(name="made", paths="VIDEOS LISTS", about="", num_paths=(2, 3), read=read)
    with pytest.raises(UserError, match=f"expected: kinebert index made VIDEOS LISTS; {words}"):
        reader(["/x"] * given)
    with pytest.raises(AssertionError, match="was called"):
        reader(["/x"] * 3)


def test_two_readers_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="a reader 'csv' already"):
        register_reader("csv", paths="FILE", about="", num_paths=(1, 1))(READERS["csv"].read)
    assert READERS["csv"].paths == "FILE..."
