"""Names as MLflow takes them, for metrics, parameters, tags and folders of artifacts.

A name that it takes stays as it is. In others, each sign that it refuses becomes ``_``; two that end as the same name
are refused where a manifest is made (:func:`check_apart`).
"""

import hashlib
import re
from collections.abc import Iterable

from kinebert.preprocessing.errors import UserError

LONGEST_NAME = 250
"""Characters that MLflow takes in a name."""
_REFUSED = re.compile(r"[^/\w.\- :]")
_DIGEST = 8


def legal_name(name: str) -> str:
    """Return ``name`` with ``_`` for what MLflow refuses; slashes part it into groups.

    Empty parts and parts that are one or two dots would be paths to elsewhere. What is too long is cut in front of its
    last slash, with a digest in place of what is gone.
    """
    parts = _REFUSED.sub("_", name).split("/")
    plain = "/".join(re.sub(r"\.", "_", part) or "_" if part in ("", ".", "..") else part for part in parts)
    plain = re.sub(r"^\.\.", "__", plain)
    if len(plain) <= LONGEST_NAME:
        return plain
    head, slash, last = plain.rpartition("/")
    last = last if slash and len(last) < LONGEST_NAME // 2 else ""
    front = head if last else plain
    mark = hashlib.sha256(front.encode()).hexdigest()[:_DIGEST]
    tail = f"-{mark}" + (f"/{last}" if last else "")
    return front[: LONGEST_NAME - len(tail)] + tail


def check_apart(names: Iterable[str], what: str) -> None:
    """Refuse names that could not be told apart as folders of evaluations, or in MLflow.

    Args:
        names: Such as those of splits.
        what: What they are names of, in the plural.

    Raises:
        UserError: It names the two.
    """
    known: dict[str, str] = {}
    for name in sorted(set(names)):
        plain = legal_name(name.replace("/", "_"))
        other = known.setdefault(plain, name)
        if other != name:
            raise UserError(
                f"the {what} {other!r} and {name!r} would both be {plain!r} in MLflow, which takes letters, digits, "
                "_ - . : and spaces in names. Rename one."
            )
