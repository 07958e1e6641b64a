"""What lies in the folder of a training: the names of its files, of its evaluations, and which epoch is its best."""

import os
import re
from collections.abc import Iterable
from typing import Required, TypedDict, TypeVar

from kinebert.preprocessing import storage

BEST_FILE = "best.pt"
"""The recognizer of the best epoch."""
LAST_FILE = "last.pt"
"""The recognizer of the last epoch, which no measurement has chosen."""
STATE_FILE = "state.pt"
"""What a restart goes on from."""
BEFORE_FILE = "state-before.pt"
"""The state that was saved before the last one."""
DAMAGED_FILE = "state-damaged.pt"
"""A state that could not be read, put aside for whoever wants to know."""
STATE_FILES = (STATE_FILE, BEFORE_FILE, DAMAGED_FILE)
RECIPE_FILE = "recipe.toml"
"""All settings of the training, defaults included."""
HISTORY_FILE = "history.json"
"""One dictionary per epoch."""
SCORES_FILE = "scores.parquet"
"""In the folder of an evaluation: scores of videos."""
VIEWS_FILE = "views.parquet"
"""In the folder of an evaluation: scores of every view."""
SCRATCH_FOLDER = ".ray"
"""What Ray writes, which nobody needs afterwards."""
METRICS_FILE = "metrics.json"
"""In the folder of an evaluation: what was measured, and how."""
STREAMS_FOLDER = "streams"
"""In the folder of a fusion, and with its MLflow run: a folder for each stream, with its training's recipe."""
REPORT_FOLDER = "report"
"""In the folder of a training or an evaluation: figures and tables for people."""


_EPOCH_FILE = re.compile(r"epoch-\d{4,}\.pt")


class EpochRow(TypedDict, total=False):
    """Numbers of an epoch, as ``history.json``, saved states and MLflow keep them; old ones lack some.

    An optimizer may add numbers of its own, under further names.
    """

    epoch: Required[int]
    """From 1."""
    train_loss: float
    """Mean over the clips that were learnt from, each before the update that it had a part in."""
    train_loss_labels: float
    """The part of train_loss that is the labels', where there is a teacher as well."""
    train_loss_distill: float
    """The part of train_loss that is the teacher's, weighted."""
    train_top1: float
    """Share of these clips that were right, 0 to 1, as all accuracies."""
    val_loss: float
    """Mean over the validation's videos."""
    val_top1: float
    val_top3: float
    val_top5: float
    val_mean_class: float
    """Mean over classes of the share that is right."""
    val_ece: float
    """Expected calibration error, 0 to 1."""
    lr: float
    """Learning rate of the last update."""
    skipped: int
    """Updates that were left out."""
    clips_per_s: float
    """In training, over all workers."""
    seconds: float
    """With validation."""


EpochT = TypeVar("EpochT", bound=EpochRow)


def checkpoint_digest(uri: str) -> str:
    """Return twelve characters that change with any byte of the checkpoint at ``uri``; evaluations are known by them.

    Raises:
        UserError: If it cannot be read.
    """
    with storage.explained(uri, "read this file"):
        return storage.file_digest(uri)[:12]


def epoch_file(epoch: int) -> str:
    """Return the name under which the recognizer of one of the best epochs (from 1) is kept."""
    return f"epoch-{epoch:04d}.pt"


def kept_recognizers(folder: str, best: str) -> list[str]:
    """Return the recognizers that a training has kept, by path or URI: ``best``, the last one, those of best epochs."""
    names = [LAST_FILE, *sorted(name for name in storage.list_files(folder) if _EPOCH_FILE.fullmatch(name))]
    return [best, *(path for name in names if storage.exists(path := storage.join(folder, name)))]


def stage_file(name: str, number: int) -> str:
    """Return the name under which a stage before the last one (``number`` from 0) keeps its file ``name``."""
    return f"stage{number + 1}_{name}"


def evaluation_name(split: str, part: str, views: str, checkpoint: str = BEST_FILE) -> str:
    """Return what an evaluation is called, and its folder: ``split1-test-multi``, ``split1-test-multi-last``.

    Args:
        split: Name of the split; a slash in it becomes ``_``.
        part: ``train``, ``val`` or ``test``.
        views: :attr:`.ProtocolRecipe.name` of what was scored.
        checkpoint: File (or its path or URI) that was evaluated; its stem is told unless it is the best one's.
    """
    stem = os.path.splitext(checkpoint.rpartition("/")[2])[0]
    name = f"{split.replace('/', '_')}-{part}-{views}"
    return name if stem == os.path.splitext(BEST_FILE)[0] else f"{name}-{stem}"


def rank(row: EpochRow) -> tuple[float, float]:
    """Return a key that is larger for the better of two epochs: a higher validation top-1, then a lower loss."""
    return row["val_top1"], -row.get("val_loss", 0.0)


def best_epoch(history: Iterable[EpochT]) -> EpochT | None:
    """Return the epoch whose weights training keeps, the first of equal ones; None if none was validated."""
    return max((row for row in history if row.get("val_top1") is not None), key=rank, default=None)


def number_of(row: EpochRow, name: str) -> float | None:
    """Return a number of an epoch by its name; None if it is not known."""
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else None
