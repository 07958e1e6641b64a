"""Whom a job tells how it goes."""

import io
import sys

import pytest

from kinebert.orchestration.audience import NOBODY, Audience, Terminal
from kinebert.orchestration.progress import ProgressLine


def test_nobody_hears_and_a_text_that_nobody_sees_is_not_made(capsys: pytest.CaptureFixture[str]) -> None:
    NOBODY.say("done")
    NOBODY.warn("unusual")
    line = NOBODY.line()
    line.show(lambda: pytest.fail("it is not shown"))
    line.close("done")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_results_on_stdout_and_warnings_and_progress_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal()
    terminal.say("3 videos [bold]done[/bold]")
    terminal.warn("one is odd")
    line = terminal.line()
    assert isinstance(line, ProgressLine)
    line.close("3/3")
    out, err = capsys.readouterr()
    assert out == "3 videos [bold]done[/bold]\n"
    assert err == "one is odd\n3/3\n"


def test_what_is_said_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's log is read while it runs; what waits in a buffer is lost with the process."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(raw)))  # type: ignore[arg-type]
    Terminal().say("begun")
    assert raw.getvalue() == b"begun\n"


def test_one_may_hear_a_part_only() -> None:
    class Listens(Audience):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def say(self, text: str) -> None:
            self.heard.append(text)

    audience = Listens()
    audience.say("one")
    audience.warn("not of interest")
    assert audience.heard == ["one"]
