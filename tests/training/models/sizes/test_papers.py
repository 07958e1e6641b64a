"""The papers' tables: every printed size is ours, or why it is not is said; the pages are what the commands write."""

from dataclasses import replace

import pytest

from kinebert.training.models.sizes.papers import TABLES, Row, Table, printed
from kinebert.training.models.sizes.papers.page import sizes_page
from tests.helpers.paths import ROOT

ROWS = [
    pytest.param(row, id=f"{table.source}, {row.name}")
    for table in TABLES
    for row in table.rows
    if row.parameters or row.operations
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_a_table_is_the_papers_or_its_cause_is_named(row: Row) -> None:
    ours = replace(row, cut=False, parameters_besides=0, operations_sum=(), parameters_sum=())
    assert ours.is_explained() or row.cause
    assert row.is_explained() != row.unexplained


def test_what_is_not_explained_says_so() -> None:
    rows = [row for table in TABLES for row in table.rows if row.unexplained]
    assert rows
    assert all(row.cause.startswith("not explained") for row in rows)


def test_rows_of_a_table_have_names_of_their_own() -> None:
    for table in TABLES:
        names = [row.name for row in table.rows]
        assert len({*names}) == len(names), table
    assert len({table.source for table in TABLES}) == len(TABLES)


def test_a_row_has_an_accuracy_for_every_column() -> None:
    with pytest.raises(ValueError, match=r"1 accuracies for 2 columns"):
        Table(source="x", title="y", accuracies=("top-1", "top-3"), rows=(Row(name="z", accuracies=("1",)),))


def test_figures_are_rounded_or_cut_as_printed() -> None:
    assert printed(12_646_003, 6, "12.64") == "12.65"
    assert printed(12_646_003, 6, "12.64", cut=True) == "12.64"
    assert printed(15_405_000, 6, "15.4") == "15.4"
    assert printed(44_300_787, 6, "44.30") == "44.30"


def test_the_page_of_sizes_is_what_the_command_writes() -> None:
    page = (ROOT / "docs" / "sizes.md").read_text()
    assert page == sizes_page(), "make it again: kinebert describe --paper-tables docs/sizes.md"
