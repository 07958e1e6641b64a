"""What the page of a registered model says of a version: classes, accuracy, input, and whose weights it began with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinebert.orchestration.reports.formatting import percent, percents
from kinebert.orchestration.reports.intervals import known_intervals
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.video_as_set import recipe_of as extraction_of
from kinebert.preprocessing.plain_text import markdown
from kinebert.training.checkpoints.recognizer import CheckpointInfo
from kinebert.training.evaluation.evaluate import VideoScores, read_scores
from kinebert.training.models.weights.keys import layouts
from kinebert.training.recipe.train import ModelRecipe
from kinebert.training.run_folder import SCORES_FILE, checkpoint_digest

_MOST_CLASSES = 20
_WORTH = {"test": 2, "val": 1}


@dataclass(frozen=True)
class ModelCard:
    """What is said of a model."""

    text: str
    """Markdown."""
    tags: Mapping[str, str]
    """The same in short, to search by."""


def model_card(
    checkpoint: str,
    about: Mapping[str, str],
    classes: Sequence[str],
    recipe: ModelRecipe,
    *,
    takes_videos: bool = True,
) -> ModelCard:
    """Describe a checkpoint.

    Args:
        checkpoint: Path or URI; its evaluations are looked for beside it.
        about: What its page in the run says of it: ``model``, ``modality``, ``clips`` and so on.
        classes: Names of the classes by label.
        recipe: What it was built by.
        takes_videos: Whether its pictures can be made of videos; not of poses that somebody else has drawn.

    Raises:
        UserError: If the checkpoint or a table of scores cannot be read.
    """
    tested = evaluations_of(checkpoint)
    licence = licence_of(recipe)
    videos = f"paths of videos, each scored by {about['test']}"
    if not takes_videos:
        videos = f"no videos, as {about['modality']} that somebody else has drawn cannot be made of them"
    lines = [
        f"{about['model']} on {about['modality']}",
        _classes(classes),
        *(f"**Accuracy**: {_accuracy(scores)}" for scores in tested),
        *["**Accuracy**: not known; no evaluation lies beside the checkpoint"][: not tested],
        f"**Input**: {videos}; the network alone takes clips, {about['clips']}, less the mean {about['mean']}, divided "
        f"by the deviation {about['std']}",
        f"**Licence of the weights**: {licence}",
    ]
    tags = {"classes": str(len(classes)), "modality": about["modality"], "licence": licence}
    if tested:
        interval = known_intervals(tested[0])["top1"]
        tags |= {"top1": f"{tested[0].metrics().top[1]:.4f}", "top1_95": f"{interval.low:.4f} to {interval.high:.4f}"}
        tags |= {"tested_on": f"{tested[0].tested_part}, {tested[0].views}"}
    return ModelCard("\n\n".join(lines), tags)


def takes_videos(checkpoint: str, info: CheckpointInfo) -> bool:
    """Whether the pictures that it was trained on can be made of any video, as far as this version knows."""
    try:
        return extraction_of(info.recipe, info.digest, checkpoint).from_video
    except UserError:
        return True


def fusion_card(about: Mapping[str, str], classes: Sequence[str], digest: str) -> ModelCard:
    """Describe several checkpoints that are one model.

    Args:
        about: What its page in the run says of it: ``model``, ``fusion``, ``probabilities`` and so on.
        classes: Names of the classes by label.
        digest: Of checkpoints and fusion, by which it is found again.
    """
    lines = [
        f"Fusion of {about['model']} on {about['modality']}: {about['fusion']}",
        _classes(classes),
        "**Accuracy**: that of the fusion is told by kinebert fuse",
        f"**Input**: paths of videos, of which {about['test']} are scored",
        f"**Output**: {markdown(about['probabilities'])}",
    ]
    tags = {"classes": str(len(classes)), "modality": about["modality"], "fusion": digest}
    return ModelCard("\n\n".join(lines), tags)


def _classes(classes: Sequence[str]) -> str:
    named = ", ".join(markdown(name) for name in classes[:_MOST_CLASSES]) + ", ..." * (len(classes) > _MOST_CLASSES)
    return f"**Classes**: {len(classes)}: {named}"


def evaluations_of(checkpoint: str) -> list[VideoScores]:
    """Return the tables of scores of just this checkpoint that lie beside it, those on a test part first.

    Raises:
        UserError: If one is damaged.
    """
    folder, digest = checkpoint.rpartition("/")[0], checkpoint_digest(checkpoint)
    tables = [storage.join(folder, name, SCORES_FILE) for name in storage.list_folders(folder)]
    found = [read_scores(table) for table in tables if storage.exists(table)]
    mine = [scores for scores in found if scores.about.get("checkpoint") == digest]
    return sorted(mine, key=lambda scores: -_WORTH.get(str(scores.about.get("part")), 0))


def licence_of(recipe: ModelRecipe) -> str:
    """Say under which licence the weights are that a training began with, as far as the name of their file tells."""
    if not recipe.weights:
        return "trained from scratch, with no weights of others"
    name = storage.name_of(recipe.weights)
    for layout in layouts():
        if any(_is_called(recipe.weights, file.name) for file in layout.files):
            return f"begun with {name} of {layout.source}: {layout.licence}"
    return f"begun with {name}, whose licence is not known here"


def _is_called(location: str, published: str) -> bool:
    """Whether a file has a published name, in which ``<k>`` stands for a number, and folders may be parts of it."""
    pattern = re.escape(published).replace("<k>", r"\w+")
    return re.search(rf"(?:^|/){pattern}$", location) is not None


def _accuracy(scores: VideoScores) -> str:
    metrics, interval = scores.metrics(), known_intervals(scores)["top1"]
    between = percents((interval.low, interval.high))
    return (
        f"top-1 {percent(metrics.top[1])} % (95 % interval {between}) of {metrics.num_videos} videos of "
        f"{markdown(scores.tested_part)}, views {scores.views}"
    )
