"""Pictures of a comparison: what they show is what the verdict says."""

from dataclasses import replace

import numpy as np
import pytest

from kinebert.orchestration.comparing.figures import (
    BETTER,
    CHANCE,
    MOST_CLASSES,
    PALETTE,
    colours,
    draw_accuracy,
    draw_all,
    draw_class_changes,
    draw_confusion_change,
    draw_curves,
)
from kinebert.orchestration.comparing.runs import Run
from kinebert.orchestration.comparing.verdict import class_changes, judge
from kinebert.orchestration.reports.drawing import to_png
from kinebert.training.run_folder import EpochRow
from tests.helpers.compared import make_scores, side

HISTORY = [EpochRow(epoch=epoch, val_loss=2.0 / epoch, val_top1=top1) for epoch, top1 in enumerate((0.3, 0.7, 0.6), 1)]


def places(runs: list[Run]) -> dict[str, int]:
    return {run.name: i for i, run in enumerate(runs)}


def test_pictures_are_those_that_show_something(three: list[Run]) -> None:
    same = judge([side("a", make_scores(0.6)), side("b", make_scores(0.6))])
    assert set(draw_all(same)) == {"accuracy"}
    assert set(draw_all(judge([three[0], side("b", None)]))) == {"accuracy"}
    trained = [replace(run, history=HISTORY) for run in three]
    assert set(draw_all(judge(trained))) == {
        *("accuracy", "curves", "classes-1", "confusion-1", "classes-2", "confusion-2")
    }


def test_the_same_comparison_gives_the_same_bytes(three: list[Run]) -> None:
    assert draw_all(judge(three)) == draw_all(judge(three))


