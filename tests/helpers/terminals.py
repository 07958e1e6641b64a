"""Terminals: one in memory, one behind a program, and what a reader sees of what was written to them."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]")
_ENDLESS = 100_000


@dataclass
class Screen:
    """What is to be seen; lines wrap at the last column, at once. An unknown code is an error."""

    width: int = _ENDLESS
    rows: list[list[str]] = field(default_factory=lambda: [[]])
    """A cell for each column; the second one of a wide character is empty."""
    num_wraps: int = 0
    _at: int = 0

    def feed(self, text: str) -> None:
        for code in _CODES.findall(text):
            if code == "\r":
                self._at = 0
            elif code == "\n":
                self._next_row()
            elif code == "\x1b[2K":
                self.rows[-1] = []
            elif code.startswith("\x1b"):
                assert code.endswith("m"), f"{code!r} is more than a colour"
            else:
                self._put(code)

    def lines(self) -> list[str]:
        return ["".join(row) for row in self.rows]

    def _put(self, character: str) -> None:
        columns = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        row = self.rows[-1]
        row += [" "] * (self._at - len(row))
        row[self._at : self._at + columns] = [character] + [""] * (columns - 1)
        self._at += columns
        if self._at >= self.width:  # a careful program does not count on a cursor that stays
            self.num_wraps += 1
            self._next_row()

    def _next_row(self) -> None:
        self.rows.append([])
        self._at = 0


class Terminal(io.StringIO):
    """Text that is written to a terminal."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """Return the lines that are to be seen, of a terminal that is wide enough."""
        seen = Screen()
        seen.feed(self.getvalue())
        return seen.lines()


class Session:
    """A program that runs in a terminal.

    Args:
        process: The program; it reads what is typed from a pipe.
        descriptor: Our end of the terminal.
        screen: What is seen of it.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int, screen: Screen) -> None:
        self._process, self._descriptor, self.screen = process, descriptor, screen
        self.written = ""

    def until(self, text: str) -> None:
        """Read until the program has written ``text`` since the last call."""
        begin = len(self.written)
        while text not in self.written[begin:]:
            assert self._read(), f"{text!r} was not written, but {self.written[begin:]!r}"

    def resize(self, width: int) -> None:
        set_width(self._descriptor, width)
        self.screen.width = width

    def type(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def finish(self) -> int:
        """Read to the end; return the exit status."""
        while self._read():
            pass
        return self._process.wait(30)

    def _read(self) -> str:
        try:
            text = os.read(self._descriptor, 1 << 16).decode()
        except OSError:  # Linux, where everybody has let go of the other end
            return ""
        self.screen.feed(text)
        self.written += text
        return text


def set_width(descriptor: int, width: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))


@contextmanager
def in_terminal(arguments: Sequence[str], width: int, **variables: str) -> Iterator[Session]:
    """Run Python with ``arguments`` in a terminal of so many columns."""
    ours, theirs = pty.openpty()
    set_width(theirs, width)
    environment = {**os.environ, "TERM": "xterm-256color", **variables}
    if "COLUMNS" not in variables:
        environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        yield Session(process, ours, Screen(width))
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        assert process.stdin is not None
        process.stdin.close()
