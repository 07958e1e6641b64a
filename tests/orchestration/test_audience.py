"""Whom a job tells how it goes."""

import pytest

from kinebert.orchestration.audience import NOBODY, Audience, Terminal


def tell(audience: Audience) -> None:
    audience.say("training")
    audience.warn("a worker was lost")
    line = audience.line()
    line.show(lambda: "1/2")
    line.close("2/2")


def test_people_hear_what_is_said_and_are_warned_apart_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Terminal())
    printed = capsys.readouterr()
    assert printed.out == "training\n"
    assert printed.err.splitlines() == ["a worker was lost", "2/2"]  # not 1/2: a log is told every ten seconds


def test_nobody_is_told_nothing_and_no_text_is_made_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    tell(NOBODY)
    NOBODY.line().show(lambda: pytest.fail("a text was made"))
    assert capsys.readouterr() == ("", "")
