"""Runs side by side: what differs, when they are ranked, and what is said of classes and confusions."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from kinebert.orchestration.comparing.figures import draw_all
from kinebert.orchestration.comparing.page import render
from kinebert.orchestration.comparing.runs import Run, choose_evaluations, name_apart, parse_recipe, read_run
from kinebert.orchestration.comparing.tables import csv_files, terminal
from kinebert.orchestration.comparing.verdict import class_changes, differences, judge, obstacles, pair_changes
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.evaluation.evaluate import VideoScores, write_scores
from kinebert.training.evaluation.significance import compare
from kinebert.training.recipe.train import ProtocolRecipe
from tests.helpers.compared import make_run, make_scores

MULTI = "split1-test-multi"
HEAD = {"model": {"backbone": "resnet18", "head": "tgap", "width": 0.125}}


def run(name: str, scores: VideoScores | None, **recipe: object) -> Run:
    tables = {} if scores is None else {MULTI: scores}
    values = {key.replace("__", "."): value for key, value in recipe.items()}
    return Run(name=name, where=f"/runs/{name}", recipe=values, tables=tables, evaluation=MULTI if tables else "")


@pytest.fixture(scope="module")
def three() -> list[Run]:
    tables = [make_scores(0.6, seed=1), make_scores([0.9, 0.7, 0.6, 0.95], seed=2), make_scores(0.8, seed=3)]
    return [run(name, scores, seed=i) for i, (name, scores) in enumerate(zip("abc", tables, strict=True))]


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
        by_name = {one.name: one.scores for one in three}
        assert found == compare(by_name[first], by_name[second])
        assert found.p_value <= verdict.p_values[first, second] <= min(1.0, 3 * found.p_value + 1e-12)
    printed = "\n".join(terminal(verdict))
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
        (run("b", None), "no scores of b: kinebert evaluate CHECKPOINT makes them"),
        (run("b", make_scores(0.6, part="val")), "tested parts differ (a: split1/test, b: split1/val)"),
        (run("b", make_scores(0.6, protocol=ProtocolRecipe())), "views differ (a: multi, b: single)"),
        (run("b", make_scores(0.6, classes=("open", "close", "wave", "jump"))), "classes differ (a: 4, "),
        (run("b", make_scores(0.6, num_videos=190)), "only 190 of 200 videos were scored in all (a: 200, b: 190)"),
        (
            run("b", make_scores(0.6), data__split="split2", data__train_part="train"),
            "b learnt from split2 and is tested on split1, whose test videos it may have seen",
        ),
        (
            run("b", make_scores(0.6), data__split="split1", data__train_part="test"),
            "b is tested on the videos that it learnt from",
        ),
    ],
)
def test_numbers_that_do_not_mean_the_same_are_not_ranked(other: Run, words: str) -> None:
    one = run("a", make_scores(0.7))
    assert any(words in sentence for sentence in obstacles([one, other]))
    verdict = judge([one, other])
    assert not verdict.ranked
    assert (verdict.pairs, verdict.others) == ({}, [])
    printed = "\n".join(terminal(verdict))
    assert "not ranked: " in printed
    assert "--anyway" in printed


def test_other_labels_are_found() -> None:
    other = make_scores(0.7)
    other.labels[7] = 0
    assert obstacles([run("a", make_scores(0.7)), run("b", other)]) == [
        "different labels: v0007 is 'clap' to a and 'open' to b"
    ]


def test_told_to_they_are_ranked_on_the_videos_that_all_have() -> None:
    verdict = judge([run("a", make_scores(0.7)), run("b", make_scores(0.6, num_videos=150))], anyway=True)
    assert verdict.ranked
    assert {standing.metrics.num_videos for standing in verdict.standings} == {150}
    assert any("50 of 200 videos have no score in some run" in note for note in verdict.notes)
    assert "ranked all the same: only 150 of 200" in "\n".join(terminal(verdict))
    assert "Ranked all the same, as was asked" in render("t", verdict, {})


def test_a_checkpoint_that_the_test_chose_is_noted(tmp_path: Path) -> None:
    values = {"data": {"shards": "x", "val_part": "test"}}
    runs = [
        read_run(str(make_run(tmp_path / name, {MULTI: make_scores(0.7, about={"epoch": epoch})}, values)))
        for name, epoch in (("best", 5), ("last", 6))
    ]
    verdict = judge(choose_evaluations(runs, None))
    assert verdict.notes == ["best: these videos chose epoch 5; its numbers are too good"]


def test_which_evaluation_is_compared(three: list[Run]) -> None:
    scores = make_scores(0.5)
    both = Run(name="d", where="d", tables={MULTI: scores, "split1-test-single": scores})
    assert [one.evaluation for one in choose_evaluations([both, three[0]], None)] == [MULTI, MULTI]
    with pytest.raises(ConfigError, match="tested in several ways: split1-test-multi, split1-test-single. Choose"):
        choose_evaluations([both, both], None)
    chosen = choose_evaluations([both, three[0]], "split1-test-single")
    assert [one.evaluation for one in chosen] == ["split1-test-single", ""]
    with pytest.raises(ConfigError, match="no run has an evaluation 'x'. There are: split1-test-multi, split1"):
        choose_evaluations([both], "x")
    assert [one.name for one in name_apart([three[0], three[0]])] == ["a (1)", "a (2)"]


def test_a_table_of_the_last_epoch_is_compared_with_the_last_epoch_of_others(tmp_path: Path) -> None:
    """Given by itself, a table of ``last.pt`` is not taken for one of ``best.pt``."""
    last = f"{MULTI}-last"
    one = make_run(tmp_path / "one", {MULTI: make_scores(0.9), last: make_scores(0.6)})
    other = make_run(tmp_path / "other", {MULTI: make_scores(0.8), last: make_scores(0.7)})
    tables = [read_run(str(one)), read_run(str(other / last / "scores.parquet"))]
    assert list(tables[1].tables) == [last]
    chosen = choose_evaluations(tables, None)
    assert [run.evaluation for run in chosen] == [last, last]
    assert list(read_run(str(other / MULTI / "scores.parquet")).tables) == [MULTI]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_scores(str(elsewhere / "scores.parquet"), make_scores(0.6))
    assert list(read_run(str(elsewhere)).tables) == [MULTI]


def test_tables_of_scores_and_fusions_are_runs_too(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "rgb", {MULTI: make_scores(0.6)}, HEAD)
    alone = read_run(str(folder / MULTI / "scores.parquet"))
    assert (alone.name, alone.recipe["model.head"], len(alone.history)) == ("rgb", "tgap", 6)
    fused = make_scores(0.9)
    stream = {"modality": "rgb", "model": "resnet18 + tgap", "views": "multi"}
    fused.about.update(weights=[1.0, 0.5], method="l2", streams=[stream, {**stream, "modality": "flow"}])
    fused.about.pop("views")
    (tmp_path / "fused").mkdir()
    write_scores(str(tmp_path / "fused" / "scores.parquet"), fused)
    both = choose_evaluations([alone, read_run(str(tmp_path / "fused"))], None)
    assert [one.evaluation for one in both] == [MULTI, MULTI]
    assert both[1].recipe["fusion.stream 2"] == "flow, resnet18 + tgap, weight 0.5"
    assert obstacles(both) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no run. Give the folder of a training"):
        read_run(str(tmp_path / "empty"))


class Reader(HTMLParser):
    """Collects what a page would fetch, and whether its tags fit into each other."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_takes_names_as_they_are(three: list[Run]) -> None:
    evil = run("<script>alert(1)</script> & co", make_scores(0.7, seed=9), seed="<b>")
    verdict = judge([*three, evil])
    pictures = draw_all(verdict)
    assert {"accuracy", "classes-1", "confusion-3"} <= pictures.keys()
    text = render("a <title>", verdict, pictures)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    assert len(reader.sources) == len(pictures)
    assert "<script" not in text
    assert not re.search("https?://|url\\(|@import", text)


def test_the_tables_hold_the_same_numbers(three: list[Run]) -> None:
    verdict = judge(three)
    tables = {name: list(csv.DictReader(text.splitlines())) for name, text in csv_files(verdict).items()}
    assert set(tables) == {"runs.csv", "differences.csv", "pairs.csv", "classes.csv", "confusions.csv"}
    for row in tables["runs.csv"]:
        standing = verdict.standings[int(row["rank"]) - 1]
        assert row["run"] == standing.run.name
        assert float(row["top1"]) == standing.metrics.top[1]
        assert float(row["ece_low"]) == standing.intervals["ece"].low
    pair = next(row for row in tables["pairs.csv"] if (row["first"], row["second"]) == ("a", "c"))
    assert float(pair["p_holm"]) == verdict.p_values["a", "c"]
    assert float(pair["mean_class"]) == pytest.approx(float(pair["top1"]), abs=1e-9)  # classes of the same size
    assert len(tables["classes.csv"]) == 2 * 4
    assert set(csv_files(judge([three[0], run("x", None)]))) == {"runs.csv", "differences.csv"}
