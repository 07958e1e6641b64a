"""Recipes: TOML files read into nested, frozen dataclasses. Unknown keys are errors."""

import dataclasses
import hashlib
import json
import math
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kinebert.preprocessing.checked.values import check_depth, cut, from_mapping
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.plain_text import toml_string
from kinebert.preprocessing.recipe_names import recipe_file
from kinebert.preprocessing.storage import open_regular

T = TypeVar("T")
_LARGEST = 2**20
_DEEPEST = 16
_WIDTH = 32
"""Columns of a value that has a comment."""
_BARE = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)
"""Keys of TOML that need no quotes, and those that name a value in a table."""


def read_toml(path: str | Path | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a TOML file, or none where all is given otherwise, and apply ``key.sub=value`` overrides to it.

    Where there is no file at ``path``, it may be the name of a recipe that comes with the project.

    Raises:
        ConfigError: If the file is missing or is not TOML, or an override has no ``=``.
    """
    try:
        values: dict[str, Any] = {}
        if path is not None:
            with open(open_regular(recipe_file(path)), "rb") as file:
                values = parse_toml(file.read(_LARGEST + 1), str(path))
    except IsADirectoryError:
        raise ConfigError(f"{path}: cannot be read as TOML: this is a directory, a recipe file was expected.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}.") from None
    for override in overrides:
        _override(values, override)
    return values


def parse_toml(toml: bytes, where: str) -> dict[str, Any]:
    """Read TOML from whoever it is: a recipe is a small file of few levels.

    Raises:
        ConfigError: If it is no TOML, or larger or deeper than any recipe.
    """
    if len(toml) > _LARGEST:
        raise ConfigError(f"{where}: cannot be read as TOML: a recipe has at most {_LARGEST // 2**20} MiB.")
    try:
        values = tomllib.loads(toml.decode())
        check_depth(values, _DEEPEST)
    except RecursionError:
        raise ConfigError(f"{where}: cannot be read as TOML: it has more than {_DEEPEST} levels.") from None
    except ValueError as error:  # no TOML, no text, or a number of thousands of digits
        raise ConfigError(f"{where}: cannot be read as TOML: {cut(str(error).splitlines()[0])}.") from None
    return values


def load_config(cls: type[T], path: str | Path, overrides: Sequence[str] = ()) -> T:
    """Read ``path`` as a ``cls``. Missing keys keep their defaults; ``overrides`` are ``key.sub=value`` strings.

    Raises:
        ConfigError: If it is no such file, or says something else than a ``cls``; the file is named.
    """
    try:
        return from_mapping(cls, read_toml(path, overrides), where=str(path))
    except ConfigError as error:
        if str(path) in str(error) or str(error).startswith("--set "):
            raise
        raise ConfigError(f"{path}: {error}") from None  # of a value that the dataclass itself has checked


def nested(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Move keys that only a table of ``cls`` knows into that table, so that a flat recipe does as well as a nested one.

    ``{"bound": 15}`` becomes ``{"recipe": {"bound": 15}}`` where a field ``recipe`` of ``cls`` has a field ``bound``.
    """
    hints = typing.get_type_hints(cls)
    result = {key: value for key, value in values.items() if key in hints}
    strangers = {key: value for key, value in values.items() if key not in hints}
    for name, hint in hints.items():
        table = result.get(name, {})
        if not dataclasses.is_dataclass(hint) or not isinstance(table, Mapping):
            continue
        inner = nested(typing.cast(type, hint), {**strangers, **table})
        known = {key for key in inner if key in typing.get_type_hints(hint)}
        if known:
            result[name] = {key: value for key, value in inner.items() if key in known or key in table}
            strangers = {key: value for key, value in strangers.items() if key in inner and key not in known}
    return {**result, **strangers}


def _override(values: dict[str, Any], override: str) -> None:
    """Apply one ``key.sub=value`` to ``values`` in place. The value is TOML; what is not TOML is a string."""
    dotted, equals, text = override.partition("=")
    if not equals or not dotted.strip():
        raise ConfigError(f"--set {override}: expected key=value, for example --set optim.lr=0.01.")
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        value = text
    *path, last = dotted.strip().split(".")
    for key in path:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {key!r} is a value, not a table.")
    values[last] = value


def to_plain(config: Any) -> dict[str, Any]:
    """Turn a config into plain JSON values, nested as it is."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return plain


def to_toml(plain: Mapping[str, Any], table: str = "", about: Callable[[str], str] | None = None) -> str:
    """Write plain values as TOML that :func:`load_config` reads back; None is left out, as TOML has none.

    Args:
        plain: The values.
        table: Dotted name of the table that they are in.
        about: Comment to every value, by its dotted name; with it, keys without a value are comments of their own.
    """
    lines, tables = [], []
    for key, value in plain.items():
        key = _key(key)
        name = f"{table}.{key}" if table else key
        if isinstance(value, Mapping):
            tables.append(f"\n[{name}]\n{to_toml(value, name, about)}")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
            tables += [f"\n[[{name}]]\n{to_toml(item, name, about)}" for item in value]
        elif value is not None or about is not None:
            line = f"# {key} is not given" if value is None else f"{key} = {toml_value(value)}"
            lines.append(f"{line}\n" if about is None else f"{line:<{_WIDTH}}  # {about(name)}\n")
    return "".join([*lines, *tables])


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml_string(name)


def toml_value(value: Any) -> str:
    """Return a plain value as TOML has it on the right of an equals sign."""
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(name)} = {toml_value(item)}' for name, item in value.items())}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # nan, inf and -inf
    return json.dumps(value, ensure_ascii=False)  # numbers and booleans are as in JSON


def digest(*values: Any) -> str:
    """Twelve characters that change whenever any of ``values`` (configs or plain JSON values) changes."""
    plain = [to_plain(value) if dataclasses.is_dataclass(value) else value for value in values]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def digest_of_rows(first: Any, rows: Iterable[Any]) -> str:
    """Return ``digest(first, list(rows))`` of plain JSON values, without holding the rows at once."""
    as_json = json.JSONEncoder(sort_keys=True).encode
    state = hashlib.sha256(f"[{as_json(first)}, [".encode())
    for i, row in enumerate(rows):
        state.update(f"{', ' if i else ''}{as_json(row)}".encode())
    state.update(b"]]")
    return state.hexdigest()[:12]


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` to ``{"a.b": 1}``; lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Say where two plain recipes differ, one ``key: ours != theirs`` each; empty if they are the same."""
    a, b = flatten(ours), flatten(theirs)
    keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    return [f"{key}: {a.get(key)!r} != {b.get(key)!r}" for key in keys]
