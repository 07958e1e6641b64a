"""What the driver writes into the folder of a training: its recipe, and the numbers of its epochs."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import read_document
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import parse_toml, to_plain, to_toml
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.run_folder import HISTORY_FILE, RECIPE_FILE, EpochRow

if TYPE_CHECKING:
    from kinebert.training.recipe.train import TrainRecipe


def save_recipe(folder: str, recipe: "TrainRecipe") -> str:
    """Write all settings of a training into its folder, which is made; return the path or URI of the file.

    Raises:
        UserError: If the folder cannot be written.
    """
    path = storage.join(folder, RECIPE_FILE)
    with storage.explained(folder, "write the recipe"):
        storage.make_folder(folder)
        storage.write_bytes(path, to_toml(to_plain(recipe)).encode())
    return path


def load_recipe(folder: str) -> "TrainRecipe | None":
    """Read the recipe in the folder of a training; None if there is none, or none that this version can read."""
    from kinebert.training.recipe.train import TrainRecipe

    path = storage.join(folder, RECIPE_FILE)
    if not storage.exists(path):
        return None
    try:
        return from_mapping(TrainRecipe, parse_toml(storage.read_bytes(path), path), path)
    except ConfigError:
        return None


def save_history(folder: str, history: Sequence[EpochRow]) -> None:
    """Keep the numbers of a training's epochs beside its checkpoint."""
    storage.write_bytes(storage.join(folder, HISTORY_FILE), (json.dumps(list(history), indent=1) + "\n").encode())


def load_history(folder: str) -> list[EpochRow]:
    """Read the numbers of a training's epochs; empty if they were not kept.

    Raises:
        UserError: If the file is damaged, or says something else.
    """
    path = storage.join(folder, HISTORY_FILE)
    if not folder or not storage.exists(path):
        return []
    remedy = "Delete it, and train with the same command again, which writes it anew and trains nothing twice."
    with storage.explained(path, "read the numbers of the epochs"):
        return read_document(list[EpochRow], path, "the numbers of a training's epochs", remedy, nan=True)
