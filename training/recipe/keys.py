"""Every key that a recipe of a training may have: its type, its default, and what its docstring says."""

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import suggest
from kinebert.training.recipe.train import TrainRecipe

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}


@dataclass(frozen=True, kw_only=True)
class Key:
    """One value of a recipe."""

    name: str
    """Dotted, as ``--set`` takes it: ``optim.lr``. Those of ``[[stages]]`` are ``stages.epochs`` and so on, those of a
    stream ``model.streams.STREAM.weights``, where its modality stands for ``STREAM``."""
    kind: str
    """What may be given, in words: ``number``, or the words there are."""
    required: bool
    """Whether it must be given."""
    default: Any
    """Plain value without it; None where there is none."""
    about: str
    """Its docstring, as one line."""


@cache
def recipe_keys() -> tuple[Key, ...]:
    """Return every key of a training's recipe, in the order in which a whole recipe has them."""
    return tuple(_keys(TrainRecipe, ""))


def keys_below(prefix: str) -> list[Key]:
    """Return the key called ``prefix``, or those of the table of that name; all for an empty text.

    Raises:
        ConfigError: If there is none; it says which are near.
    """
    found = [key for key in recipe_keys() if not prefix or key.name == prefix or key.name.startswith(f"{prefix}.")]
    if not found:
        known = {key.name: key for key in recipe_keys()}
        last = prefix.rpartition(".")[2]
        same = [name for name in known if name.rpartition(".")[2] == last]
        told = f"Did you mean {' or '.join(same)}?" if same else suggest(prefix, {**known, **dict.fromkeys(_tables())})
        raise ConfigError(f"There is no key {prefix!r} in a recipe. {told}")
    return found


def _tables() -> set[str]:
    return {key.name.rpartition(".")[0] for key in recipe_keys()} - {""}


def _keys(cls: type, prefix: str) -> Iterator[Key]:
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    for field in dataclasses.fields(cls):
        inside = _table(hints[field.name])
        if inside is not None:
            each = "STREAM." if typing.get_origin(hints[field.name]) is dict else ""
            yield from _keys(inside, f"{prefix}{field.name}.{each}")
            continue
        yield Key(
            name=prefix + field.name,
            kind=_spelt(hints[field.name]),
            required=field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            default=_default(field),
            about=docs.get(field.name, ""),
        )


def _table(hint: Any) -> type | None:
    """Return the dataclass that a field is, may be, or is a list of."""
    inside = [hint, *typing.get_args(hint)]
    return next((one for one in inside if dataclasses.is_dataclass(one) and isinstance(one, type)), None)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _spelt(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(map(str, arguments))
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_spelt(one) for one in arguments if one is not types.NoneType)
    if origin is tuple:
        parts = arguments[:1] if arguments[1:] == (Ellipsis,) else arguments
        return f"list of {f'{len(parts)} ' * (len(parts) > 1)}{_spelt(parts[0])}s"
    if origin in (dict, Mapping):
        return "table"
    if origin is typing.Annotated:
        return _spelt(arguments[0])
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


@cache
def field_docs(cls: type) -> Mapping[str, str]:
    """Return the docstrings below the fields of a class, each as one line, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed([one for one in cls.__mro__ if dataclasses.is_dataclass(one)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for item, after in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(after, ast.Expr):
                text = ast.literal_eval(after.value) if isinstance(after.value, ast.Constant) else ""
                found[item.target.id] = " ".join(str(text).split())
    return found
