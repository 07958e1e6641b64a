"""Words by which lists, columns and folders name the parts of a split."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from kinebert.preprocessing.datasets.labels import class_index
from kinebert.preprocessing.datasets.list_table import Row, Table, column_name
from kinebert.preprocessing.datasets.listing import Finding
from kinebert.preprocessing.datasets.manifest import PARTS, name_some
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import name_of

PART_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "holdout_test": "test",
}
"""Part by the words that stand for it, in small letters."""
PART_WORDS_SAID = f"{', '.join(PARTS)} ({', '.join(word for word in PART_WORDS if word not in PARTS)})"
"""The same for messages."""
_NO_PART = frozenset({"", "nan", "<na>", "none", "unused"})
_OF_PARTS = re.compile(r"(split|fold|part|partition|subset|set)s?([\W_\d].*)?", re.IGNORECASE)
"""Names of columns that are there to tell parts."""
_ENDINGS = re.compile(r"(list|lists|set|split|videos|files)$")


def part_of(word: str) -> str | None:
    """Return the part that a word stands for, in capitals or not; empty if it says that a split leaves the video out.

    None for a word that is neither.
    """
    plain = word.strip().casefold()
    return "" if plain in _NO_PART else PART_WORDS.get(plain)


def part_of_folder(name: str) -> str | None:
    """Return the part that a folder is called like, or None."""
    return part_of(name) or None


def part_of_name(name: str) -> str | None:
    """Return the part that a list's name tells, as ``kinetics_val.csv`` does; None where it tells none or several."""
    words = re.findall(r"[^\W\d_]+", PurePosixPath(name).stem.casefold())
    parts = {PART_WORDS.get(word) or PART_WORDS.get(_ENDINGS.sub("", word)) for word in words} - {None}
    return parts.pop() if len(parts) == 1 else None


def split_columns(tables: Sequence[Table], known: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return names of splits by column, and the columns that have no use.

    Raises:
        UserError: If a column tells parts and has a word that is none, or some lists tell parts and others do not.
    """
    columns = dict.fromkeys(name for table in tables for name in table.columns if name not in known)
    splits, unused = {}, []
    for column in columns:
        with_it = [table for table in tables if column in table.columns]
        rows = [row for table in with_it for row in table.rows]
        if not any(row.get(column) for row in rows):
            if rows and column_name(column).startswith("split"):  # a split made at random would take its name
                raise UserError(
                    f"{rows[0].where}: the column {column} is empty, here and in all other lines. Fill it with "
                    f"{', '.join(PARTS)}, or remove it."
                )
            continue
        if _tells_parts(column, rows):
            splits[column] = "split1" if column_name(column) == "split" else column
            without = next((table.uri for table in tables if column not in table.columns), None)
            if without is not None:
                raise UserError(
                    f"{without}: the column {column!r} of {name_of(with_it[0].uri)} is lacking here, and so the parts "
                    "of these videos. Add it (an empty word: the split does not use the video)."
                )
        else:
            unused.append(column)
    if len({column_name(name) for name in splits.values()}) != len(splits):
        raise UserError(
            f"{tables[0].uri}: the columns {name_some(splits)} would have one name. Rename or remove one of them."
        )
    return splits, unused


def unused_columns(tables: Sequence[Table], unused: Sequence[str]) -> list[Finding]:
    """Return a finding for each list that has columns without a use, which names them."""
    findings = []
    for table in tables:
        names = [name or "one without a name" for name in table.columns if name in unused]
        if names:
            findings.append(Finding(f"columns that are not used ({', '.join(names)})", name_of(table.uri)))
    return findings


def _tells_parts(column: str, rows: Sequence[Row]) -> bool:
    """Whether a column is a split: it says parts. One of numbers only is none, unless it is called split."""
    parts = [part_of(row.get(column)) for row in rows]
    wrong = [row for row, part in zip(rows, parts, strict=True) if part is None]
    if not wrong:
        return any(parts)
    named = _OF_PARTS.fullmatch(column) is not None
    numbers = all(class_index(row.get(column)) is not None for row in wrong)
    if not any(parts) and (not named or (numbers and not column_name(column).startswith("split"))):
        return False
    words = name_some(dict.fromkeys(row.get(column)[:80] for row in wrong))
    raise UserError(
        f"{wrong[0].where}: unknown words in the column {column}: {words}; use {PART_WORDS_SAID}, "
        "or nothing for a video that the split leaves out. If it is no split, rename or remove the column."
    )


def parts_by_name(paths: Sequence[str]) -> dict[str, str]:
    """Return the part of each list by its name; nothing where no name tells one.

    Raises:
        UserError: If only some names do.
    """
    parts = {uri: part for uri in paths if (part := part_of_name(name_of(uri)))}
    without = [uri for uri in paths if uri not in parts]
    if parts and without:
        told, part = next(iter(parts.items()))
        raise UserError(
            f"{without[0]}: the name of this list says no part of a split, but that of {name_of(told)} says {part}. "
            "Call it train, val or test, or give all lists a column split."
        )
    return parts
