"""What programs print: lines, and tables that are fitted to a terminal, plain text in a log or a pipe.

Everything goes through here. What is printed is text as it is given: no word of it is markup, and what a terminal would
obey is spelt out. ``rich`` is imported when a table is drawn, so that programs start without it.
"""

import sys
from collections.abc import Sequence
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


def say(*parts: str | Table, stream: TextIO | None = None) -> None:
    """Print lines and tables, by default on standard output. A text is one line, whatever a name in it holds."""
    to = stream or sys.stdout
    for part in parts:
        if isinstance(part, Table):
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
