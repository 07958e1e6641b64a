"""Things by name: found, or asked back for with the names that are near."""

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar

from kinebert.preprocessing.errors import ConfigError

Entry = TypeVar("Entry")


def find(entries: Mapping[str, Entry], name: str, kind: str) -> Entry:
    """Return the entry called ``name``.

    Raises:
        ConfigError: If there is none; it suggests a near name, or says which there are.
    """
    if name not in entries:
        raise ConfigError(f"There is no {kind} {name!r}. {suggest(name, entries)}")
    return entries[name]


def suggest(name: str, known: Collection[str]) -> str:
    """Return the sentence that helps somebody who wrote ``name`` for one of ``known``."""
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"There are: {', '.join(sorted(known))}." if known else "There are none."
