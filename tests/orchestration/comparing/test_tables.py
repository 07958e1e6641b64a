"""A comparison as tables, in a terminal and in files."""

import csv
import io
from dataclasses import replace

import pytest

from kinebert.orchestration.comparing.runs import Run, choose_evaluations
from kinebert.orchestration.comparing.tables import csv_files, terminal, verdict_of
from kinebert.orchestration.comparing.verdict import Verdict, class_changes, judge
from tests.helpers.compared import MULTI, make_scores, side


def test_the_tables_hold_the_same_numbers(three: list[Run]) -> None:
    verdict = judge(three)
    tables = {name: list(csv.DictReader(text.splitlines())) for name, text in csv_files(verdict).items()}
    assert set(tables) == {"runs.csv", "differences.csv", "pairs.csv", "classes.csv", "confusions.csv"}
    for row in tables["runs.csv"]:
        standing = verdict.standings[int(row["rank"]) - 1]
        assert row["run"] == standing.run.name
        assert float(row["top1"]) == standing.metrics.top[1]
        assert float(row["majority"]) == 0.25  # four classes of the same size
        assert float(row["ece_low"]) == standing.intervals["ece"].low
    pair = next(row for row in tables["pairs.csv"] if (row["first"], row["second"]) == ("a", "c"))
    assert float(pair["p_holm"]) == verdict.p_values["a", "c"]
    assert float(pair["mean_class"]) == pytest.approx(float(pair["top1"]), abs=1e-9)  # classes of the same size
    assert len(tables["classes.csv"]) == 2 * 4
    assert set(csv_files(judge([three[0], side("x", None)]))) == {"runs.csv", "differences.csv"}


def printed(verdict: Verdict) -> list[str]:
    return "\n".join(map(str, terminal(verdict))).splitlines()


def test_what_is_printed_of_two_runs(three: list[Run]) -> None:
    verdict = judge(three[:2])
    lines = printed(verdict)
    assert lines[:4] == [
        "what differs:",
        "        a  b",
        "  seed  0  1",
        "  (0 values of the recipes are the same)",
    ]
    assert lines[5].split()[:8] == ["run,", "best", "first", "videos", "top-1", "95", "%", "majority"]
    assert [line.split()[6] for line in lines[6:8]] == ["25.0", "25.0"]
    assert [line.split()[0] for line in lines[6:8]] == ["b", "a"]
    found, p_value = verdict.pairs["a", "b"], verdict.p_values["a", "b"]
    top1 = found.differences["top1"]
    assert lines[9].startswith(f"b - a: {100 * (top1.second - top1.first):+.1f} points of top-1 (95 %: ")
    assert f"only b is right in {found.only_second}, only a in {found.only_first}: p = {p_value:.2g}" in lines[9]
    assert not any("Holm" in line for line in lines)  # there is one comparison only
    changes = {row.name: row.change for row in class_changes(verdict.baseline, verdict.others[0])}
    most = sorted(changes, key=lambda name: -abs(changes[name]))[:3]
    sure = {row.name: verdict_of(row.p_value) for row in class_changes(verdict.baseline, verdict.others[0])}
    words = ", ".join(f"{name} {100 * changes[name]:+.1f} ({sure[name]})" for name in most)
    assert lines[10] == f"b - a, classes that change most: {words}"


def test_many_runs_have_no_column_each() -> None:
    runs = [side(f"r{i}", make_scores(0.6, seed=i), seed=i % 2, lr=i) for i in range(7)]
    lines = printed(judge(runs))
    assert "  seed: 0 (4), 1 (3)" in lines
    assert "  lr: 7 values" in lines


def test_many_differences_are_cut_and_counted() -> None:
    many = [side(name, make_scores(0.6), **{f"key{i:02d}": f"{name}{i}" for i in range(30)}) for name in "ab"]
    lines = printed(judge(many))
    assert sum(line.startswith("  key") for line in lines) == 24
    assert "  and 6 more, see differences.csv" in lines
    table = list(csv.DictReader(csv_files(judge(many))["differences.csv"].splitlines()))
    assert sum(row["name"].startswith("key") for row in table) == 30


