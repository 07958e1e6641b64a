"""Words of users (names of classes, videos, files, runs; what a decoder says of a file) where they leave the program.

Any of them may hold what a terminal, a page, a spreadsheet or a file format takes for a command. There is one function
for each way out: :func:`visible` for terminals, pictures and HTML (whose own signs the templates escape),
:func:`markdown`, :func:`csv_text`, :func:`json_text` and :func:`toml_string`. Text without such signs stays as it is.
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Categories of Unicode that show nothing of themselves: controls of terminals and of the direction of writing, signs
without width, halves of signs, ends of lines."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that look like nothing at all."""
_MARKUP = re.compile(
    r"[\\`*_{}\[\]|~#]|(?<=http):(?=//)|(?<=https):(?=//)|(?<=ftp):(?=//)|(?<=www)\.|[<>&]", re.IGNORECASE
)
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", ":": "&#58;", ".": "&#46;"}
"""Signs that not every reader of Markdown lets a backslash escape."""
_SECRET = re.compile(
    r"(?<=s3://)[^\s/?#@:]+:[^\s?#@]+(?=@)"  # these keys often have slashes
    r"|(?<=://)[^\s/?#@:]*:[^\s/?#@]+(?=@)"
    r"|([?&](?:[\w-]*(?:secret|token|password|access_?key|credential|signature)[\w-]*|sig)=)[^&\s]+",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20].)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?%?|[+-]?(inf|nan)", re.IGNORECASE)


def visible(text: str) -> str:
    r"""Return a text of one line in which every sign can be seen; what cannot is spelt out, as ``\x1b`` or ``\u202e``.

    So it moves no cursor, changes no colour and no direction, ends no line and hides nothing. Passwords in addresses
    are left out: what people see, they show around.
    """
    text = without_passwords(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(one.encode("unicode_escape").decode() if _is_hidden(one) else one for one in text)


def without_passwords(text: str) -> str:
    """Return a text in whose addresses ``***`` stands for names with passwords, and for keys."""
    return _SECRET.sub(lambda found: f"{found[1] or ''}***", text) if "://" in text else text


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, in a cell of a table too: no markup, HTML or link."""
    return _MARKUP.sub(lambda sign: _ENTITIES.get(sign[0], "\\" + sign[0]), visible(" ".join(text.split())))


def csv_text(rows: Iterable[Sequence[object]], line_end: str = "\n") -> str:
    """Return rows as CSV that a spreadsheet computes nothing from.

    Words that it would take for a formula get an apostrophe in front, those after a semicolon too, at which some divide
    cells. Numbers, also those written as words, stay as they are.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end).writerows([_csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def json_text(value: Any, indent: int | None = None, **options: Any) -> str:
    r"""Return a value as JSON in which every sign can be seen: what cannot is written ``\u202e``, and read as it was.

    Args:
        value: What JSON has words for.
        indent: Spaces of each level; None for one line.
        **options: Further ones of :func:`json.dumps`.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, **options)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_json_escape(one) if _is_hidden(one) and one != "\n" else one for one in text)


def toml_string(text: str) -> str:
    r"""Return a text as a string of TOML on one line, in which every sign can be seen.

    A half of a sign, as in a file's name that is not UTF-8, has no place in TOML: it is spelt out for people to see.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(_toml_escape(one) if _is_hidden(one) else one for one in quoted)


def _is_hidden(one: str) -> bool:
    return unicodedata.category(one) in _HIDDEN or one in _BLANK


def _csv_cell(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = "\n".join(map(visible, cell.split("\n")))  # a cell may have lines
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", text)


def _json_escape(one: str) -> str:
    return r"\u007f" if one == "\x7f" else json.dumps(one)[1:-1]


def _toml_escape(one: str) -> str:
    if "\ud800" <= one <= "\udfff":
        return rf"\\u{ord(one):04x}"
    return rf"\u{ord(one):04x}" if ord(one) < 0x10000 else rf"\U{ord(one):08x}"
