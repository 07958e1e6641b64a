"""Files of JSON that this program reads back: a dataclass each, by which they are written and, on opening, checked.

A file may have been edited, cut, damaged, or written by an earlier or later version. What is missing or of a wrong type
is refused by name. Keys that are not known are let be: later versions may add some, and one that is misspelt is missed
under its right name.
"""

import dataclasses
import json
import math
from typing import Any, TypeVar, cast

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.values import check_depth, typed
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.plain_text import json_text

T = TypeVar("T")
MOST_DEPTH = 40
"""Levels of nested values in a file that is read back; what this program writes has a quarter of them."""


def read_document(cls: type[T], uri: str, what: str, remedy: str, *, nan: bool = False) -> T:
    """Read a file of JSON as a ``cls``.

    Args:
        cls: A dataclass, or any type that :func:`.typed` knows, such as ``list[str]``.
        uri: The file.
        what: What it should be, for the error: ``the record of a trial``.
        remedy: A sentence: the way out if it is not.
        nan: Take nan and infinity, for which JSON has no words, where a number may be.

    Raises:
        ConfigError: If it is damaged, or says something else than a ``cls``.
        OSError: If it cannot be read.
    """
    return parse_document(cls, storage.read_bytes(uri), uri, what, remedy, nan=nan)


def parse_document(cls: type[T], data: bytes | str, where: str, what: str, remedy: str, *, nan: bool = False) -> T:
    """Return JSON as a ``cls``; see :func:`read_document`, which also says what is raised. ``where`` names the file."""
    return as_document(cls, parse_json(data, where, what, remedy, nan=nan), where, what, remedy)


def as_document(cls: type[T], plain: Any, where: str, what: str, remedy: str) -> T:
    """Return plain values that :func:`parse_json` has given as a ``cls``.

    Raises:
        ConfigError: If they say something else.
    """
    try:
        return cast(T, typed(cls, plain, ""))
    except ConfigError as error:
        raise refused(where, what, remedy, str(error)) from None


def parse_json(data: bytes | str, where: str, what: str, remedy: str, *, nan: bool = False) -> Any:
    """Return the plain values of JSON, of moderate depth, without keys that occur twice.

    Raises:
        ConfigError: If it is something else; ``where``, ``what`` and ``remedy`` are in it.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        if nan:
            plain = json.loads(text, object_pairs_hook=_without_twins)
        else:
            plain = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number, parse_float=_finite)
        check_depth(plain, MOST_DEPTH)
    except RecursionError:
        raise refused(where, what, remedy, "it is nested too deeply.") from None
    except UnicodeDecodeError:
        raise refused(where, what, remedy, "it is no text in UTF-8.") from None
    except ValueError as error:
        raise refused(where, what, remedy, f"{str(error) if data.strip() else 'it is empty'}.") from None
    return plain


def refused(where: str, what: str, remedy: str, reason: str) -> ConfigError:
    """Return the error for a file that is not what it should be, in one line; ``reason`` is a sentence."""
    return ConfigError(f"{where}: not {what}. {remedy} Reason: {reason}")


def document_text(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Return a dataclass, or plain values, as JSON that :func:`parse_document` reads."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    return json_text(plain, indent=indent, sort_keys=sort_keys)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value
