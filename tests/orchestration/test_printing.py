"""Tables for people: whole in a log, fitted to a terminal, and text as it was given."""

import io
import subprocess
import sys

import pytest

from kinebert.orchestration.printing import Paragraph, Table, say
from tests.helpers.terminals import Terminal

LONG = "rgb_bert_of_a_long_name/split1-test-multi"
TABLE = Table(
    header=["run", "videos", "95 %"],
    rows=[["rgb", "128", "89.8 to 98.4"], [LONG, "5", "–"]],
)


@pytest.fixture(autouse=True)
def _usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    say(table, stream=stream)
    *lines, last = stream.screen()
    assert last == ""
    return [line.rstrip() for line in lines]


def test_a_log_has_every_character_whatever_is_said_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    say("before", TABLE, "after", stream=stream)
    assert stream.getvalue().splitlines() == [
        "before",
        "run                                        videos          95 %",
        "rgb                                           128  89.8 to 98.4",
        f"{LONG}       5             –",
        "after",
    ]
    assert str(TABLE).splitlines() == TABLE.lines() == stream.getvalue().splitlines()[1:-1]


def test_a_very_long_cell_is_not_cut_in_a_log() -> None:
    cells = ["x" * 5000, "y" * 5000]
    assert str(Table(header=["", ""], rows=[cells])) == "  ".join(cells)


def test_a_wide_terminal_shows_what_a_log_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(TABLE, 120, monkeypatch) == TABLE.lines()


@pytest.mark.parametrize("width", [60, 50, 40, 34])
def test_a_narrower_one_has_long_words_on_several_lines_and_numbers_on_one(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(TABLE, width, monkeypatch)
    assert max(map(len, lines)) <= width
    assert lines[1].split() == ["rgb", "128", "89.8", "to", "98.4"]
    assert lines[2].split()[1:] == ["5", "–"]
    assert "".join(line.split()[0] for line in lines[2:]) == LONG


def test_one_too_narrow_for_the_numbers_gets_the_lines_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(TABLE, 25, monkeypatch) == TABLE.lines()


def test_columns_of_words_and_of_numbers_and_an_indent() -> None:
    table = Table(
        header=["part", "ms", ""], rows=[["read", "1.25", "(slow)"], ["all", "10", ""]], align="lrl", indent=2
    )
    assert table.lines() == [
        "  part    ms",
        "  read  1.25  (slow)",
        "  all     10",
    ]
    assert Table(header=["", ""], rows=[["a", "1"]]).lines() == ["a  1"]
    assert Table(header=["n"], rows=[["5"], ["10"]], align="r").lines() == [" n", " 5", "10"]


def test_names_are_no_markup_and_move_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["[red]stop[/red]", "[/bold]", ":smile:", "http://x.y/12", "\x1b[2Jgone", "two\nlines\ttab", "笑う"]
    table = Table(header=["class [b]"], rows=[[name] for name in names])
    expected = ["class [b]", *names[:4], "\\x1b[2Jgone", "two\\nlines\\ttab", "笑う"]
    assert table.lines() == expected
    assert shown(table, 80, monkeypatch) == expected


def test_wide_characters_take_two_columns() -> None:
    lines = Table(header=["class", "videos"], rows=[["笑う", "1"], ["wave", "2"]]).lines()
    assert lines == ["class  videos", "笑う        1", "wave        2"]


def test_programs_start_without_what_draws_tables() -> None:
    program = (
        "import sys, kinebert.orchestration.printing, kinebert.orchestration.progress; print('rich' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_a_paragraph_is_one_line_in_a_log_and_whole_words_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "a file of a long name: hmdb51_rgb_resneXt3D64f101_FRMB_adamw_split<k>/model_best.pth.tar; \x1b[2J"
    paragraph = Paragraph(text=text, indent=2, hanging=2)
    log, terminal = io.StringIO(), Terminal()
    say(paragraph, stream=log)
    say(paragraph, Paragraph(text=""), stream=terminal)
    plain = text.replace("\x1b", "\\x1b")
    assert log.getvalue() == f"  {plain}\n"
    *lines, empty, _ = terminal.screen()
    assert empty == ""
    assert " ".join(line.strip() for line in lines) == plain
    assert lines[0] == "  a file of a long name:"
    assert all(line.startswith("    ") for line in lines[1:])
