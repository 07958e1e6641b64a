"""What a search may choose: the fields of a recipe, by their dotted names, and the values of each.

Every draw is a function of (seed, number of the trial, field) alone, so that neither the order in which trials end nor
a restart changes what is suggested.
"""

import dataclasses
import difflib
import itertools
import math
import typing
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe

Values = dict[str, Any]
"""One value per field of the space, by dotted name."""

_NOT_SEARCHED = {
    "tune": "a search does not search itself",
    "workers": "give it in the recipe: every trial has as many workers",
    "test": "it changes no weight; evaluate the best trial as you like",
}
_RESAMPLE = 0.25
_FACTORS = (0.8, 1.25)


@dataclass(frozen=True)
class Numbers:
    """A range of numbers that a search draws from, both ends within."""

    low: float
    high: float
    log: bool = False
    """Drawn evenly in the logarithm."""
    whole: bool = False
    """Integers only."""

    def at(self, share: float) -> float:
        """Return the value ``share`` (0 to 1) of the way up the range, with four digits that count."""
        if self.whole:
            return min(int(self.high), int(self.low) + math.floor(share * (self.high - self.low + 1)))
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return self.tidy(value)

    def tidy(self, value: float) -> float:
        """Return the nearest value of the range that people like to read."""
        inside = min(max(float(f"{value:.4g}"), self.low), self.high)
        return round(inside) if self.whole else inside

    def ends(self) -> list[Any]:
        """Return the values that a recipe must accept if it is to accept all that may be drawn."""
        return [self.at(0.0), self.at(1.0)]


@dataclass(frozen=True)
class Options:
    """Values of any type that a search chooses from."""

    values: tuple[Any, ...]
    every: bool = False
    """Visited in turn, not drawn."""

    def at(self, share: float) -> Any:
        """Return the value ``share`` (0 to 1) of the way along the list."""
        return self.values[min(len(self.values) - 1, math.floor(share * len(self.values)))]

    def ends(self) -> list[Any]:
        """Return the values that a recipe must accept if it is to accept all that may be drawn."""
        return list(self.values)


Dimension = Numbers | Options
Space = Mapping[str, Dimension]


def _numbers(where: str, given: Any, **kind: bool) -> Numbers:
    plain = isinstance(given, Sequence) and len(given) == 2 and all(type(end) in (int, float) for end in given)
    if not plain or not given[0] < given[1]:
        raise ConfigError(f"{where}: expected two numbers, the lower first, got {given!r}.")
    if kind.get("whole") and not all(type(end) is int for end in given):
        raise ConfigError(f"{where}: expected two whole numbers, got {given!r}.")
    if kind.get("log") and given[0] <= 0:
        raise ConfigError(f"{where}: a logarithm needs numbers above 0, got {given!r}.")
    return Numbers(given[0], given[1], **kind)


def _options(where: str, given: Any, every: bool = False) -> Options:
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise ConfigError(f"{where}: expected a list of values, got {given!r}.")
    return Options(tuple(given), every)


_KINDS: dict[str, Callable[[str, Any], Dimension]] = {
    "uniform": lambda where, given: _numbers(where, given),
    "log_uniform": lambda where, given: _numbers(where, given, log=True),
    "int": lambda where, given: _numbers(where, given, whole=True),
    "choice": lambda where, given: _options(where, given),
    "grid": lambda where, given: _options(where, given, every=True),
}


def read_space(tune: TuneRecipe, base: TrainRecipe, where: str) -> Space:
    """Understand ``tune.space``, and refuse what is no field of ``base`` or no value of that field.

    Args:
        tune: The search.
        base: What the fields that are not searched are.
        where: The recipe's file, named in every error.

    Raises:
        ConfigError: For a misspelt field or kind, a value that is not of the field's type or that the recipe refuses,
            or a kind that the way of searching cannot use.
    """
    if tune.scheduler == "pbt" and base.stages:
        raise ConfigError(
            f"{where}: pbt stops trainings in the middle to compare them, and this recipe has stages. Leave stages "
            "out, or take another scheduler."
        )
    space: dict[str, Dimension] = {}
    for field, kind, given in _entries(tune.space, f"{where}: tune.space"):
        place = f"{where}: tune.space: {field}"
        _check_field(field, place)
        dimension = _KINDS[kind](place, given)
        if tune.search == "grid" and isinstance(dimension, Numbers):
            raise ConfigError(f"{place}: a grid needs single values, {field} = {{grid = [...]}}, got {kind}.")
        if tune.search == "grid" and isinstance(dimension, Options):
            dimension = Options(dimension.values, every=True)
        if tune.search == "tpe" and kind == "grid":
            raise ConfigError(f"{place}: tpe chooses values itself. Say choice, not grid.")
        if tune.scheduler == "pbt":
            check_inherits(field, place)
        space[field] = dimension
    _check_values(space, base, f"{where}: tune.space")
    return space


def _entries(table: Mapping[str, Any], where: str, prefix: str = "") -> list[tuple[str, str, Any]]:
    """Field, kind and values of every entry; ``optim.lr = {...}`` without quotes is a table in a table, and as good."""
    found: list[tuple[str, str, Any]] = []
    for key, value in table.items():
        field = f"{prefix}{key}"
        if not isinstance(value, Mapping) or not value:
            raise ConfigError(f"{where}: {field} must be a table such as {{choice = [...]}}, got {value!r}.")
        kinds = [kind for kind in value if kind in _KINDS]
        if kinds:
            if len(value) > 1:
                raise ConfigError(f"{where}: {field} must have one kind of values, got {', '.join(value)}.")
            found.append((field, kinds[0], value[kinds[0]]))
        elif all(isinstance(inner, Mapping) for inner in value.values()):
            found += _entries(value, where, f"{field}.")
        else:
            raise ConfigError(f"{where}: {field}: there is no {_quoted(value)}. There are: {', '.join(_KINDS)}.")
    return found


