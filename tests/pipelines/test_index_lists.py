"""Lists that were once misunderstood, through `kinebert index`: what is understood, said, or refused in one line."""

import re
from pathlib import Path

import pytest

import kinebert.pipelines.index_videos as program
from kinebert.preprocessing.datasets.manifest import read_manifest
from tests.helpers.paths import SHARED
from tests.helpers.requirements import needs

CASES = SHARED / "cases"
pytestmark = needs("clips", CASES.is_dir(), f"there is no {CASES}")


def test_folders_of_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "m.parquet")
    assert program.cli(["folder", str(CASES / "folder-train-val-test" / "videos"), "--output", output]) == 0
    printed = capsys.readouterr().out
    assert "7 videos, 2 classes" in printed
    assert re.search(r"split1 +3 +2 +2 +0\n", printed)
    assert "outermost folder is a part of split1, the folders in it are classes: 3: test = test" in printed
    assert {row.label_name for row in read_manifest(output)} == {"jump", "run"}


def test_three_lists_are_three_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = CASES / "three-part-lists", str(tmp_path / "m.parquet")
    lists = [str(folder / f"{part}.csv") for part in ("train", "val", "test")]
    assert program.cli(["csv", *lists, "--output", output]) == 0
    assert "list whose name says its part of split1: 3: train.csv: train" in capsys.readouterr().out
    test = {Path(row.path).name for row in read_manifest(output) if row.splits["split1"] == "test"}
    assert test == {"c8.mp4", "c9.mp4", "c10.mp4", "c11.mp4"}


def test_numbers_are_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "m.parquet")
    assert program.cli(["csv", str(CASES / "float-labels" / "list.csv"), "--output", output]) == 0
    assert "columns that are not used (one without a name): 1: list.csv" in capsys.readouterr().out
    labels = {row.video_id: row.label for row in read_manifest(output)}
    assert {labels["clips_shared/c10"], labels["clips_shared/c2"], labels["clips_shared/c3"]} == {10, 2, 3}


@pytest.mark.parametrize("name", ["list.csv", "list_subset.csv"])
def test_a_misspelt_part(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = CASES / "split-column-unknown-word" / name
    status = program.cli(["csv", str(path), "--output", str(tmp_path / "m.parquet")])
    error = capsys.readouterr().err
    assert (status, error.count("\n")) == (2, 1)
    assert re.search(rf"{re.escape(str(path))}: line \d+: unknown words in the column (split1|subset): ", error)
    assert not (tmp_path / "m.parquet").exists()


@pytest.mark.parametrize("name", ["mmaction.txt", "slowfast.csv"])
def test_lists_without_a_header(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "m.parquet")
    assert program.cli(["csv", str(CASES / "headerless-list" / name), "--output", output]) == 0
    assert f"list without a header, taken as path, label: 1: {name}" in capsys.readouterr().out
    assert [row.label for row in read_manifest(output)] == [0, 0, 0, 1, 1, 1]
