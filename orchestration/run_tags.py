"""What an MLflow run says of itself: code, data, recipe, place."""

import getpass
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kinebert.orchestration.reports.run_files import save_recipe
from kinebert.preprocessing.plain_text import markdown
from kinebert.preprocessing.sets.reader import ShardSet

if TYPE_CHECKING:
    from kinebert.orchestration.tracking import Tracker
    from kinebert.training.recipe.train import TrainRecipe

COMMIT = "KINEBERT_COMMIT"
"""Environment variable that names the git commit where there is no checkout, as in a submitted job."""


def code_version(program: str) -> dict[str, str]:
    """Tags that say which program ran: its name, and the git commit and whether it was changed since, if known."""
    name = {"mlflow.source.name": f"kinebert {program}", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError, ImportError):  # in a container there may be no such user
        name["mlflow.user"] = getpass.getuser()
    root = Path(__file__).parents[1]

    if COMMIT in os.environ:  # a submitted job has no .git; whoever submits may say what it is
        return {**name, "mlflow.source.git.commit": os.environ[COMMIT]}

    def git(*args: str) -> str:
        command = ["git", "-C", str(root), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        commit, changed = git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {**name, "mlflow.source.git.commit": "unknown"}
    return {**name, "mlflow.source.git.commit": commit, "git_changed": str(changed).lower()}


def training_tags(program: str, recipe: "TrainRecipe", shards: ShardSet, folder: str) -> dict[str, str]:
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
    }


def describe_training(tracker: "Tracker", folder: str, recipe: "TrainRecipe", shards: ShardSet) -> None:
    """Say what is trained and on what: ``recipe.toml`` in the folder and with the run, and the parts of the set."""
    tracker.artifact_of(save_recipe(folder, recipe))
    parts = {"training": recipe.data.train_part, "validation": recipe.data.val_part}
    tracker.dataset(shards, {context: f"{recipe.data.split}/{part}" for context, part in parts.items()})
