"""The text of a list or JSON file: its encoding, its line ends, and what is no text."""

import codecs
import json
import re
from typing import Any

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import explained, read_bytes

MAX_FIELD = 4096
"""Most characters of a name, a path or a number in a list; paths on Linux end there."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"SQLite format 3", "a database"),
    (b"version https://git-lfs", "a pointer of Git LFS in the place of the file"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def read_text(uri: str) -> str:
    r"""Read a list or JSON file; its lines end in ``\n``, however they end in the file.

    It is UTF-8, or UTF-16 or UTF-32 with a byte order mark. UTF-16 without one is known by its zero bytes.

    Raises:
        UserError: If it is missing, is in another encoding or no text, or has control characters; it names the line.
    """
    with explained(uri, "read this file"):
        data = read_bytes(uri)
    for start, what in _OTHERS:
        if data[: len(start)].lower() == start.lower():
            raise UserError(f"{uri}: this is {what}, not a list. Save it as text (CSV, UTF-8).")
    text = _decoded(uri, data).replace("\r\n", "\n").replace("\r", "\n").replace("\n\ufeff", "\n").removesuffix("\x1a")
    wrong = _NO_TEXT.search(text)
    if wrong is not None:
        line = text.count("\n", 0, wrong.start()) + 1
        what = "zero byte (NUL)" if wrong[0] == "\x00" else f"control character {wrong[0]!r}"
        raise UserError(f"{uri}: line {line}: there is a {what} in this list. Save it as text in UTF-8.")
    return text


def read_json(uri: str) -> Any:
    """Read a JSON file as plain values.

    Raises:
        UserError: As :func:`read_text` does, or if it is no JSON.
    """
    try:
        return json.loads(read_text(uri))
    except RecursionError:
        raise UserError(f"{uri}: this is no list: its brackets are nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits is none of json's own errors
        raise UserError(f"{uri}: this is not JSON: {error}.") from None


def numbered_lines(uri: str) -> list[tuple[int, str]]:
    """Read the lines of a list that are not blank, with their numbers from 1 and without blanks around them.

    Raises:
        UserError: As :func:`read_text` does, or if a line is too long to be one of a list.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(uri).split("\n"), start=1)]
    for number, line in lines:
        if len(line) > MAX_FIELD:
            raise UserError(f"{uri}: line {number}: expected a name and a number, got {len(line)} characters.")
    return [(number, line) for number, line in lines if line]


def shown(value: str, most: int = 80) -> str:
    """Return a value as it stands in a message: quoted, and cut where it is long."""
    return repr(value) if len(value) <= most else f"{value[:most]!r}... ({len(value)} characters)"


def _decoded(uri: str, data: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _guessed(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = max(data.count(end, 0, error.start) for end in (b"\n", b"\r")) + 1
        name = "UTF-8" if encoding.startswith("utf-8") else encoding[:6].upper()
        raise UserError(
            f"{uri}: line {line}: this list is not {name} text (byte {error.start}). Save it as UTF-8."
        ) from None


def _guessed(data: bytes) -> str:
    """UTF-16 if a good part of all second bytes are zero, as those of ASCII are, and none of the others."""
    low, high = data[0::2].count(0), data[1::2].count(0)
    few = max(len(data) // 20, 1)
    if high >= few and not low:
        return "utf-16-le"
    return "utf-16-be" if low >= few and not high else "utf-8"
