"""Pictures of a search: a line per trial, where its values and its metric put it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kinebert.orchestration.reports.drawing import to_png
from kinebert.orchestration.search.figures import draw_learning, draw_parallel
from kinebert.orchestration.search.records import Record, TakeOver, TrialEpoch
from kinebert.orchestration.search.report import files
from kinebert.orchestration.search.space import read_space
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe

TUNE = TuneRecipe(
    space={"optim.lr": {"log_uniform": [1e-5, 1e-1]}, "model.head": {"choice": ["bert", "tgap", "concat"]}}
)
SPACE = read_space(TUNE, TrainRecipe(data=DataRecipe(shards="/set"), epochs=3, tune=TUNE), "r.toml")


def trial(number: int, lr: float, head: str, top1: float, state: Any = "finished", epochs: int = 3) -> Record:
    rows = [
        TrialEpoch(epoch=e, val_top1=top1 * e / epochs, val_loss=1 - top1 * e / epochs, order=e, generation=0)
        for e in range(1, epochs + 1)
    ]
    return Record(number=number, values={"optim.lr": lr, "model.head": head}, seed=number, state=state, rows=rows)


TRIALS = [trial(0, 1e-5, "bert", 0.2), trial(1, 1e-1, "concat", 0.8), trial(2, 1e-3, "tgap", 0.5, "stopped", 2)]


def test_values_lie_on_their_axes_and_the_metric_on_the_last() -> None:
    (axes,) = draw_parallel(TRIALS, SPACE, TUNE).axes
    drawn = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    through = sorted(heights.tolist() for heights in drawn if len(heights) == 3)
    assert np.array(through) == pytest.approx(np.array([[0.0] * 3, [0.5] * 3, [1.0] * 3]))
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["optim.lr", "model.head", "best val_top1"]
    texts = {text.get_text() for text in axes.texts}
    assert {"bert", "tgap", "concat", "1e-05", "0.1", "20.0%", "80.0%"} <= texts
    assert axes.get_title(loc="left") == "3 trials (2 finished, 1 stopped); thick: the best"


def test_the_thick_line_is_the_best_and_dotted_ones_have_no_result() -> None:
    lost = trial(3, 1e-2, "bert", 0.9, "failed")
    never = trial(4, 1e-2, "bert", math.nan)
    (axes,) = draw_parallel([*TRIALS, lost, never], SPACE, TUNE).axes
    thick = [line for line in axes.lines if line.get_linewidth() == 2.6]
    assert [np.asarray(line.get_ydata(), float).tolist()[-1] for line in thick] == [1.0]
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert [len(np.ravel(line.get_ydata())) for line in dotted] == [2, 2]
    assert axes.get_title(loc="left").endswith("thick: the best, dotted: no result")


def test_epochs_are_drawn_as_they_were_heard_and_ends_are_marked() -> None:
    failed = trial(3, 1e-2, "bert", 0.4, "failed", 2)
    (axes,) = draw_learning([*TRIALS, failed], TUNE).axes
    drawn = [np.asarray(line.get_ydata(), float).tolist() for line in axes.lines]
    for record in (*TRIALS, failed):
        assert [row["val_top1"] for row in record.rows] in drawn
    markers = [line.get_marker() for line in axes.lines]
    assert (markers.count("o"), markers.count("X")) == (1, 1)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["best: trial 1"]


def test_the_loss_is_better_the_lower() -> None:
    tune = replace(TUNE, metric="val_loss")
    (axes,) = draw_learning(TRIALS, tune).axes
    assert axes.get_title(loc="left").startswith("val_loss by epoch: 3 trials")
    best = next(line for line in axes.lines if line.get_label() == "best: trial 1")
    assert np.asarray(best.get_ydata(), float).tolist() == [row["val_loss"] for row in TRIALS[1].rows]


def test_a_take_over_has_a_ring() -> None:
    record = replace(TRIALS[0], takeovers=[TakeOver(epoch=2, donor=1, values=TRIALS[1].values)])
    (axes,) = draw_learning([record], TUNE).axes
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [np.asarray(ring.get_xdata(), float).tolist() for ring in rings] == [[2.0]]


def test_a_search_that_came_to_nothing_is_drawn_too() -> None:
    nothing = [Record(number=0, values=TRIALS[0].values, seed=0, state="failed")]
    for records in ([], nothing):
        for figure in (draw_parallel(records, SPACE, TUNE), draw_learning(records, TUNE)):
            assert to_png(figure).startswith(b"\x89PNG")


def test_the_table_of_all_trials_has_what_they_trained_with_at_last() -> None:
    changed = replace(TRIALS[0], takeovers=[TakeOver(epoch=2, donor=1, values=TRIALS[1].values)], reason="a, b")
    found = files([changed, TRIALS[1]], SPACE, TUNE)
    assert set(found) == {"parallel.png", "learning.png", "trials.csv"}
    header, first, second = found["trials.csv"].decode().splitlines()
    assert header == "trial,state,epochs,val_top1,best_epoch,startup_s,seed,optim.lr,model.head,reason"
    best = [record.rows[-1]["val_top1"] for record in TRIALS]
    assert first == f'0,finished,3,{best[0]},3,,0,0.1,concat,"a, b"'
    assert second == f"1,finished,3,{best[1]},3,,1,0.1,concat,"
    assert files([], SPACE, TUNE)["trials.csv"].decode().count("\n") == 1
