"""What Python callers give, in the forms that they like, as the plain values of requests."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinebert.orchestration.audience import NOBODY, Audience, Terminal
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import nested, read_toml, to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import RECIPES, FrameRecipe

if TYPE_CHECKING:
    from kinebert.training.recipe.train import TrainRecipe

Location = str | PathLike[str]
"""A local path, or a URI (``s3://``, ``gs://``)."""


def texts(locations: Sequence[Location]) -> tuple[str, ...]:
    """Return locations as texts."""
    return tuple(fspath(each) for each in locations)


def several(given: Location | Sequence[Location]) -> tuple[str, ...]:
    """Return one location or several as texts."""
    return (fspath(given),) if isinstance(given, str | PathLike) else texts(given)


def table(given: Any) -> str:
    """Return where scores are: a location, or that of a result."""
    return fspath(given) if isinstance(given, str | PathLike) else str(given.table)


def tables(given: Sequence[Any]) -> tuple[str, ...]:
    """Return where the scores of several results are."""
    return tuple(table(each) for each in given)


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with paths as texts."""
    return {name: fspath(value) if isinstance(value, PathLike) else value for name, value in options.items()}


def frame_recipe(given: "FrameRecipe | Mapping[str, Any] | Location | None", modality: str) -> FrameRecipe:
    """Return the recipe of pictures that was given: one, values of one, a file of such, or None for the defaults.

    Raises:
        ConfigError: If it is none.
    """
    if isinstance(given, FrameRecipe):
        return given
    if modality not in RECIPES:
        raise ConfigError(f"modality must be {', '.join(RECIPES)}, got {modality!r}.")
    values, where = _values({} if given is None else given)
    return from_mapping(RECIPES[modality], nested(RECIPES[modality], values), where)


def of_recipe(
    given: "TrainRecipe | Mapping[str, Any] | Location",
    changes: Mapping[str, Any] | None,
    output: Location | None,
    beside: str,
) -> dict[str, Any]:
    """Return what requests of trainings and searches have in common: the recipe, its source, and where results go.

    Args:
        given: The recipe, its values, or a file of it.
        changes: Values to take instead of its own, by key.
        output: Folder; None takes the file's name.
        beside: Folder of that folder.

    Raises:
        ConfigError: If it is no such recipe, or nobody says where results are to go.
    """
    if output is None:
        if not isinstance(given, str | PathLike):
            raise ConfigError("a recipe that is no file has no name: say with output where the results are to go.")
        output = f"{beside}/{Path(given).stem}"
    recipe, where = training_recipe(given, changes)
    return {"recipe": recipe, "source": where, "output": fspath(output)}


def training_recipe(
    given: "TrainRecipe | Mapping[str, Any] | Location", changes: Mapping[str, Any] | None
) -> "tuple[TrainRecipe, str]":
    """Return the recipe of a training that was given, with changes over it, and where it is from.

    Raises:
        ConfigError: If it is none.
    """
    from kinebert.training.recipe.train import TrainRecipe

    values, where = _values(to_plain(given) if isinstance(given, TrainRecipe) else given)
    for key, value in (changes or {}).items():
        values = _changed(values, key.split("."), value)
    return from_mapping(TrainRecipe, values, where), where


def _values(given: Mapping[str, Any] | Location) -> tuple[dict[str, Any], str]:
    """A recipe's values, with paths as texts, and where they are from."""
    if isinstance(given, str | PathLike):
        return read_toml(fspath(given)), fspath(given)
    values = {key: _values(each)[0] if isinstance(each, Mapping) else each for key, each in plain(given).items()}
    return values, "a recipe in Python"


def _changed(values: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """The same values but for one, which is below ``keys``."""
    first, *rest = keys
    inner = values.get(first)
    if not rest:
        return {**values, first: fspath(value) if isinstance(value, PathLike) else value}
    return {**values, first: _changed(inner if isinstance(inner, Mapping) else {}, rest, value)}


def audience(verbose: bool) -> Audience:
    """Return who is told how far the work is: whoever sits at the terminal, or nobody."""
    return Terminal() if verbose else NOBODY
