"""What is said of new videos, in sentences and in files."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kinebert.orchestration.reports import predictions
from kinebert.orchestration.reports.predictions import annotate, row_of, words, write_predictions
from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.predict import Prediction
from kinebert.training.recipe.protocol import ProtocolRecipe

CLASSES = ("open", "close, it", "wave")
LOGITS = np.array([0.0, np.log(3.0), 0.0], np.float32)  # 20, 60 and 20 %


def said(scale: str = "logits", problem: str | None = None, temperature: float = 1.0) -> Prediction:
    return Prediction(
        scores=LOGITS,
        scale=scale,
        temperature=temperature,
        windows=[(0, 9), (10, 24)],
        window_scores=np.stack([LOGITS, LOGITS[::-1]]) if scale == "logits" else np.stack([LOGITS, -LOGITS]),
        num_frames=25,
        problem=problem,
    )


def row(top: int = 2, fps: float = 5.0, **options: Any) -> predictions.PredictionRow:
    return row_of("a.mp4", "/videos/a.mp4", said(**options), CLASSES, top, fps)


def test_the_best_classes_come_with_their_probability_and_equal_ones_in_order() -> None:
    best = row(top=3)["top"]
    assert [one["class"] for one in best] == ["close, it", "open", "wave"]
    assert [one["probability"] for one in best] == pytest.approx([0.6, 0.2, 0.2])
    assert len(row(top=9)["top"]) == 3


def test_sums_of_a_fusion_are_probabilities_at_its_temperature() -> None:
    found = row(top=3, scale="sums", temperature=0.5)  # nine to one to one
    assert [set(one) for one in found["top"]] == [{"class", "probability"}] * 3
    assert [one["probability"] for one in found["top"]] == pytest.approx([9 / 11, 1 / 11, 1 / 11])
    assert found["probabilities"] == pytest.approx([1 / 11, 9 / 11, 1 / 11])
    assert sum(found["probabilities"]) == pytest.approx(1)
    assert found["scores"] == pytest.approx(LOGITS.tolist())
    assert found["windows"][0]["top"] == found["top"]
    assert words(found["top"]) == "close, it 82%, open 9%, wave 9%"
    assert words(row()["top"]) == "close, it 60%, open 20%"
    assert words(row(top=3)["top"] * 2).count("%") == 3


def test_windows_have_times_where_the_rate_is_known() -> None:
    windows = row(fps=5.0)["windows"]
    assert [(one["first_frame"], one["last_frame"]) for one in windows] == [(0, 9), (10, 24)]
    assert [(one["start_s"], one["end_s"]) for one in windows] == [(0.0, 2.0), (2.0, 5.0)]
    assert all("start_s" not in one for one in row(fps=0.0)["windows"])


def test_a_video_that_ended_early_says_so() -> None:
    assert row(problem="decode: cut after 25 frames")["problem"] == "decode: cut after 25 frames"
    assert "problem" not in row()


STREAM: Any = SimpleNamespace(uri="/runs/best.pt", modality="rgb", protocol=ProtocolRecipe(), classes=CLASSES)
UNREADABLE = {"video": "b\nc.mp4", "path": "/videos/b.mp4", "problem": 'not a "video", they say'}


def test_files_hold_every_video_and_are_written_anew(tmp_path: Path) -> None:
    for found in ([row()], [row(), UNREADABLE]):
        write_predictions(str(tmp_path), found, [STREAM], 2, {"method": "l2", "weights": [1.0]})
    plain = json.loads((tmp_path / "predictions.json").read_text())
    assert [one["video"] for one in plain["videos"]] == ["a.mp4", "b\nc.mp4"]
    assert plain["videos"][0]["scores"] == pytest.approx(LOGITS.tolist())
    assert plain["classes"] == list(CLASSES)
    assert (plain["method"], plain["streams"][0]["checkpoint"]) == ("l2", "/runs/best.pt")
    with (tmp_path / "predictions.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [one["class1"] for one in table] == ["close, it", ""]
    assert float(table[0]["score1"]) == pytest.approx(0.6)
    assert (table[1]["video"], table[1]["problem"]) == ("b\nc.mp4", 'not a "video", they say')
    assert list(table[0]) == ["video", "frames", "class1", "score1", "class2", "score2", "problem"]


def test_a_table_has_no_more_columns_than_there_are_classes(tmp_path: Path) -> None:
    write_predictions(str(tmp_path), [row(top=9)], [STREAM], 9, {})
    header = (tmp_path / "predictions.csv").read_text().splitlines()[0]
    assert header.count("class") == 3


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out: cannot write the predictions"):
        write_predictions(str(tmp_path / "out"), [row()], [STREAM], 2, {})


def test_a_video_is_annotated_with_the_best_three_of_every_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(predictions, "annotate_video", lambda *args: given.append(args))
    annotate(str(tmp_path / "new" / "a.mp4"), row(top=3))
    ((path, target, windows, fps),) = given
    assert (path, target, fps) == ("/videos/a.mp4", str(tmp_path / "new" / "a.mp4"), 5.0)
    assert [(one.first, one.last) for one in windows] == [(0, 9), (10, 24)]
    assert windows[0].top[0] == ("close, it", pytest.approx(0.6))
    assert (tmp_path / "new").is_dir()
