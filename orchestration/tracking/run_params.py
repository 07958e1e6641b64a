"""Which values of a recipe are parameters of an MLflow run: what a person varies, so that a list can show them.

The whole recipe lies with the run as an artifact, and its digest is a tag.
"""

from typing import Any

from kinebert.preprocessing.config import flatten, to_plain
from kinebert.training.recipe.train import DataRecipe, TrainRecipe

ALWAYS = (
    *("model.backbone", "model.head", "data.split", "data.clip_length", "data.crop_size"),
    *("batch_size", "epochs", "optim.lr", "seed"),
)
"""Those that every run has."""
_PLACES = (
    *("data.shards", "data.beside", "data.cache_folder", "model.weights_digest"),
    *("distill.teacher_digest", "distill.shards", "distill.keep_features"),
)
"""Those that no run has: where things lie is told by the set, and by tags."""


def usual() -> dict[str, Any]:
    """Return the defaults of a recipe by dotted name, without those of places: what a run has that does not tell it."""
    plain = flatten(to_plain(TrainRecipe(data=DataRecipe(shards=""))))
    return {key: value for key, value in plain.items() if _is_setting(key)}


def varied(recipe: TrainRecipe) -> dict[str, Any]:
    """Return the values that are parameters, by dotted name: a few of every run, and what is not at its default."""
    defaults = usual()
    settings = {key: value for key, value in flatten(to_plain(recipe)).items() if _is_setting(key)}
    return {key: value for key, value in settings.items() if key in ALWAYS or defaults.get(key) != value}


def _is_setting(key: str) -> bool:
    return key not in _PLACES and not key.startswith("tune")
