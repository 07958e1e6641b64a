"""What programs print: lines, and tables that are fitted to a terminal, plain text in a log or a pipe.

Everything goes through here. What is printed is text as it is given: no word of it is markup, and what a terminal would
obey is spelt out. ``rich`` is imported when a table is drawn, so that programs start without it.
"""

import os
import shutil
import sys
import textwrap
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

from kinebert.preprocessing.plain_text import json_text, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.padding import Padding

_GAP = 2
_NARROWEST = 8
"""Columns of a terminal that a column of words keeps, if it had as many; the rest goes to lines below."""
_ENDLESS = 100_000
_USUAL_WIDTH = 80
_LOCK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of few rows. As a string it is plain text with nothing cut, whatever is read where it goes to."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str = "l"
    """A letter for each of the first columns: ``l`` are words, ``r`` are numbers, as are the columns after them."""
    indent: int = 0
    """Spaces before every line."""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the header, unless it is empty, and the rows as lines of plain text."""
        stream = StringIO()
        plain_console(stream, width=_ENDLESS, color_system=None, force_terminal=False).print(self._drawn())
        return [line.rstrip() for line in stream.getvalue().splitlines()]

    def show(self, stream: TextIO) -> None:
        """Write the table, with long words on several lines if it is wider than the terminal that ``stream`` is."""
        if not stream.isatty():
            stream.write(f"{self}\n")
            return
        console = plain_console(stream, force_terminal=True)
        if self._narrowest() > console.width:  # numbers are not cut: whoever has so narrow a terminal sees lines wrap
            stream.write(f"{self}\n")
            return
        console.print(self._drawn())

    def _is_number(self, column: int) -> bool:
        return self.align[column : column + 1] != "l"

    def _narrowest(self) -> int:
        from rich.cells import cell_len

        columns = zip(self.header, *self.rows, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]
        kept = [width if self._is_number(i) else min(width, _NARROWEST) for i, width in enumerate(widths)]
        return self.indent + sum(kept) + _GAP * (len(kept) - 1)

    def _drawn(self) -> "Padding":
        from rich.padding import Padding
        from rich.table import Table as Drawn
        from rich.text import Text

        drawn = Drawn(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=any(self.header))
        for i, name in enumerate(self.header):
            is_number = self._is_number(i)
            drawn.add_column(
                Text(visible(name)),
                justify="right" if is_number else "left",
                no_wrap=is_number,
                overflow="fold",
            )
        for row in self.rows:
            drawn.add_row(*(Text(visible(cell)) for cell in row))
        return Padding(drawn, (0, 0, 0, self.indent), expand=False)


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A long text. As a string it is one line of plain text, whatever is read where it goes to."""

    text: str
    indent: int = 0
    """Spaces before every line."""
    hanging: int = 0
    """Spaces more before every line after the first."""

    def __str__(self) -> str:
        return f"{' ' * self.indent}{visible(self.text)}"

    def show(self, stream: TextIO) -> None:
        """Write it, on several lines if it is wider than the terminal that ``stream`` is."""
        lines = [str(self)]
        if stream.isatty():
            first, later = " " * self.indent, " " * (self.indent + self.hanging)
            lines = textwrap.wrap(
                visible(self.text),
                max(len(later) + _NARROWEST, shutil.get_terminal_size().columns),
                initial_indent=first,
                subsequent_indent=later,
                break_on_hyphens=False,
                break_long_words=False,  # names are to be copied
            )
        stream.write("".join(f"{line}\n" for line in lines or [""]))


def say(*parts: str | Table | Paragraph, stream: TextIO | None = None) -> None:
    """Print lines, tables and paragraphs, by default on standard output.

    A text is one line, whatever a name in it holds.
    """
    to = stream or sys.stdout
    for part in parts:
        if isinstance(part, Table | Paragraph):
            part.show(to)
        else:
            to.write(f"{visible(part)}\n")
    to.flush()


def warn(text: str) -> None:
    """Print a line on standard error."""
    say(text, stream=sys.stderr)


def say_json(value: Any, indent: int = 1) -> None:
    """Print a value as JSON for programs; whatever shows it obeys nothing in it."""
    sys.stdout.write(f"{json_text(value, indent=indent)}\n")
    sys.stdout.flush()


def plain_console(stream: TextIO, **options: Any) -> "Console":
    """Return a console that takes words as they are: no markup, no emoji names, no colours for numbers."""
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False, **options)


class MovingText:
    """Text in the last line of a terminal, which other text takes the place of.

    From the first :meth:`draw` to :meth:`close` whatever this process writes to ``sys.stdout`` and ``sys.stderr`` (a
    sentence, a warning of a library, a traceback) first wipes it off, so that nothing is glued to it and nothing of it
    stays. What is drawn is cut to the width that the terminal has then, less one column: a cursor behind the last
    column is on the next line for some terminals, and a line that was left cannot be written over.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.RLock()
        self._shown = self._mid_line = False
        self._guards: dict[str, _Guard] = {}

    def draw(self, text: str) -> None:
        """Put so much of a text as fits in place of what was drawn before."""
        from rich.cells import cell_len, set_cell_size

        room = max(1, terminal_width(self._stream) - 1)
        if cell_len(text) > room:
            text = set_cell_size(text, room - 1).rstrip() + "…"
        with self._alone():
            self._watch()
            begin = "\n" if self._mid_line else "\r\x1b[2K"
            self._stream.write(f"{begin}{text}")
            self._stream.flush()
            self._shown, self._mid_line = True, False

    def clear(self) -> None:
        """Wipe it off, if it is there."""
        with self._alone():
            if self._shown:
                self._shown = False
                self._stream.write("\r\x1b[2K")
                self._stream.flush()

    def close(self) -> None:
        """Wipe it off, and let go of what others write."""
        self.clear()
        for name, guard in self._guards.items():
            if getattr(sys, name) is guard:
                setattr(sys, name, guard.stream)
        self._guards = {}

    def pass_on(self, stream: TextIO, text: str) -> int:
        """Write what is said by others, in a place of its own."""
        with self._alone():
            self.clear()
            written = stream.write(text)
            stream.flush()  # or it would come after what is drawn next
            self._mid_line = not text.endswith(("\n", "\r")) if text else self._mid_line
        return written

    def _watch(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if name not in self._guards and stream is not None and stream.isatty():
                self._guards[name] = _Guard(stream, self)
                setattr(sys, name, self._guards[name])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out; but a process that was forked while one of them was in waits for nobody."""
        held = self._lock.acquire(timeout=_LOCK_S)
        try:
            yield
        finally:
            if held:
                self._lock.release()


class _Guard:
    """A stream whose every text goes through a :class:`MovingText`."""

    def __init__(self, stream: Any, moving: MovingText) -> None:
        self.stream, self._moving = stream, moving

    def write(self, text: str) -> int:
        return self._moving.pass_on(self.stream, text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def terminal_width(stream: TextIO) -> int:
    """Return how many columns the terminal behind ``stream`` has now: what it says, or COLUMNS if that is less."""
    found = []
    with suppress(OSError, ValueError, AttributeError):  # no terminal, closed, or no file at all
        found.append(os.get_terminal_size(stream.fileno()).columns)
    with suppress(ValueError):
        found.append(int(os.environ.get("COLUMNS", "")))
    return min((width for width in found if width > 0), default=_USUAL_WIDTH)
