"""Lists as Excel and editors save them, through `kinebert index`; no video is opened."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import kinebert.pipelines.index_videos as program
from kinebert.orchestration.jobs import indexing
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.video.probe import Facts
from tests.helpers.lists import touch, write


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(paths: Sequence[str], **_: object) -> list[Facts]:
        return [Facts(bytes=1) if Path(path).is_file() else Facts(problem="missing file") for path in paths]

    monkeypatch.setattr(indexing, "probe_videos", probe)


def test_excels_sep_line_says_the_delimiter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path, [f"clips/c{i}.mp4" for i in range(4)])
    rows = "".join(f"clips/c{i}.mp4;{('run', 'jump')[i % 2]};{'train' if i < 2 else 'test'}\r\n" for i in range(4))
    (tmp_path / "list.csv").write_bytes(f"\ufeffsep=;\r\nPath;Label;Split\r\n{rows}".encode())
    assert program.cli(["csv", str(tmp_path / "list.csv"), "--output", str(tmp_path / "m")]) == 0
    assert "4 videos, 2 classes" in capsys.readouterr().out
    found = read_manifest(str(tmp_path / "m"))
    assert [(row.label_name, dict(row.splits)) for row in found] == [
        ("run", {"split1": "train"}),
        ("jump", {"split1": "train"}),
        ("run", {"split1": "test"}),
        ("jump", {"split1": "test"}),
    ]


def test_tabs_in_ucf101s_lists_are_blanks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{c}/v_{c}_g{g:02d}_c01.avi" for c in ("Bend", "Wave") for g in (1, 2)]
    touch(tmp_path / "videos", names)
    lists = {
        "classInd.txt": "1\tBend\r\n2\tWave\r\n",
        "trainlist01.txt": "".join(f"{name}\t{1 + i}\r\n" for i, name in enumerate(names[::2])),
        "testlist01.txt": "".join(f"{name}\r\n" for name in names[1::2]),
    }
    write(tmp_path / "lists", lists)
    args = ["ucf101", str(tmp_path / "videos"), str(tmp_path / "lists"), "--output", str(tmp_path / "m")]
    assert program.cli(args) == 0
    assert "4 videos, 2 classes" in capsys.readouterr().out
    found = read_manifest(str(tmp_path / "m"))
    assert {(row.label, row.label_name, row.splits["split1"]) for row in found} == {
        (label, name, part) for label, name in enumerate(("Bend", "Wave")) for part in ("train", "test")
    }


def test_numbers_that_are_names_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path, ["a.mp4", "b.mp4"])
    (tmp_path / "list.csv").write_text("path,label\na.mp4,0\nb.mp4,2000000000\n")
    assert program.cli(["csv", str(tmp_path / "list.csv"), "--output", str(tmp_path / "m")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "list.csv: line 3: label 2000000000: classes are numbered from 0" in error
    assert not (tmp_path / "m").exists()


def made_up(tmp_path: Path, classes: int, videos: int) -> list[str]:
    """A list of videos in turn of each class, of which every seventh is to validate, and groups of two in a row."""
    touch(tmp_path, [f"c{i}.mp4" for i in range(videos)])
    rows = [f"c{i}.mp4,act{i % classes},g{i // 2},{'val' if i % 7 == 6 else 'train'}" for i in range(videos)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group,split", *rows, ""]))
    return ["csv", str(tmp_path / "list.csv"), "--output", str(tmp_path / "m")]


def test_groups_and_classes_of_every_part_are_shown_and_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = made_up(tmp_path, 3, 21)
    (tmp_path / "c0.mp4").unlink()
    assert program.cli([*args, "--max-problems", "0.1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    first = printed.index("  split      train  val  test  unused")
    assert [line.split() for line in printed[first + 1 : first + 6]] == [
        ["split1", "18", "3", "0", "0"],
        ["groups", "10", "3"],
        ["classes", "3", "3"],
        ["act0", "5", "1"],  # one of its six cannot be used
        ["act1", "6", "1"],
    ]
    warnings = printed[printed.index("Warnings:") + 1 : -1]
    assert [line.partition(":")[0] for line in warnings] == ["  split1", "  split1/val"]
    assert "2 of 11 groups are in several parts: g10" not in warnings[0]
    assert "groups are in several parts: g3 (train, val), g6 (train, val)" in warnings[0]
    assert "3 videos of 3 groups" not in warnings[1], "each is a group of its own there"


def test_of_many_classes_the_rarest_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.cli(made_up(tmp_path, 40, 99)) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    first = printed.index(["classes", "40", "14"])
    assert printed[first + 1 : first + 8] == [
        ["fewest", "of", "a", "class", "1", "1"],
        ["median", "of", "a", "class", "2", "1"],
        ["most", "of", "a", "class", "3", "1"],
        ["rarest:", "act19", "2", "0"],
        ["rarest:", "act20", "1", "1"],
        ["rarest:", "act21", "2", "0"],
        ["Warnings:"],
    ]
