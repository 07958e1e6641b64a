"""Recipes that come with the project: which there are, and which file is meant by what a user gives."""

import difflib
from functools import cache
from pathlib import Path

from kinebert.preprocessing.errors import ConfigError

FOLDER = Path(__file__).parent.parent / "pipelines" / "recipes"
"""Where their files lie, in a checkout and in an installed package."""
_ENDING = ".toml"
_MOST = 3


@cache
def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes that come with the project, sorted: ``rgb``, ``demo/rgb_bert`` and so on."""
    return tuple(sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob(f"*{_ENDING}")))


def named_file(name: str) -> Path:
    """Return the file of the recipe called ``name``.

    Raises:
        ConfigError: If there is none; it says which are near.
    """
    if name not in recipe_names():
        raise ConfigError(f"There is no recipe {name!r}. {advice(name)}")
    return FOLDER / f"{name}{_ENDING}"


def recipe_file(given: str | Path) -> Path:
    """Return the file that a user means: the one at that path or, where there is none, the recipe of that name.

    Raises:
        ConfigError: If there is neither; it says which recipes are near.
    """
    path = Path(given)
    if path.is_file():
        return path
    if str(given) in recipe_names():
        return named_file(str(given))
    if path.exists():  # a folder, or a pipe: whoever opens it says so
        return path
    raise ConfigError(f"{given}: there is no such recipe file. Nor is there a recipe of that name. {advice(given)}")


def advice(given: str | Path) -> str:
    """Return the sentences that help somebody who wrote ``given`` for a recipe's name."""
    found = near(given)
    meant = f"Did you mean {' or '.join(found)}? " if found else ""
    return f"{meant}`kinebert recipes` lists all."


def near(given: str | Path) -> list[str]:
    """Return the recipes that may be meant, likeliest first: path and ending count for nothing, folders for little."""
    words = str(given).rpartition("recipes/")[2].removesuffix(_ENDING).lower()
    names = recipe_names()
    last = words.rpartition("/")[2]
    same = [name for name in names if name == words or name.rpartition("/")[2] == last or name.startswith(f"{words}/")]
    by_last = {name.rpartition("/")[2]: name for name in reversed(names)}
    if same:
        return sorted(same, key=lambda name: (name != words, name))[:_MOST]
    close = difflib.get_close_matches(words, names, n=_MOST)
    close += [by_last[one] for one in difflib.get_close_matches(last, by_last, n=_MOST)]
    return list(dict.fromkeys(close))[:_MOST]
