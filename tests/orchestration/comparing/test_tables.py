"""A comparison as tables, in a terminal and in files."""

import csv

import pytest

from kinebert.orchestration.comparing.runs import Run
from kinebert.orchestration.comparing.tables import csv_files
from kinebert.orchestration.comparing.verdict import judge
from tests.helpers.compared import side


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
    assert set(csv_files(judge([three[0], side("x", None)]))) == {"runs.csv", "differences.csv"}
