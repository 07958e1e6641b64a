"""Progress in a terminal and in the log of a job, with a clock that the test turns."""

import io

import pytest

from kinebert.orchestration.progress import ProgressLine, duration, time_left
from tests.helpers.terminals import Terminal


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


def test_a_line_is_never_wider_than_the_terminal_but_for_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    line = ProgressLine(stream, Clock())
    text = "[bold]of :smile: the videos of 12 shards[/bold]"
    line.show(lambda: text)
    assert stream.screen() == [text[:19] + "…"]
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
