"""Names as MLflow takes them, for metrics, parameters, tags and folders of artifacts.

A name that it takes stays as it is. In others, each sign that it refuses becomes ``_``; two that end as the same name
are refused where a manifest is made (:func:`check_apart`).
"""

import hashlib
import re
from collections.abc import Iterable

from kinebert.preprocessing.datasets.manifest import is_plain
from kinebert.preprocessing.errors import ConfigError, UserError

LONGEST_NAME = 250
"""Characters that MLflow takes in a name."""
_REFUSED = re.compile(r"[^/\w.\- :]")
_DIGEST = 8
_ALIAS = re.compile(r"[\w-]{1,255}")
_VERSION = re.compile(r"v\d+|latest", re.IGNORECASE)
"""Words that MLflow keeps for itself."""


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


def check_model_names(name: str, alias: str | None) -> None:
    """Refuse names that MLflow would refuse after the work.

    Raises:
        ConfigError: If the name of the model or the alias is none.
    """
    if not name.strip() or set(name) & set("/:'\"") or not is_plain(name):
        raise ConfigError(f"--name {name!r}: a model's name is not empty and has no / : or quotes.")
    if alias is not None and (not _ALIAS.fullmatch(alias) or _VERSION.fullmatch(alias)):
        raise ConfigError(
            f"--alias {alias!r}: an alias is letters, digits, - and _, at most 255, and neither latest nor a version."
        )
