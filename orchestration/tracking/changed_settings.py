"""What a continued run has otherwise than before, for MLflow, whose parameters cannot be changed.

A parameter keeps the value that the run began with. The tag ``changed.NAME`` says what became of it since, and
``now.NAME`` what it is now; a tag is set anew, and ``changed.TAG`` says what it was.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from kinebert.orchestration.tracking.legal_names import legal_name

CHANGED = "changed."
"""Begins the tag with the history of a parameter or tag: ``2 -> 4 from epoch 3``."""
NOW = "now."
"""Begins the tag with the present value of a parameter."""
LONGEST_TAG = 5000
"""Characters that every MLflow store takes in a tag."""
NOTE = "mlflow.note.content"
_OUR_NOTE = re.compile(r".* on .*, \d+ images, \d+ epochs; \d+ classes of .*")
_LONGEST_PARAM = 6000
_SHOWN = 100


@dataclass
class Settled:
    """What is to be recorded."""

    params: dict[str, str] = field(default_factory=dict)
    """Those that the run does not have yet."""
    tags: dict[str, str] = field(default_factory=dict)
    """Those that are new or other, with the words about what changed."""
    changed: list[str] = field(default_factory=list)
    """A sentence about each thing that changed, such as ``epochs: 2 -> 4``."""


def settle(
    known_params: Mapping[str, str],
    known_tags: Mapping[str, str],
    params: Mapping[str, str],
    tags: Mapping[str, str],
    when: str,
    shown: Container[str] | None = None,
    usual: Mapping[str, str] | None = None,
) -> Settled:
    """Compare what a run says of itself with what runs now.

    Args:
        known_params: Of the run in MLflow.
        known_tags: Of the run in MLflow.
        params: Of what runs now.
        tags: Of what runs now. A note that somebody has written over ours stays.
        when: Since when they hold, such as ``from epoch 3``; what a user reads.
        shown: Names of those that become parameters where the run has none of that name; by default all.
        usual: What a run with parameters began with where it has none of that name.
    """
    found = Settled()
    untold = usual if usual and known_params else {}
    for key, value in params.items():
        before = known_tags.get(NOW + key, known_params.get(key, untold.get(key)))
        if before is None:
            found.params |= {key: value} if shown is None or key in shown else {}
        elif before != value:
            found.tags[NOW + key] = value[:LONGEST_TAG]
            _note_change(found, known_tags, key, before, value, when)
    for key, value in tags.items():
        before = known_tags.get(key)
        if before == value or (key == NOTE and before is not None and not _OUR_NOTE.fullmatch(before)):
            continue
        found.tags[key] = value[:LONGEST_TAG]
        if before is not None and key != NOTE:
            _note_change(found, known_tags, key, before, value, when)
    return found


def as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as MLflow keeps them: legal names, and texts of at most 6000 characters."""
    return {legal_name(key): str(value)[:_LONGEST_PARAM] for key, value in values.items()}


def present(params: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a run as they were in the end: with what it changed when it was continued."""
    later = {key.removeprefix(NOW): value for key, value in tags.items() if key.startswith(NOW)}
    return {**params, **{key: value for key, value in later.items() if key in params or CHANGED + key in tags}}


def _note_change(found: Settled, tags: Mapping[str, str], key: str, before: str, value: str, when: str) -> None:
    change = f"{_short(before)} -> {_short(value)}"
    found.changed.append(f"{key}: {change}")
    earlier = tags.get(CHANGED + key)
    said = f"{change} {when}".rstrip()
    found.tags[CHANGED + key] = (f"{earlier}; {said}" if earlier else said)[-LONGEST_TAG:]


def _short(value: str) -> str:
    return value if len(value) <= _SHOWN else f"{value[: _SHOWN - 3]}..."
