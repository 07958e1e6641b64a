"""Progress in a terminal and in the log of a job, with a clock that the test turns."""

import io
import os
import pty
import sys

import pytest
from rich.cells import cell_len

from kinebert.orchestration.printing import terminal_width
from kinebert.orchestration.progress import Counted, ProgressLine, duration, time_left
from tests.helpers.terminals import Terminal, in_terminal, set_width


@pytest.fixture(autouse=True)
def _usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_every_ten_seconds_and_the_last_one() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock)
    for second in range(26):
        clock.now = 100.0 + second
        line.show(lambda second=second: f"{second} s")  # type: ignore[misc]
    line.close("done")
    assert stream.getvalue() == "10 s\n20 s\ndone\n"


def test_a_terminal_gets_one_line_that_moves_and_leaves_no_tail() -> None:
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream, clock)
    line.show(lambda: "a long text")
    assert stream.screen() == ["a long text"]
    clock.now += 0.1
    line.show(lambda: pytest.fail("nobody can read that fast"))
    clock.now += 0.2
    line.show(lambda: "short")
    assert stream.screen() == ["short"]
    line.close("done")
    assert stream.screen() == ["done", ""]


def test_a_line_never_fills_the_terminals_last_column_but_for_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    line = ProgressLine(stream, Clock())
    text = "[bold]of :smile: the videos of 12 shards[/bold]"
    line.show(lambda: text)
    assert stream.screen() == [text[:18] + "…"]
    line.close(text)
    assert stream.screen() == [text, ""]


def test_a_terminal_that_cannot_move_its_cursor_is_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream, clock)
    line.show(lambda: pytest.fail("it is too early for a log"))
    clock.now += 10
    line.show(lambda: "10 s")
    line.close("done")
    assert stream.getvalue() == "10 s\ndone\n"


def test_a_forced_colour_reaches_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    ProgressLine(stream, Clock()).close("12/12 videos")
    assert stream.getvalue() == "12/12 videos\n"


DONE = "\x1b[7m"
WORK = """
import logging, sys, warnings
from kinebert.orchestration.printing import Table, say, warn
from kinebert.orchestration.printing import terminal_width
from kinebert.orchestration.progress import ProgressLine

warnings.formatwarning = lambda message, *_: f"{message}\\n"
OTHERS = {
    "say": lambda: say("said", Table(header=["a", "b"], rows=[["1", "2"]])),
    "warn": lambda: warn("warned"),
    "library": lambda: warnings.warn("of a library"),
    "log": lambda: logging.getLogger("ray").warning("logged"),
    "begin": lambda: print("a line in", end=""),
    "end": lambda: print(" two parts"),
    "half": lambda: print("a line without an end", end=""),
    "none": lambda: None,
}
now = 0
line = ProgressLine(clock=lambda: now)
for word in sys.stdin:
    now += 1
    line.show(lambda: f"epoch {now}/9 笑う" + "笑う" * 40)
    if word.strip() == "end of it":
        line.close("done")
    elif word.strip() == "break":
        raise RuntimeError("broken")
    else:
        OTHERS[word.strip()]()
    sys.__stdout__.write("\\x1b[7m")  # shows nothing, wipes nothing off, and tells the test that it is done
    sys.__stdout__.flush()
"""


@pytest.mark.parametrize("width", [80, 120])
def test_whatever_else_is_printed_takes_the_lines_place_and_nothing_of_it_stays(width: int) -> None:
    with in_terminal(["-c", WORK], width) as session:
        for word in ("none", "say", "warn", "none", "library", "log", "begin", "end", "half", "none"):
            session.type(word)
            session.until(DONE)
        *before, moving = session.screen.lines()
        assert moving.startswith("epoch 10/9 笑う")
        assert cell_len(moving) in (width - 1, width - 2), "as much as fits; half of a wide character does not"
        assert session.screen.num_wraps == 0
        assert [text.rstrip() for text in before] == [
            *("said", "a  b", "1  2", "warned", "of a library", "logged"),
            *("a line in", " two parts", "a line without an end"),
        ]
        session.type("break")
        session.type("none")
        assert session.finish() == 1
        told = "\n".join(session.screen.lines())
        assert "epoch" not in told.replace("epoch {now}", "")
        assert told.endswith("RuntimeError: broken\n")


def test_a_terminal_that_becomes_narrow_while_work_goes_on_is_asked_again() -> None:
    with in_terminal(["-c", WORK], 120) as session:
        for width in (120, 30, 70):
            session.resize(width)
            session.type("none")
            session.until(DONE)
            assert cell_len(session.screen.lines()[-1]) in (width - 1, width - 2)
        session.type("end of it")
        session.until(DONE)
        assert session.screen.lines() == ["done", ""]
        assert session.screen.num_wraps == 0


@pytest.mark.parametrize(("said", "width"), [("", 60), ("20", 20), ("200", 60), ("0", 60), ("-5", 60), ("wide", 60)])
def test_a_variable_of_the_shell_can_make_it_narrower_but_not_wider_than_it_is(
    said: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", said)
    ours, theirs = pty.openpty()
    set_width(theirs, 60)
    with open(theirs, "w") as stream:
        assert terminal_width(stream) == width
    os.close(ours)


def test_a_terminal_that_does_not_know_its_width_is_taken_for_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    assert terminal_width(Terminal()) == 80


def test_streams_are_given_back_when_a_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    line = ProgressLine(clock=Clock())
    line.show(lambda: "half")
    print("a result")
    assert (out.getvalue(), err.screen()) == ("a result\n", [""])
    line.close("done")
    assert sys.stdout is out
    assert sys.stderr is err


def test_what_goes_to_a_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    ProgressLine(clock=Clock()).show(lambda: "half")
    print("a result")
    assert out.getvalue() == "a result\n"
    assert err.screen() == ["half"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (75, "1 min 15 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations_are_rounded_to_what_matters(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counted_work_is_as_fast_as_it_was_since_the_first_count() -> None:
    """Of 100 views 40 were scored earlier."""
    clock = Clock()
    counted = Counted("views", clock)
    assert counted(40, 100)() == "40/100 views, unknown left"
    clock.now += 10
    assert counted(60, 100)() == "60/100 views, 20 s left"
    clock.now += 30
    assert counted(60, 100)() == "60/100 views, 1 min 20 s left", "20 in 40 s"
    assert counted(100, 100)() == "100/100 views, 0 s left"


@pytest.mark.parametrize(
    ("elapsed_s", "done", "rest", "waited_s", "said"),
    [
        (10, 0, 5, 0, "unknown"),
        (10, 5, 5, 0, "10 s"),
        (10, 5, 5, 9, "10 s"),
        (60, 50, 5, 30, "unknown"),  # the last one takes longer than it should
        (60, 1e12, 5, 0, "unknown"),  # and never "0 s left" while there is something left
        (60, 5, 0, 30, "0 s"),
    ],
)
def test_time_left_is_not_claimed_where_nobody_knows(
    elapsed_s: float, done: float, rest: float, waited_s: float, said: str
) -> None:
    assert time_left(elapsed_s, done, rest, waited_s) == said
