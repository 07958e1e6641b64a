"""Whom a job tells how it goes: nobody, or the people at a terminal."""

from collections.abc import Callable
from typing import Protocol

from kinebert.orchestration import printing
from kinebert.orchestration.progress import ProgressLine


class Line(Protocol):
    """A line of text that keeps changing while work goes on."""

    def show(self, text: Callable[[], str]) -> None:
        """Show ``text()`` if it is time to."""

    def close(self, text: str) -> None:
        """Show the last state, and end the line."""


class Audience:
    """Hears nothing. Who wants to hear a job overrides what is of interest."""

    def say(self, text: str) -> None:
        """Hear a sentence about what is done."""

    def warn(self, text: str) -> None:
        """Hear a sentence about what is unusual, and does not end the job."""

    def line(self) -> Line:
        """Return where the progress of one piece of work is shown."""
        return _Unseen()


class Terminal(Audience):
    """Prints what is said, warns on stderr, and shows progress there."""

    def say(self, text: str) -> None:
        """Print a sentence."""
        printing.say(text)

    def warn(self, text: str) -> None:
        """Print a sentence to stderr."""
        printing.warn(text)

    def line(self) -> Line:
        """Return a line that moves in a terminal, and is repeated now and then in a log."""
        return ProgressLine()


class _Unseen:
    def show(self, text: Callable[[], str]) -> None:
        pass

    def close(self, text: str) -> None:
        pass


NOBODY = Audience()
