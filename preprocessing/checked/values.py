"""Plain values, as JSON, TOML and pickles give them, taken for what a type says: checked, and never guessed."""

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from kinebert.preprocessing.errors import ConfigError

T = TypeVar("T")
_LARGEST_INTEGER = 2**63 - 1
"""Of TOML, and of what reads it."""
_SINGLE = frozenset((str, int, float, bool, types.NoneType))
_SHOWN = 200
"""Characters of a wrong value that an error repeats."""


@dataclass(frozen=True)
class Between:
    """Smallest and largest value of a field, for ``Annotated``."""

    least: int
    most: int = 2**63 - 1


Count = Annotated[int, Between(0)]
"""Of anything."""


def check_depth(value: Any, most: int) -> None:
    """Raise a RecursionError if mappings, lists and tuples lie in each other in more than ``most`` levels.

    It does not recurse itself, and ends where a value holds itself.
    """
    level = [value]
    for _ in range(most + 1):
        held = (item for item in level if type(item) not in _SINGLE)  # asking what is a mapping takes longer
        inside = {id(item): item for item in held if isinstance(item, (Mapping, list, tuple))}.values()
        level = [item for one in inside for item in (one.values() if isinstance(one, Mapping) else one)]
        if not level:
            return
    raise RecursionError


def typed(hint: Any, value: Any, where: str) -> Any:
    """Return a plain value as the type ``hint``, as :func:`from_mapping` does, but let keys be that are not known.

    Raises:
        ConfigError: If it is none.
    """
    return _value(hint, value, where, strangers=True)


def from_mapping(
    cls: type[T],
    values: Mapping[str, Any],
    where: str,
    absent: Mapping[str, Any] | None = None,
    *,
    strangers: bool = False,
) -> T:
    """Build ``cls`` from plain values.

    Args:
        cls: A dataclass; its fields may be dataclasses themselves.
        values: Plain values as TOML or JSON give them.
        where: Named in every error.
        absent: Stands in for required keys that ``values`` lacks.
        strangers: Let unknown keys be, and leave them out.

    Raises:
        ConfigError: For an unknown key, a value of the wrong type, or a required key that is missing.
    """
    hints, fields, known = _fields_of(cls)  # type: ignore[arg-type]
    for key in sorted(values.keys() - known, key=str) if not strangers else ():
        near = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known keys: {', '.join(sorted(known))}."
        raise ConfigError(f"{where}: unknown key {shown(key)} in {cls.__name__}.{hint}")
    given = {
        # right at first sight: nearly all of the longest lists are, of a hundred thousand values
        key: value if _is_plainly(hints[key], value) else _value(hints[key], value, _inside(where, key), strangers)
        for key, value in values.items()
        if key in known
    }
    for field in fields:
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in given:
            if absent is None or field.name not in absent:
                raise ConfigError(
                    _inside(where, f"the key {field.name!r} of {cls.__name__} is required and is not there.")
                )
            given[field.name] = absent[field.name]
    return cls(**given)


def _is_plainly(hint: Any, value: Any) -> bool:
    kind = type(value)
    return (hint is kind and kind in (str, bool)) or (hint is Count and kind is int and 0 <= value <= _LARGEST_INTEGER)


@functools.lru_cache
def _fields_of(cls: type) -> tuple[Mapping[str, Any], tuple[dataclasses.Field[Any], ...], frozenset[str]]:
    """Return the types of a dataclass's fields by name, those fields that values may be given for, and their names."""
    fields = tuple(field for field in dataclasses.fields(cls) if field.init)
    return typing.get_type_hints(cls, include_extras=True), fields, frozenset(field.name for field in fields)


def _inside(where: str, what: str) -> str:
    return f"{where}: {what}" if where else what


def _value(hint: Any, value: Any, where: str, strangers: bool = False) -> Any:
    """Check ``value`` against the type ``hint`` and convert what TOML cannot express."""
    if hint is Any:
        return value
    if type(hint) is type and dataclasses.is_dataclass(hint) and type(value) is dict:  # before what takes longer to ask
        return from_mapping(hint, value, where, strangers=strangers)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Required:
        return _value(arguments[0], value, where, strangers)
    if origin is typing.Annotated:
        return _in_range(arguments, _value(arguments[0], value, where, strangers), where)
    if origin in (types.UnionType, typing.Union):
        return _one_of(arguments, value, where, strangers)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(typing.cast(type, hint), value, where, strangers=strangers)
    if typing.is_typeddict(hint) and isinstance(value, Mapping):
        return _typed_dict(hint, value, where, strangers)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: {shown(value)} is not one of {', '.join(map(repr, arguments))}.")
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return _tuple(arguments, value, where, strangers)
    if origin is list and isinstance(value, list):
        return list(_tuple((arguments[0], Ellipsis), value, where, strangers))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {
            _value(arguments[0], key, where): _value(arguments[1], item, _inside(where, str(key)), strangers)
            for key, item in value.items()
        }
    if type(value) is int and abs(value) > _LARGEST_INTEGER and hint in (int, float):
        raise ConfigError(_inside(where, f"{shown(value)} is too large."))
    if hint is float and type(value) is float and not math.isfinite(value) and not strangers:  # a recipe
        raise ConfigError(_inside(where, f"expected a finite number, got {value}."))
    if hint is float and type(value) is int:
        return float(value)
    plain = dict if typing.is_typeddict(hint) else origin or hint
    # bool is an int to Python, but not to a reader of a recipe
    if hint is types.NoneType or not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        if hint is types.NoneType and value is None:
            return None
        raise ConfigError(_inside(where, f"expected {_spell(hint)}, got {shown(value)}."))
    return value


def _in_range(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    for limits in arguments[1:]:
        if isinstance(limits, Between) and not limits.least <= value <= limits.most:
            raise ConfigError(f"{where}: expected a number from {limits.least} to {limits.most}, got {shown(value)}.")
    return value


def _typed_dict(hint: Any, value: Mapping[str, Any], where: str, strangers: bool) -> dict[str, Any]:
    """Check a mapping's known keys; others may be there as well."""
    for key in sorted(hint.__required_keys__ - value.keys()):
        raise ConfigError(_inside(where, f"the key {key!r} is required and is not there."))
    hints = typing.get_type_hints(hint, include_extras=True)
    return {key: _value(hints.get(key, Any), item, _inside(where, str(key)), strangers) for key, item in value.items()}


def _one_of(hints: tuple[Any, ...], value: Any, where: str, strangers: bool) -> Any:
    for hint in hints:
        try:
            return _value(hint, value, where, strangers)
        except ConfigError as error:
            if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
                raise error
    raise ConfigError(_inside(where, f"expected {' or '.join(_spell(hint) for hint in hints)}, got {shown(value)}."))


def _tuple(hints: tuple[Any, ...], value: Sequence[Any], where: str, strangers: bool) -> tuple[Any, ...]:
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise ConfigError(f"{where}: expected {len(hints)} values, got {len(value)}.")
    return tuple(
        _value(hint, item, f"{where}[{i}]", strangers) for i, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def cut(text: str) -> str:
    """Return the beginning of a long text, as an error repeats it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def shown(value: Any) -> str:
    """Return a value as an error repeats it."""
    return cut(repr(value))


def _spell(hint: Any) -> str:
    if hint is types.NoneType:
        return "nothing"
    if typing.get_origin(hint) is typing.Annotated:
        return _spell(typing.get_args(hint)[0])
    return str(getattr(hint, "__name__", hint))