def test_accuracies_are_drawn_with_the_ends_of_their_intervals(three: list[Run]) -> None:
    verdict = judge(three)
    left, right = draw_accuracy(verdict, places(three)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == [one.run.name for one in verdict.standings]
    drawn = [np.asarray(line.get_xdata(), float).tolist() for line in left.lines]
    for standing in verdict.standings:
        interval = standing.intervals["top1"]
        assert [interval.low, interval.high] in drawn
        assert [standing.metrics.top[1]] in drawn
    found = verdict.pairs["a", "b"].differences["top1"]
    differences = [np.asarray(line.get_xdata(), float).tolist() for line in right.lines]
    assert [found.interval.low, found.interval.high] in differences
    assert right.get_title(loc="left") == "difference to a, in points"


def test_runs_that_are_not_ranked_have_no_differences(three: list[Run]) -> None:
    verdict = judge([three[0], side("b", make_scores(0.6, part="val"))])
    assert not verdict.ranked
    assert len(draw_accuracy(verdict, {"a": 0, "b": 1}).axes) == 1


def test_the_epoch_that_was_kept_has_a_ring_and_gaps_are_borne() -> None:
    gaps = [EpochRow(epoch=1, val_loss=1.0), EpochRow(epoch=2, val_loss=0.5, val_top1=0.4)]
    loss, top1 = draw_curves({"whole": HISTORY, "gaps": gaps}, {"whole": 0, "gaps": 1}).axes
    assert [np.asarray(line.get_ydata(), float).tolist() for line in loss.lines] == [[2.0, 1.0, 2.0 / 3], [1.0, 0.5]]
    rings = [line for line in top1.lines if line.get_markerfacecolor() == "white"]
    assert [(np.ravel(ring.get_xdata())[0], np.ravel(ring.get_ydata())[0]) for ring in rings] == [(2, 0.7), (2, 0.4)]


def test_classes_that_gain_most_are_on_top(three: list[Run]) -> None:
    verdict = judge(three[:2])
    (axes,) = draw_class_changes(verdict.baseline, verdict.others[0]).axes
    changes = {row.name: row.change for row in class_changes(verdict.baseline, verdict.others[0]) if row.change}
    names = [label.get_text() for label in axes.get_yticklabels()]
    heights = [float(y) for y in axes.get_yticks()]
    bottom, top = axes.get_ylim()
    shown = [name for _, name in sorted(zip(heights, names, strict=True), reverse=bool(top > bottom))]
    assert shown == sorted(changes, key=lambda name: -changes[name])
    said = {text.get_text() for text in axes.texts}
    assert {f"{100 * change:+.0f}" for change in changes.values()} <= said


def test_of_many_classes_those_that_change_most_are_shown() -> None:
    names = [f"class {i}" for i in range(60)]
    before, after = (
        make_scores(accuracy, num_videos=600, classes=names, seed=i) for i, accuracy in enumerate((0.4, 0.8))
    )
    verdict = judge([side("a", before), side("b", after)])
    (axes,) = draw_class_changes(verdict.baseline, verdict.others[0]).axes
    shown = {label.get_text() for label in axes.get_yticklabels()}
    assert len(shown) == MOST_CLASSES
    changes = {row.name: abs(row.change) for row in class_changes(verdict.baseline, verdict.others[0])}
    assert min(changes[name] for name in shown) >= max(change for name, change in changes.items() if name not in shown)


def test_the_change_of_a_confusion_is_in_shares_of_the_class(three: list[Run]) -> None:
    verdict = judge(three[:2])
    before, after = verdict.baseline, verdict.others[0]
    axes = draw_confusion_change(before, after).axes[0]
    counts = after.metrics.confusion - before.metrics.confusion
    expected = counts / before.metrics.confusion.sum(axis=1, keepdims=True)
    shown = np.asarray(axes.images[0].get_array(), float)
    assert np.abs(shown) == pytest.approx(np.abs(expected))


def test_more_runs_than_colours_begin_again() -> None:
    names = [f"r{i}" for i in range(len(PALETTE) + 2)]
    found = colours(names)
    assert len({found[name] for name in names[: len(PALETTE)]}) == len(PALETTE)
    assert found[names[len(PALETTE)]] == found[names[0]]


def test_names_of_every_kind_are_drawn_as_they_are() -> None:
    names = ("$\\frac{$ a", "x" * 90, "naïve ü")
    runs = [
        side(name, make_scores(0.5 + i / 10, seed=i, classes=("$x$", "y_{", "z" * 60))) for i, name in enumerate(names)
    ]
    for picture in draw_all(judge(runs)).values():
        assert picture.startswith(b"\x89PNG")
    axes = draw_accuracy(judge(runs), places(runs)).axes[0]
    assert {label.get_text() for label in axes.get_yticklabels()} == {names[0], "x" * 27 + "…", names[2]}
    assert to_png(axes.figure)  # type: ignore[arg-type]


def test_a_change_within_chance_is_grey_and_only_that() -> None:
    names = ("open", "close")
    scores = [make_scores(share, classes=names, seed=1) for share in ([0.75, 0.5], [0.79, 0.9])]
    verdict = judge([side(name, one) for name, one in zip("ab", scores, strict=True)])
    rows = {row.name: row for row in class_changes(verdict.baseline, verdict.others[0])}
    assert (rows["open"].p_value > 0.05, rows["close"].p_value < 0.05) == (True, True)
    assert rows["open"].change > 0
    (axes,) = draw_class_changes(verdict.baseline, verdict.others[0]).axes
    found = {label.get_text(): y for label, y in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
    for line in axes.lines:
        if len(np.asarray(line.get_xdata())) == 2:
            y = float(np.asarray(line.get_ydata())[0])
            assert line.get_color() == (CHANCE if y == found["open"] else BETTER)
    image = draw_confusion_change(verdict.baseline, verdict.others[0]).axes[0].images[1]
    assert np.ma.getmaskarray(np.ma.asarray(image.get_array())).tolist() == [[True, True], [False, False]]


def test_a_difference_of_accuracies_within_chance_is_grey() -> None:
    shares = {"a": 0.7, "b": 0.71, "c": 0.95}
    verdict = judge([side(name, make_scores(share, seed=1)) for name, share in shares.items()])
    assert (verdict.p_values["a", "b"] > 0.05, verdict.p_values["a", "c"] < 0.05) == (True, True)
    right = draw_accuracy(verdict, {"a": 0, "b": 1, "c": 2}).axes[1]
    assert {str(line.get_color()) for line in right.lines[1:]} == {CHANCE, PALETTE[2]}
