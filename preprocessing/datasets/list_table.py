"""Tables in text: their delimiter, their header or none, their comments, and the line that each row stands in."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kinebert.preprocessing.datasets.list_text import MAX_FIELD, read_text, shown
from kinebert.preprocessing.datasets.listing import Finding
from kinebert.preprocessing.datasets.manifest import is_plain
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import name_of

_DELIMITERS = ",;\t|"
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
COMMENT = "comment line, left out"
_SHORT = "line with fewer fields than the header"

Numbered = tuple[int, list[str]]
"""A line's number, from 1, and its fields."""


@dataclass(frozen=True)
class Row:
    """One line of a list."""

    uri: str
    line: int
    cells: Mapping[str, str]
    """By column; empty where the line ends before it."""

    @property
    def where(self) -> str:
        """Where it stands, as messages begin."""
        return f"{self.uri}: line {self.line}"

    def get(self, column: str) -> str:
        """Return the cell of a column, or an empty text."""
        return self.cells.get(column, "")


@dataclass(frozen=True)
class Table:
    """A list as a table."""

    uri: str
    columns: tuple[str, ...]
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)


def column_name(text: str) -> str:
    """Return a column's name as readers know it: in small letters, with ``_`` between words."""
    return re.sub(r"[\s_-]+", "_", text.strip().casefold())


def read_table(
    uri: str,
    known: Sequence[str],
    is_header: Callable[[set[str]], bool],
    name_columns: Callable[[str, Sequence[tuple[int, str]]], tuple[Sequence[str], list[Numbered]]],
    is_row: Callable[[Mapping[str, str]], bool] = lambda _: False,
) -> Table:
    """Read a table with or without a header, with commas, semicolons, tabs, bars or blanks between its fields.

    Args:
        uri: The file.
        known: Columns of a meaning; their names may have capitals, and blanks between words. Others stay as they are.
        is_header: Whether these columns are those of a header.
        name_columns: Gives columns and fields to a list without a header, from its location and numbered lines.
        is_row: Whether the cells of a line that begins with ``#`` are a row all the same; else it is a comment.

    Raises:
        UserError: If a line cannot be understood; it names file and line.
    """
    lines = read_text(uri).split("\n")
    given = next((i for i, line in enumerate(lines) if line.strip()), 0)
    match = _SEP.fullmatch(lines[given].strip("\n\r "))
    if match:
        lines[given] = ""
    top = _find_header(lines, match[1] if match else _DELIMITERS, lambda names: is_header(set(_named(names, known))))
    if top is None:
        numbered = [(i, line.strip()) for i, line in enumerate(lines, start=1) if line.strip()]
        comments = [i for i, line in numbered if line.startswith("#")]
        names, fields = name_columns(uri, [(i, line) for i, line in numbered if not line.startswith("#")])
        findings = [Finding("list without a header, taken as " + ", ".join(names), name_of(uri))]
    else:
        first, delimiter, header = top
        names = _named(header, known)
        lines[: first + 1] = [""] * (first + 1)
        comments = [i for i, line in enumerate(lines, start=1) if line.startswith("#")]
        cells = {i: dict(zip(names, _fields(lines[i - 1], delimiter, names), strict=False)) for i in comments}
        comments = [i for i in comments if not is_row(cells[i])]
        for i in comments:
            lines[i - 1] = ""
        fields = list(_rows(uri, lines, delimiter, names))
        findings = []
    _check_columns(uri, names)
    findings += [Finding(COMMENT, f"{name_of(uri)} line {i}") for i in comments]
    findings += [Finding(_SHORT, f"{name_of(uri)} line {i}") for i, cells in fields if len(cells) < _width(names)]
    return Table(uri, tuple(names), [_row(uri, i, names, cells, known) for i, cells in fields], findings)


def split_line(where: str, line: str, delimiter: str) -> list[str]:
    """Divide one line, whose fields may be quoted.

    Raises:
        UserError: If that cannot be done; it begins with ``where``.
    """
    try:
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise UserError(f"{where}: this line cannot be divided into fields: {error}.") from None
    return [field.strip() for field in fields]


def _named(header: Sequence[str], known: Sequence[str]) -> list[str]:
    return [plain if (plain := column_name(name)) in known else name.strip() for name in header]


def _find_header(
    lines: Sequence[str], delimiters: str, is_header: Callable[[Sequence[str]], bool]
) -> tuple[int, str, list[str]] | None:
    """Index of the header's line, its delimiter (a blank: any blanks), and its fields; it may begin with ``#``."""
    for i, line in enumerate(lines):
        if line.strip():
            for delimiter in [*delimiters, " "]:
                header = _fields(line.lstrip("#"), delimiter)
                if is_header(header):
                    return i, delimiter, header
            if not line.startswith("#"):
                return None
    return None


def _fields(line: str, delimiter: str, names: Sequence[str] = ()) -> list[str]:
    """Fields of one line, however wrong; a path in the first column can have blanks where they divide."""
    if delimiter == " ":
        return line.rsplit(None, len(names) - 1) if "path" in names[:1] else line.split()
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []


def _rows(uri: str, lines: Sequence[str], delimiter: str, names: Sequence[str]) -> Iterator[Numbered]:
    if delimiter == " ":
        yield from ((i, _fields(line, " ", names)) for i, line in enumerate(lines, start=1) if line.strip())
        return
    # what follows a quoted field, or lacks the quote at its end, is an error: the rest of the list would be one field
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    last = 0
    try:
        for fields in reader:
            cells = [cell.strip() for cell in fields]
            if any(cells):
                yield last + 1, cells
            last = reader.line_num
    except csv.Error as error:
        raise UserError(f"{uri}: line {last + 1}: this line cannot be divided into fields: {error}.") from None


def _width(names: Sequence[str]) -> int:
    """Columns up to the last one with a name; delimiters may end a header."""
    return max((i for i, name in enumerate(names, start=1) if name), default=0)


def _check_columns(uri: str, names: Sequence[str]) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{uri}: two columns are called {twice!r}. Rename or remove one of them.")
    long = next((name for name in names if len(name) > MAX_FIELD or not is_plain(name)), None)
    if long is not None:
        raise UserError(f"{uri}: a column is called {shown(long)}; expected a short name on one line.")


def _row(uri: str, line: int, names: Sequence[str], fields: Sequence[str], known: Sequence[str]) -> Row:
    if any(fields[len(names) :]):
        raise UserError(
            f"{uri}: line {line}: {len(fields)} fields, but {len(names)} columns. A field that holds the delimiter "
            'needs quotes: "a, b.mp4".'
        )
    cells = dict(zip(names, [*fields, *[""] * (len(names) - len(fields))], strict=False))
    for name in known:
        cell = cells.get(name, "")
        if len(cell) > MAX_FIELD or not is_plain(cell):
            raise UserError(
                f"{uri}: line {line}: the column {name} holds {shown(cell)}; expected a short text on one line."
            )
    return Row(uri, line, cells)