def test_long_values_are_cut_in_their_middle_on_the_terminal_only() -> None:
    places = [f"/data/{'very/' * 20}{name}.parquet" for name in "ab"]
    runs = [side(name, make_scores(0.6), place=place) for name, place in zip("ab", places, strict=True)]
    (line,) = (line for line in printed(judge(runs)) if line.startswith("  place"))
    assert line.count(" … ") == 2
    assert line.endswith("b.parquet")
    assert len(line) < 100
    assert places[0] in csv_files(judge(runs))["differences.csv"]


def test_runs_that_do_not_differ_are_said_not_to() -> None:
    same = [side(name, make_scores(0.6)) for name in "ab"]
    lines = printed(judge(same))
    assert lines[1:3] == ["  nothing that was kept", ""]
    assert not any("classes that change most" in line for line in lines)


def test_names_with_commas_quotes_and_lines_are_one_cell() -> None:
    names = ('a "quoted", name', "two\nlines")
    verdict = judge([side(name, make_scores(0.6 + i / 5, seed=i)) for i, name in enumerate(names)])
    files = csv_files(verdict)
    assert {row["run"] for row in csv.DictReader(io.StringIO(files["runs.csv"]))} == set(names)
    pairs = list(csv.DictReader(io.StringIO(files["pairs.csv"])))
    assert [(row["first"], row["second"]) for row in pairs] == [names]


def test_runs_of_the_same_top1_have_the_same_rank() -> None:
    scores = make_scores(0.8)
    verdict = judge([side("a", scores), side("b", scores), side("c", make_scores(0.5))])
    rows = csv.DictReader(csv_files(verdict)["runs.csv"].splitlines())
    assert [row["rank"] for row in rows] == ["1", "1", "3"]


def test_confusions_add_up_to_the_changes_of_classes(three: list[Run]) -> None:
    verdict = judge(three[:2])
    files = {name: list(csv.DictReader(text.splitlines())) for name, text in csv_files(verdict).items()}
    for row in files["classes.csv"]:
        wrong = [pair for pair in files["confusions.csv"] if pair["class"] == row["class"]]
        change = sum(int(pair["after"]) - int(pair["before"]) for pair in wrong)
        assert change == round(-float(row["change"]) * int(row["videos"]))
    for row in files["pairs.csv"]:
        alone = [int(one["only_after"]) - int(one["only_before"]) for one in files["classes.csv"]]
        assert sum(alone) == int(row["only_second"]) - int(row["only_first"])


@pytest.mark.parametrize(("p_value", "words"), [(0.049, "significant"), (0.05, "not significant")])
def test_the_words_for_a_p_value(p_value: float, words: str) -> None:
    assert verdict_of(p_value) == words


def test_no_name_is_computed_by_a_spreadsheet() -> None:
    evil = "=HYPERLINK(1)", "@SUM(A1)", "+cmd", "\x1b[31m"
    runs = [side(name, make_scores(share, classes=evil)) for name, share in (("-1+1", 0.9), ("=a", 0.5))]
    for text in csv_files(judge(runs)).values():
        assert "\x1b" not in text
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                if cell[:1] in tuple("=+-@"):
                    float(cell)
    assert {row["class"] for row in csv.DictReader(io.StringIO(csv_files(judge(runs))["confusions.csv"]))} <= {
        "'=HYPERLINK(1)",
        "'@SUM(A1)",
        "'+cmd",
        "\\x1b[31m",
    }


def test_tables_say_in_words_what_chance_explains(three: list[Run]) -> None:
    verdict = judge(three)
    for name, text in csv_files(verdict).items():
        if name in ("pairs.csv", "classes.csv", "confusions.csv"):
            rows = list(csv.DictReader(text.splitlines()))
            assert {(float(row["p_holm"]) < 0.05, row["verdict"]) for row in rows} <= {
                (True, "significant"),
                (False, "not significant"),
            }
            assert rows


def test_runs_that_would_be_ranked_by_another_evaluation_are_told_how() -> None:
    val = make_scores(0.7, part="val")
    runs = [side("a", make_scores(0.7)), side("b", make_scores(0.8)), side("c", val)]
    runs[2] = replace(runs[2], tables={"split1-val-multi": val}, evaluation="split1-val-multi")
    lines = printed(judge(runs))
    assert f"--on {MULTI} ranks a and b" in lines
    asked = judge(choose_evaluations(runs, MULTI))
    assert asked.ranked
    assert asked.notes == ["left out, tested in other ways: c has split1-val-multi"]
