"""What an MLflow run says of itself: code, data, recipe, place."""

import getpass
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import kinebert
from kinebert.commits import find_commit
from kinebert.orchestration.reports.run_files import save_recipe
from kinebert.preprocessing import storage
from kinebert.preprocessing.plain_text import markdown
from kinebert.training.aligned import OpenedSet
from kinebert.training.run_folder import RECIPE_FILE

if TYPE_CHECKING:
    from kinebert.orchestration.tracking.tracker import Tracker
    from kinebert.training.recipe.train import TrainRecipe

_PACKAGES = ("torch", "ray", "mlflow", "numpy", "av")


def code_version(program: str) -> dict[str, str]:
    """Tags that say which program ran: its name, on what, the git commit, and whether it was changed since."""
    tags = {"mlflow.source.name": f"kinebert {program}", "mlflow.source.type": "LOCAL", "versions": _versions()}
    with suppress(OSError, KeyError, ImportError):  # in a container there may be no such user
        tags["mlflow.user"] = getpass.getuser()
    found = find_commit()
    tags["mlflow.source.git.commit"] = found.id or "unknown"
    if found.changed is not None:
        tags["git_changed"] = str(found.changed).lower()
    return tags


def _versions() -> str:
    """What the code ran on: Python and the packages that numbers depend on."""
    found = [f"Python {platform.python_version()}", f"kinebert {kinebert.__version__}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def training_tags(program: str, recipe: "TrainRecipe", shards: OpenedSet, folder: str) -> dict[str, str]:
    """Return the tags by which trainings are told apart and compared: code, data, recipe, place."""
    return {
        **code_version(program),
        "mlflow.note.content": f"{recipe.model.backbone} + {recipe.model.head} on {shards.modality}, "
        f"{recipe.data.clip_length} images, {recipe.epochs} epochs; {len(shards.classes)} classes of "
        f"{markdown(shards.uri)}",
        "modality": shards.modality,
        "shards_digest": shards.digest,
        "shards_content": shards.content,
        "recipe_digest": recipe.digest(),
        "run_folder": folder,
        **_teacher_tags(recipe),
    }


def _teacher_tags(recipe: "TrainRecipe") -> dict[str, str]:
    """Return the tags of a student: where its teacher lies, and the digest of it."""
    distill = recipe.distill
    return {} if distill is None else {"teacher": distill.teacher, "teacher_digest": distill.teacher_digest}


def describe_training(
    tracker: "Tracker", folder: str, recipe: "TrainRecipe", shards: OpenedSet, *, is_over: bool = False
) -> None:
    """Say what is trained and on what: ``recipe.toml`` in the folder and with the run, and the parts of the set.

    Args:
        tracker: The run.
        folder: Of the training.
        recipe: What is trained.
        shards: The set that it names.
        is_over: Nothing is trained any more: a recipe that lies in the folder is that of what was, and stays.
    """
    path = storage.join(folder, RECIPE_FILE)
    tracker.artifact_of(path if is_over and storage.exists(path) else save_recipe(folder, recipe))
    parts = {"training": recipe.data.train_part, "validation": recipe.data.val_part}
    tracker.dataset(shards, {context: f"{recipe.data.split}/{part}" for context, part in parts.items()})
