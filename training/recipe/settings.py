"""What the fields of a recipe say about continued runs: which may change, and which enter its digest.

A field that says nothing decides what comes of a training: it enters the digest, and a run is not continued with
another value of it.
"""

from collections.abc import Iterator
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from kinebert.preprocessing.config import to_plain

T = TypeVar("T")
CHANGEABLE = {"changeable": True}
"""Metadata of a field that must be given, and may be given otherwise in a continued run."""


def setting(default: T, *, changeable: bool = False, later: bool = False) -> T:
    """Make a field of a recipe, as :func:`dataclasses.field` does.

    Args:
        default: Its default, which nothing can change in place.
        changeable: A run may be continued with another value: it changes what is done next, not what was done. The
            field does not enter the digest.
        later: It came after the first runs, which do not know it: at its default it does not enter the digest, so that
            they go on.
    """
    made: T = field(default=default, metadata={"changeable": changeable, "later": later})
    return made


def identity_of(recipe: Any) -> dict[str, Any]:
    """Return a recipe (a dataclass) as plain values, without what may change and what older runs do not know."""
    plain = to_plain(recipe)
    for item in fields(recipe):
        value = getattr(recipe, item.name)
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if item.metadata.get("changeable") or (item.metadata.get("later") and value == default):
            del plain[item.name]
        elif is_dataclass(value):
            plain[item.name] = identity_of(value)
        elif isinstance(value, dict):
            plain[item.name] |= {key: identity_of(one) for key, one in value.items() if is_dataclass(one)}
    return plain


def changeable(recipe: type) -> frozenset[str]:
    """Return the dotted names of the fields of a recipe's class, and of the classes in it, that may change."""
    return frozenset(_changeable(recipe))


def _changeable(recipe: type) -> Iterator[str]:
    hints = get_type_hints(recipe)
    for item in fields(recipe):
        if item.metadata.get("changeable"):
            yield item.name
        elif is_dataclass(hints[item.name]):
            yield from (f"{item.name}.{name}" for name in _changeable(hints[item.name]))
