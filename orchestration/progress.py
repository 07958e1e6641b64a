"""Progress for people: one line that moves in a terminal, one line now and then in the log of a job."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

LOG_INTERVAL_S = 10.0
_TERMINAL_INTERVAL_S = 0.2


class ProgressLine:
    """Shows a line of text that keeps changing, as often as the reader can use it. Writes to ``stream``."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._terminal = self._stream.isatty()
        self._last = -float("inf") if self._terminal else clock()
        self._width = 0

    def show(self, text: Callable[[], str]) -> None:
        """Show ``text()`` if it is time to."""
        now = self._clock()
        if now - self._last < (_TERMINAL_INTERVAL_S if self._terminal else LOG_INTERVAL_S):
            return
        self._last = now
        self._write(text())

    def close(self, text: str) -> None:
        """Show the last state, whatever the time, and end the line."""
        self._write(text)
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def _write(self, text: str) -> None:
        if self._terminal:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """``75`` to ``1 min 15 s``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
