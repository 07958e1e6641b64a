"""Labels as lists write them: numbers of classes or names, and what is no label."""

import re
from collections.abc import Sequence
from decimal import Decimal

from kinebert.preprocessing.datasets.list_table import Row
from kinebert.preprocessing.datasets.list_text import shown
from kinebert.preprocessing.datasets.listing import alphabetical
from kinebert.preprocessing.datasets.manifest import check_numbers
from kinebert.preprocessing.errors import UserError

MAX_LABEL = 2**31 - 1
"""Largest class index; manifests and sets store them in 32 bits."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_UNKNOWN = frozenset({"", "nan", "<na>"})
"""What pandas writes where it has no value."""
_UNKNOWN_NUMBERS = _UNKNOWN | {"none", "null", "na", "n/a"}
"""The same among numbers; among names these could be classes."""


def class_index(text: str) -> int | None:
    """Return a class index, 0 to 2147483647, or -1 for no class; None for anything else. ``3.0`` and ``3e0`` are 3."""
    if not _NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    if value.adjusted() > 10 or value != value.to_integral_value() or not -1 <= value <= MAX_LABEL:
        return None
    return int(value)


def is_known(name: str) -> bool:
    """Whether a cell names a class: it is not empty, nor what pandas writes for that."""
    return name.casefold() not in _UNKNOWN


def read_labels(rows: Sequence[Row]) -> tuple[dict[str, int], list[str]]:
    """Return class indices by name, and the class name of each row (empty where it has none).

    Labels that are numbers are class indices, and ``label_name`` their names; else classes are numbered by name.

    Raises:
        UserError: If labels are neither all numbers nor all names, a number is no class index, or a class has two
            names or numbers. It names file and line.
    """
    numbers = [row for row in rows if _NUMBER.fullmatch(row.get("label"))]
    if not numbers:
        names = [_name(row) for row in rows]
        return alphabetical(names), names
    word = next((row for row in rows if not _is_numeric(row.get("label"))), None)
    if word is not None:
        raise UserError(
            f"{word.where}: label {shown(word.get('label'))} is a name, but {shown(numbers[0].get('label'))} "
            f"({numbers[0].where.rpartition('/')[2]}) is a number. Use one or the other; the column label_name takes "
            "the names of numbers."
        )
    return _numbered(rows)


def _is_numeric(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None or text.casefold() in _UNKNOWN_NUMBERS


def _name(row: Row) -> str:
    return next((name for name in (row.get("label_name"), row.get("label")) if is_known(name)), "")


def _numbered(rows: Sequence[Row]) -> tuple[dict[str, int], list[str]]:
    labels: dict[str, int] = {}
    names: dict[int, str] = {}
    listed = []
    for row in rows:
        text = row.get("label")
        label = class_index(text) if _NUMBER.fullmatch(text) else -1
        name = row.get("label_name") if is_known(row.get("label_name")) else ""
        if label is None or (label == -1 and name):
            of = f" of {shown(name)}" if name else ""
            raise UserError(f"{row.where}: label {shown(text)}{of}; expected a number from 0 to {MAX_LABEL}, or -1.")
        name = name or ("" if label == -1 else str(label))
        if name and (labels.setdefault(name, label), names.setdefault(label, name)) != (label, name):
            other = shown(names.get(label, name))
            raise UserError(
                f"{row.where}: label {label} is {shown(name)} here, elsewhere {other} is {label} and {shown(name)} is "
                f"{labels[name]}."
            )
        listed.append(name)
    try:
        check_numbers(names)
    except UserError as error:
        largest = next(row for row in rows if class_index(row.get("label")) == max(names))
        raise UserError(f"{largest.where}: {error}") from None
    return labels, listed
