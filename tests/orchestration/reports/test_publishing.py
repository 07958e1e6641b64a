"""From tables of scores to a report in a folder and in MLflow, and to a file of metrics."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kinebert.orchestration.reports import intervals as intervals_module
from kinebert.orchestration.reports import publishing
from kinebert.orchestration.reports.accuracies import accuracy_table, rejected_lines
from kinebert.orchestration.reports.intervals import known_intervals
from kinebert.orchestration.reports.metrics_file import write_metrics
from kinebert.orchestration.reports.publishing import publish_report, report_data
from kinebert.orchestration.reports.report import render_report
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.significance import intervals
from tests.helpers.compared import make_run, make_scores


class Run:
    """What a run is given, in place of a store."""

    def __init__(self) -> None:
        self.given: list[tuple[list[str], str | None]] = []

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.given.append((sorted(file.name for file in path.iterdir()), folder))


@pytest.fixture(scope="module")
def scores() -> VideoScores:
    found = make_scores(0.8, num_videos=60, about={"recipe": {"width": 340}})
    return replace(found, rejected=[{"video_id": f"r{i}", "problem": "decode: 0 frames"} for i in range(4)])


def test_a_report_has_the_streams_with_their_intervals_and_curves(tmp_path: Path, scores: VideoScores) -> None:
    trained = make_scores(0.7, num_videos=60)
    make_run(tmp_path / "run", {"split1-test-multi": trained})
    data = report_data("t", {"rgb": scores, "flow": trained}, {"split": "split1"}, {"rgb + flow": scores})
    assert [stream.name for stream in data.streams] == ["rgb", "flow"]
    assert [stream.name for stream in data.subsets] == ["rgb + flow"]
    assert list(data.histories) == ["flow"]  # the other one's scores name no folder
    assert len(data.histories["flow"]) == 6
    top1 = intervals(scores)["top1"]
    assert data.streams[0].interval == (top1.low, top1.high)
    assert [(video.stream, video.video_id) for video in data.rejected] == [("rgb", f"r{i}") for i in range(4)]
    assert (data.streams[0].digest, data.streams[0].recipe) == ("aaaaaaaaaaaa", {"width": 340})


def test_what_is_in_the_folder_is_given_to_the_run(tmp_path: Path, scores: VideoScores) -> None:
    run: Any = Run()
    path = publish_report(str(tmp_path / "report"), report_data("t", {"rgb": scores}, {}), run, "split1-test")
    files = sorted(file.name for file in (tmp_path / "report").iterdir())
    assert Path(path) == tmp_path / "report" / "report.md"
    assert files == ["confusion-rgb.png", "per-class.png", "report.md"]
    assert run.given == [(files, "split1-test")]


def test_on_a_remote_store_it_is_the_same_report(
    tmp_path: Path, scores: VideoScores, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = report_data("t", {"rgb": scores}, {})
    publish_report(str(tmp_path / "here"), data, None, "report")
    remote = SimpleNamespace(**{**vars(storage), "is_local": lambda _: False})
    monkeypatch.setattr(publishing, "storage", remote)
    run: Any = Run()
    path = publish_report(str(tmp_path / "there"), data, run, "report")
    assert path == str(tmp_path / "there" / "report.md")
    here, there = ({file.name: file.read_bytes() for file in (tmp_path / one).iterdir()} for one in ("here", "there"))
    assert here == there
    assert run.given == [(sorted(there), "report")]


def test_intervals_are_drawn_once_for_a_table(scores: VideoScores, monkeypatch: pytest.MonkeyPatch) -> None:
    first = known_intervals(scores)
    monkeypatch.setattr(intervals_module, "intervals", lambda _: pytest.fail("they are known"))
    assert known_intervals(scores) is first
    with pytest.raises(pytest.fail.Exception):
        known_intervals(make_scores(0.8, num_videos=60))  # another table, though of the same values


def test_the_file_of_metrics_has_every_number_and_where_it_may_lie(tmp_path: Path, scores: VideoScores) -> None:
    uri = str(tmp_path / "metrics.json")
    write_metrics(uri, scores)
    found = json.loads(Path(uri).read_text())
    metrics = scores.metrics()
    assert {name: entry["value"] for name, entry in found["metrics"].items()} == metrics.as_numbers()
    for name, interval in known_intervals(scores).items():
        assert (found["metrics"][name]["low"], found["metrics"][name]["high"]) == (interval.low, interval.high)
    assert found["videos"] == 60
    assert found["about"] == scores.about
    label = int(np.bincount(scores.labels).argmax())
    assert found["majority"] == {"class": scores.classes[label], "share": (scores.labels == label).mean()}
    assert len(found["rejected"]) == 4
    confusion = np.array(found["confusion"])
    assert (confusion == metrics.confusion).all()
    for i, row in enumerate(found["classes"]):
        assert row["videos"] == confusion[i].sum()
        assert row["right"] == confusion[i, i]
        assert row["taken"] == confusion[:, i].sum() - confusion[i, i]
    assert [row["name"] for row in found["classes"]] == scores.classes


def test_metrics_that_cannot_be_written_are_named(tmp_path: Path, scores: VideoScores) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(UserError, match="metrics.json: cannot write the metrics"):
        write_metrics(str(tmp_path / "metrics.json"), scores)


def test_accuracies_are_printed_with_their_interval(scores: VideoScores) -> None:
    table = accuracy_table({"rgb": scores, "a [b]": scores})
    top1 = known_intervals(scores)["top1"]
    assert table.header == ["stream", "videos", "top-1", "95 %", "majority", "top-3", "mean class", "ECE"]
    assert [row[0] for row in table.rows] == ["rgb", "a [b]"]
    assert table.rows[0][1:5] == [
        "60",
        f"{100 * scores.metrics().top[1]:.1f}",
        f"{100 * top1.low:.1f} to {100 * top1.high:.1f}",
        f"{100 * np.bincount(scores.labels).max() / 60:.1f}",
    ]


@pytest.mark.parametrize(
    ("num", "further"), [(2, []), (3, []), (4, ["top-3"]), (5, ["top-3"]), (6, ["top-3", "top-5"])]
)
def test_a_top_k_that_nobody_can_miss_is_not_shown(num: int, further: list[str]) -> None:
    scores = make_scores(0.8, num_videos=60, classes="abcdef"[:num])
    table = accuracy_table({"rgb": scores})
    assert table.header[4:] == ["majority", *further, "mean class", "ECE"]
    assert len(table.rows[0]) == len(table.header)
    report = render_report(report_data("t", {"rgb": scores}, {}, {"rgb": scores}))
    head = next(line for line in report.splitlines() if "| top-1 |" in line)
    assert [word for word in ("top-3", "top-5") if word in report] == further
    assert head == f"| {' | '.join(table.header)} |"


def test_sums_of_scores_have_no_calibration() -> None:
    table = accuracy_table({"fused": make_scores(0.8, about={"scale": "sums"})})
    assert table.rows[0][-1] == "–"


def test_rejected_videos_are_counted_and_the_first_named(scores: VideoScores) -> None:
    (line,) = rejected_lines(scores)
    assert line.startswith("4 of 64 videos were rejected at extraction and count in no number: r0 (decode: 0 frames);")
    assert "r3" not in line
    assert rejected_lines(make_scores(0.8, num_videos=9)) == []
