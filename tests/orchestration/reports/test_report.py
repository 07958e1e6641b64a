"""The report: its numbers, its words, and what the pictures are made of (not their pixels)."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.orchestration.reports.drawing import to_png
from kinebert.orchestration.reports.figures import draw_confusion, draw_curves, draw_per_class
from kinebert.orchestration.reports.report import Rejected, ReportData, StreamScores, render_report, write_report
from kinebert.preprocessing.errors import UserError
from kinebert.training.run_folder import EpochRow
from tests.helpers.paths import ROOT

CLASSES = ["open", "close_it", "wave $x$ | y"]
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
HISTORY: list[EpochRow] = [
    {"epoch": 1, "train_loss": 1.1, "val_loss": 1.2, "train_top1": 0.4, "val_top1": 0.5},
    {"epoch": 2, "train_loss": 0.6, "val_loss": 0.9, "train_top1": 0.7, "val_top1": 0.75},
    {"epoch": 3, "train_loss": 0.5, "val_loss": 0.8, "train_top1": 0.8, "val_top1": 0.75},
]


def scores(*guesses: int) -> NDArray[np.float64]:
    return np.eye(3)[list(guesses)]


@pytest.fixture
def data() -> ReportData:
    rgb = StreamScores(
        name="rgb",
        scores=scores(0, 0, 1, 1, 1, 1, 0, 2),
        labels=LABELS,
        digest="aaaaaaaaaaaa",
        recipe={"width": 340, "tvl1": {"tau": 0.25}},
    )
    fused = StreamScores(
        name="fused", scores=scores(0, 0, 0, 1, 1, 1, 2, 2), labels=LABELS, scale="sums", interval=(0.625, 1.0)
    )
    return ReportData(
        title="Demo",
        classes=CLASSES,
        streams=[rgb, fused],
        histories={"rgb": HISTORY, "flow": []},
        rejected=[Rejected(video_id="a/b_1", stream="rgb", problem="decode: 0 frames\nof 12")],
        facts={"split": "split1 test"},
    )


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below ``heading``."""
    lines = text.split(f"{heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line[2:-2].split(" | ")])
    return table[2:]


def test_accuracies_are_those_of_the_scores(data: ReportData) -> None:
    ece = f"{100 * (0.625 - np.e / (np.e + 2)):.1f}"  # every video is as sure as every other
    assert rows(render_report(data), "## Accuracy") == [
        ["rgb", "8", "62.5", "–", "50.0", "66.7", ece],  # 5 of 8; classes 2/4, 2/2, 1/2
        ["fused", "8", "87.5", "62.5 to 100.0", "50.0", "91.7", "–"],  # 7 of 8; classes 3/4, 2/2, 2/2
    ]
    with_subsets = render_report(replace(data, subsets=data.streams))
    assert rows(with_subsets, "## Every subset of the streams") == rows(with_subsets, "## Accuracy")
    assert "top-3" not in render_report(data), "of three classes nobody misses the best three"
    name = data.classes[0]
    assert f"Guessing gives 33.3 top-1. Always answering {name}, the majority class, gives 50.0." in render_report(data)


def test_classes_and_confusions_are_listed(data: ReportData) -> None:
    text = render_report(data)
    assert rows(text, "## Classes") == [
        ["open", "50.0 (2/4)", "75.0 (3/4)"],
        ["close\\_it", "100.0 (2/2)", "100.0 (2/2)"],
        ["wave $x$ \\| y", "50.0 (1/2)", "100.0 (2/2)"],
    ]
    assert rows(text, "### rgb") == [["open", "close\\_it", "2", "50.0"], ["wave $x$ \\| y", "open", "1", "50.0"]]
    assert rows(text, "### fused") == [["open", "close\\_it", "1", "25.0"]]


def test_training_rejected_videos_and_recipes_are_said(data: ReportData) -> None:
    text = render_report(data)
    assert "- rgb: 3 epochs, best validation top-1 75.0 % in epoch 3" in text
    assert "flow" not in text
    assert "1 of rgb. They are in no number above." in text
    assert rows(text, "## Rejected videos") == [["rgb", "a/b\\_1", "decode: 0 frames of 12"]]
    assert rows(text, "## Shard sets") == [["rgb", "aaaaaaaaaaaa", "tvl1.tau 0.25, width 340"]]
    assert "\n## Rejected videos\n\nNone.\n" in render_report(replace(data, rejected=[]))


def test_many_rejected_videos_are_counted(data: ReportData) -> None:
    many = [Rejected(video_id=f"v{i}", stream=("rgb", "flow")[i % 2], problem="decode") for i in range(301)]
    text = render_report(replace(data, rejected=many))
    assert "150 of flow, 151 of rgb." in text
    assert "and 101 more." in text
    assert len(rows(text, "## Rejected videos")) == 200


def test_every_picture_is_written_and_nothing_else(data: ReportData, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    path = write_report(str(folder), data)
    text = Path(path).read_text()
    pictures = {file.name for file in folder.iterdir()} - {"report.md"}
    assert pictures == {"curves.png", "per-class.png", "confusion-rgb.png", "confusion-fused.png"}
    assert all(f"({name})" in text for name in pictures)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert all(before[name].startswith(b"\x89PNG") for name in pictures)
    write_report(str(folder), data)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before, "the same values, the same bytes"


def test_a_report_without_training_has_no_curves(data: ReportData, tmp_path: Path) -> None:
    write_report(str(tmp_path), replace(data, histories={}))
    assert not (tmp_path / "curves.png").exists()
    assert "curves" not in (tmp_path / "report.md").read_text()


def test_a_folder_that_is_a_file_is_named(data: ReportData, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(UserError, match="report: cannot write the report"):
        write_report(str(tmp_path / "report"), data)


def test_streams_need_names_of_their_own(data: ReportData) -> None:
    with pytest.raises(ValueError, match=r"one name each, got \['a b', 'a/b'\]"):
        replace(data, streams=[replace(data.streams[0], name=name) for name in ("a b", "a/b")])


def test_curves_show_the_history() -> None:
    loss, top1 = draw_curves({"rgb": HISTORY}).axes
    assert [np.asarray(line.get_ydata()).tolist() for line in loss.lines] == [[1.1, 0.6, 0.5], [1.2, 0.9, 0.8]]
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert top1.get_title(loc="left") == "rgb: top-1 accuracy (best 75.0%, epoch 3)"


def test_curves_bear_gaps_and_single_epochs() -> None:
    figure = draw_curves({"flow": [{"epoch": 4, "val_top1": 0.2}]})
    loss, top1 = figure.axes
    assert not loss.lines
    assert top1.get_xlim() == (3.5, 4.5)
    assert to_png(figure)


@pytest.mark.parametrize("num_classes", [2, 6, 101])
def test_confusion_has_every_name_and_few_classes_their_numbers(num_classes: int) -> None:
    names = [f"class $_{i}$ with a long, long name" for i in range(num_classes)]
    confusion_KK = 9 * np.eye(num_classes, dtype=np.int64)
    confusion_KK[0, 1] = 1
    axes = draw_confusion(confusion_KK, names, "all").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{name[:27]}…" for name in names]
    assert np.asarray(axes.images[0].get_array())[0, :2].tolist() == [0.9, 0.1]
    cells = [text.get_text() for text in axes.texts]
    assert cells == (["90%\n(9)", "10%\n(1)"] + ["100%\n(9)"] * (num_classes - 1) if num_classes < 25 else [])


def test_classes_are_sorted_by_the_last_stream_and_unseen_ones_come_last() -> None:
    rgb, fused = np.array([0.9, 0.1, np.nan, 0.5]), np.array([0.2, 0.6, np.nan, 0.6])
    figure = draw_per_class({"rgb": rgb, "fused": fused}, ["a", "b", "c", "d"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "d", "a", "c"]
    assert [bar.get_width() for bar in axes.containers[1]] == [0.6, 0.6, 0.2, 0]
    assert figure.legends[0].get_texts()[0].get_text() == "rgb (mean 50.0%)"


def test_training_code_draws_nothing() -> None:
    check = (
        "import sys, kinebert.training.evaluation.per_class, kinebert.training.checkpoints.recognizer; "
        "print({'matplotlib', 'ray', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_name_is_markup_html_or_a_link_in_a_report(data: ReportData) -> None:
    evil = "<img src=x onerror=alert(1)>|[a](javascript:b)`c`\x1b[31m\u202e\n# https://e.example"
    hostile = replace(
        data,
        title=evil,
        classes=["open", evil, "wave"],
        streams=[replace(data.streams[0], name=evil, recipe={"width": evil}), data.streams[1]],
        histories={evil: HISTORY},
        rejected=[Rejected(video_id=evil, stream=evil, problem=evil)],
        facts={"split": evil},
    )
    text = render_report(hostile)
    assert not set(text) & set("<>\x1b\u202e")
    assert "https://" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    shown = r"&lt;img src=x onerror=alert(1)&gt;\|\[a\](javascript:b)\`c\`\\x1b\[31m\\u202e \# https&#58;//e.example"
    assert rows(text, "## Rejected videos") == [[shown] * 3]
    assert text.count("\n# ") + text.startswith("# ") == 1, "a name has made a heading"