def _quoted(names: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in names)


def fields_of(cls: type, prefix: str = "") -> dict[str, Any]:
    """Return the dotted names of all fields of a recipe, those of its tables included, with their types."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(cls).items():
        table = next((one for one in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(one)), None)
        if table is not None and typing.get_origin(hint) is not tuple:
            found.update(fields_of(typing.cast(type, table), f"{prefix}{name}."))
        else:
            found[prefix + name] = hint
    return found


def _check_field(field: str, where: str) -> None:
    for name, reason in _NOT_SEARCHED.items():
        if field == name or field.startswith(f"{name}."):
            raise ConfigError(f"{where} cannot be searched: {reason}.")
    known = fields_of(TrainRecipe)
    tables = [name for name, hint in known.items() if typing.get_origin(hint) is dict]
    if field in known or any(field.startswith(f"{table}.") for table in tables):
        return
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{where}: a recipe has no field {field!r}.{hint}")


def _check_values(space: Space, base: TrainRecipe, where: str) -> None:
    """Try every end of a range and every option, with the base's values in the other fields."""
    middle = {field: dimension.ends()[0] for field, dimension in space.items()}
    for field, dimension in space.items():
        for value in dimension.ends():
            try:
                recipe_with(base, {field: value}, where)
            except ConfigError as alone:
                try:  # two fields may fit each other only: a batch and its micro-batches, a head and its options
                    recipe_with(base, {**middle, field: value}, where)
                except ConfigError:
                    raise ConfigError(f"{where}: {field} = {value!r}: {_without(alone, where)}") from None


def _without(error: ConfigError, where: str) -> str:
    return str(error).removeprefix(f"{where}: ")


def recipe_with(base: TrainRecipe, values: Mapping[str, Any], where: str) -> TrainRecipe:
    """Return ``base`` without its search and with ``values`` in their fields.

    Raises:
        ConfigError: If a value is not of its field's type, or the recipe refuses it.
    """
    plain = to_plain(base)
    plain["tune"] = None
    for field, value in values.items():
        table = plain
        *path, last = field.split(".")
        for key in path:
            table[key] = {} if table.get(key) is None else table[key]  # a table that the base has not
            table = table[key]
        table[last] = list(value) if isinstance(value, tuple) else value
    return from_mapping(TrainRecipe, plain, where)


def grid_cells(space: Space) -> list[Values]:
    """Return every combination of the options that are visited in turn; the last field changes fastest."""
    turns = {field: dim.values for field, dim in space.items() if isinstance(dim, Options) and dim.every}
    return [dict(zip(turns, cell, strict=True)) for cell in itertools.product(*turns.values())]


def draw(space: Space, seed: int, number: int, generation: int = 0) -> Values:
    """Draw the values of trial ``number``; options of a grid are visited in turn."""
    cells = grid_cells(space)
    cell = cells[number % len(cells)]
    return {
        field: cell[field] if field in cell else dimension.at(_share(seed, number, generation, field))
        for field, dimension in space.items()
    }


def perturb(space: Space, values: Mapping[str, Any], seed: int, number: int, generation: int) -> Values:
    """Change values as population based training does: each is drawn anew (one time in four) or moved a little.

    A number is multiplied by 0.8 or 1.25; an option becomes one of its neighbours.

    Source: "Population based training of neural networks", arXiv:1711.09846, section 4.1.1.
    """
    anew = draw(space, seed, number, generation)
    return {field: _moved(space[field], values[field], anew[field], seed, number, generation, field) for field in space}


def _moved(dimension: Dimension, value: Any, anew: Any, seed: int, number: int, generation: int, field: str) -> Any:
    rng = np.random.default_rng([seed, number, generation, zlib.crc32(field.encode()), 1])
    again, up = rng.random() < _RESAMPLE, int(rng.random() < 0.5)
    if again:
        return anew
    if isinstance(dimension, Numbers):
        moved = value * _FACTORS[up]
        if dimension.whole and round(moved) == value:
            moved = value + (1 if up else -1)
        return dimension.tidy(moved)
    place = dimension.values.index(value) + (1 if up else -1)
    return dimension.values[min(max(place, 0), len(dimension.values) - 1)]


def _share(seed: int, number: int, generation: int, field: str) -> float:
    return float(np.random.default_rng([seed, number, generation, zlib.crc32(field.encode())]).random())


def trial_seed(seed: int, number: int) -> int:
    """Return the seed of a trial's training, made of the search's seed and the trial's number; below 2**32."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


_INHERITED = (
    *("optim.", "data.flip", "data.multi_scale", "data.scales", "data.augment.", "data.short_side", "data.area"),
    *("data.aspect", "model.dropout", "label_smoothing"),
)
_BUILT = tuple(
    f"optim.{name}"
    for name in ("name", "groups", "layers", "frozen", "decay_norms", "schedule", "monitor", "warmup", "cosine_from")
)


def check_inherits(field: str, where: str) -> None:
    """Refuse a field that cannot change in the middle of a training, where pbt takes over another trial's weights."""
    if not field.startswith(_INHERITED) or field.startswith(_BUILT):
        raise ConfigError(
            f"{where} cannot change in the middle of a training, as pbt does. Search it with another scheduler; pbt "
            "takes optim.lr and its like, model.dropout, label_smoothing and what is done to pictures."
        )
