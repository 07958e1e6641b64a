"""Progress in a terminal and in the log of a job, with a clock that the test turns."""

import io

import pytest

from kinebert.orchestration.progress import ProgressLine, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
    clock.now += 0.1
    line.show(lambda: pytest.fail("nobody can read that fast"))
    clock.now += 0.2
    line.show(lambda: "short")
    line.close("done")
    assert stream.getvalue() == "\ra long text\rshort      \rdone \n"


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
