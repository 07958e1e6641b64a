"""What differs between runs, when they are ranked, and what is said of classes and confusions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinebert.orchestration.comparing.differences import ABSENT, differences
from kinebert.orchestration.comparing.page import render
from kinebert.orchestration.comparing.runs import Run, choose_evaluations, parse_recipe, read_run
from kinebert.orchestration.comparing.tables import terminal
from kinebert.orchestration.comparing.verdict import class_changes, judge, obstacles, pair_changes
from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.significance import compare
from kinebert.training.recipe.train import ProtocolRecipe
from tests.helpers.compared import HEAD, MULTI, make_run, make_scores, side


def test_what_differs_and_what_does_not(tmp_path: Path) -> None:
    one = read_run(str(make_run(tmp_path / "one", {MULTI: make_scores(0.6)}, HEAD)))
    other = make_scores(0.7, protocol=ProtocolRecipe(clips="multi", crops=10), about={"content": "c1"})
    two = read_run(str(make_run(tmp_path / "two", {"split1-test-multi-x10": other}, {"seed": 3})))
    lines, num_same = differences(choose_evaluations([one, two], None))
    assert {(line.kind, line.name): line.values for line in lines} == {
        ("recipe", "model.head"): ("tgap", "bert"),
        ("recipe", "seed"): ("0", "3"),
        ("data", "content"): ("c0", "c1"),
        ("test", "views"): ("multi", "multi-x10"),
        ("test", "protocol.crops"): ("1", "10"),
    }
    assert num_same > 40
    assert parse_recipe(b"[data]\nshards = 'x'\n", "older")["ema"] == 0  # what it does not say has its default
    assert parse_recipe(b"unheard = 1\n", "newer") == {"unheard": 1}


def test_runs_are_ranked_with_what_every_difference_is_worth(three: list[Run]) -> None:
    verdict = judge(three)
    assert verdict.ranked
    tops = [standing.metrics.top[1] for standing in verdict.standings]
    assert tops == sorted(tops, reverse=True)
    assert verdict.baseline.run.name == "a"
    assert [standing.run.name for standing in verdict.others] == ["b", "c"]
    for (first, second), found in verdict.pairs.items():
        by_name = {one.name: one.tables[MULTI] for one in three}
        assert found == compare(by_name[first], by_name[second])
        assert found.p_value <= verdict.p_values[first, second] <= min(1.0, 3 * found.p_value + 1e-12)
    printed = "\n".join(map(str, terminal(verdict)))
    assert "b - a: +" in printed
    assert "(p-values allow for 3 comparisons: Holm)" in printed


def test_classes_and_confusions_are_counted_video_by_video(three: list[Run]) -> None:
    verdict = judge(three[:2])
    before, after = verdict.baseline, verdict.others[0]
    taken = [np.asarray(standing.scores.scores).argmax(axis=1) for standing in (before, after)]
    labels = before.scores.labels
    for k, row in enumerate(class_changes(before, after)):
        mine = labels == k
        assert row.num_videos == mine.sum()
        assert row.after - row.before == pytest.approx(
            ((taken[1] == k) & mine).mean() * 4 - ((taken[0] == k) & mine).mean() * 4
        )
        assert row.only_after == (mine & (taken[1] == k) & (taken[0] != k)).sum()
    for pair in pair_changes(before, after):
        i, j = (before.scores.classes.index(name) for name in (pair.name, pair.taken_for))
        assert i != j
        assert [pair.before, pair.after] == [((labels == i) & (of == j)).sum() for of in taken]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (side("b", None), "no scores of b: kinebert evaluate CHECKPOINT makes them"),
        (side("b", make_scores(0.6, part="val")), "tested parts differ (a: split1/test, b: split1/val)"),
        (side("b", make_scores(0.6, protocol=ProtocolRecipe())), "views differ (a: multi, b: single)"),
        (side("b", make_scores(0.6, classes=("open", "close", "wave", "jump"))), "classes differ (a: 4, "),
        (side("b", make_scores(0.6, num_videos=190)), "only 190 of 200 videos were scored in all (a: 200, b: 190)"),
        (
            side("b", make_scores(0.6), data__split="split2", data__train_part="train"),
            "b learnt from split2 and is tested on split1, whose test videos it may have seen",
        ),
        (
            side("b", make_scores(0.6), data__split="split1", data__train_part="test"),
            "b is tested on the videos that it learnt from",
        ),
    ],
)
def test_numbers_that_do_not_mean_the_same_are_not_ranked(other: Run, words: str) -> None:
    one = side("a", make_scores(0.7))
    assert any(words in sentence for sentence in obstacles([one, other]))
    verdict = judge([one, other])
    assert not verdict.ranked
    assert (verdict.pairs, verdict.others) == ({}, [])
    printed = "\n".join(map(str, terminal(verdict)))
    assert "not ranked: " in printed
    assert "--anyway" in printed


def test_other_labels_are_found() -> None:
    other = make_scores(0.7)
    other.labels[7] = 0
    assert obstacles([side("a", make_scores(0.7)), side("b", other)]) == [
        "different labels: v0007 is 'clap' to a and 'open' to b"
    ]


def test_told_to_they_are_ranked_on_the_videos_that_all_have() -> None:
    verdict = judge([side("a", make_scores(0.7)), side("b", make_scores(0.6, num_videos=150))], anyway=True)
    assert verdict.ranked
    assert {standing.metrics.num_videos for standing in verdict.standings} == {150}
    assert any("50 of 200 videos have no score in some run" in note for note in verdict.notes)
    assert "ranked all the same: only 150 of 200" in "\n".join(map(str, terminal(verdict)))
    assert "Ranked all the same, as was asked" in render("t", verdict, {})


def test_a_checkpoint_that_the_test_chose_is_noted(tmp_path: Path) -> None:
    values = {"data": {"shards": "x", "val_part": "test"}}
    runs = [
        read_run(str(make_run(tmp_path / name, {MULTI: make_scores(0.7, about={"epoch": epoch})}, values)))
        for name, epoch in (("best", 5), ("last", 6))
    ]
    verdict = judge(choose_evaluations(runs, None))
    assert verdict.notes == ["best: these videos chose epoch 5; its numbers are too good"]


def test_sets_of_one_recipe_whose_bytes_differ_are_noted() -> None:
    verdict = judge([side("a", make_scores(0.7)), side("b", make_scores(0.7, about={"content": "c1"}))])
    assert verdict.ranked
    assert "the rgb sets of recipe aaaaaaaaaaaa are not the same bytes in all runs" in verdict.notes
    other = make_scores(0.7, about={"content": "c1", "shards": "bbb"})
    assert judge([side("a", make_scores(0.7)), side("b", other)]).notes == []  # another recipe makes other bytes


def test_values_that_only_one_run_has_are_absent_from_the_other() -> None:
    lines, num_same = differences([side("a", make_scores(0.6), lr=0.1, seed=0), side("b", None, lr=0.1)])
    found = {line.name: line.values for line in lines}
    assert found["seed"] == ("0", ABSENT)
    assert found["part"] == ("split1/test", ABSENT)
    assert "lr" not in found
    assert num_same == 1


def test_nothing_but_the_number_is_told_of_a_float() -> None:
    lines, _ = differences([side("a", None, lr=0.1, decay=1e-4), side("b", None, lr=0.30000000000000004, decay=1e-4)])
    assert [(line.name, line.values) for line in lines] == [("lr", ("0.1", "0.3"))]


def test_classes_without_a_video_are_left_out_and_equal_runs_change_nothing() -> None:
    scores = make_scores(0.7, num_videos=3, classes=("open", "close", "wave", "clap"))
    verdict = judge([side("a", scores), side("b", scores)])
    changes = class_changes(verdict.baseline, verdict.others[0])
    assert [row.name for row in changes] == ["open", "close", "wave"]
    assert all((row.change, row.only_before, row.only_after, row.p_value) == (0, 0, 0, 1) for row in changes)
    assert pair_changes(verdict.baseline, verdict.others[0]) == []


def test_no_more_runs_are_shown_than_a_page_bears_and_they_are_the_best() -> None:
    runs = [side(f"r{i}", make_scores(0.5 + i / 20, seed=i)) for i in range(8)]
    verdict = judge(runs)
    tops = {standing.run.name: standing.metrics.top[1] for standing in verdict.others}
    assert len(verdict.others) == 7
    assert len(verdict.shown) == 4
    least = min(standing.metrics.top[1] for standing in verdict.shown)
    assert sum(top > least for top in tops.values()) < 4
    names = [standing.run.name for standing in verdict.shown]
    assert names == sorted(names)  # in the order of the runs


def test_told_to_runs_without_a_video_in_common_cannot_be_ranked() -> None:
    other = make_scores(0.7, num_videos=20)
    moved = replace(other, video_ids=[f"w{name}" for name in other.video_ids])
    with pytest.raises(UserError, match="no video has a score in every table"):
        judge([side("a", make_scores(0.7, num_videos=20)), side("b", moved)], anyway=True)


def test_a_run_without_an_evaluation_is_left_out_and_said(three: list[Run]) -> None:
    verdict = judge([side("begun", None, seed=9), *three[:2]])
    assert verdict.ranked
    assert verdict.obstacles == []
    assert [run.name for run in verdict.runs] == ["a", "b"]
    assert verdict.baseline.run.name == "a"
    assert verdict.notes == ["left out, without an evaluation: begun (kinebert evaluate CHECKPOINT makes one)"]
    assert "note: left out, without an evaluation: begun" in "\n".join(map(str, terminal(verdict)))
    assert "left out, without an evaluation: begun" in render("t", verdict, {})
