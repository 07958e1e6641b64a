"""Which command comes next, in the README's order: index, extract, train, evaluate, fuse."""

import re
import shlex
from collections.abc import Sequence

from kinebert.preprocessing.plain_text import toml_string
from kinebert.preprocessing.recipe_names import recipe_names

_USUAL_SPLIT = "split1"
_BARE = re.compile(r"[A-Za-z_][\w-]*")


def train_command(uri: str, modality: str, splits: Sequence[str]) -> str:
    """Return the command that trains on a set, by the first recipe for its pictures and on a split that it has.

    Args:
        uri: Of the set.
        modality: Of its pictures.
        splits: That its videos are in.
    """
    recipe = modality if modality in recipe_names() else "RECIPE"
    values = [f"data.shards={shlex.quote(uri)}"]
    if splits and _USUAL_SPLIT not in splits:
        name = splits[0] if _BARE.fullmatch(splits[0]) else toml_string(splits[0])
        values.append(f"data.split={shlex.quote(name)}")
    return f"kinebert train {recipe} --set {' '.join(values)}"


def next_lines(commands: Sequence[str]) -> list[str]:
    """Return what a program prints last: the first command, and below it the others."""
    return [f"{'next:' if i == 0 else '     '} {command}" for i, command in enumerate(commands)]
