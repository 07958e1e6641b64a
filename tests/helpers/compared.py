"""Folders of trainings that never were: a recipe, a history and scores of a wanted accuracy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from kinebert.orchestration.comparing.runs import Run
from kinebert.orchestration.reports.run_files import save_history
from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import to_plain, to_toml
from kinebert.training.evaluation.evaluate import VideoScores, write_scores
from kinebert.training.evaluation.view_scores import About
from kinebert.training.recipe.train import ProtocolRecipe, TrainRecipe
from kinebert.training.run_folder import EpochRow

PLAIN: dict[str, Any] = {
    "data": {"shards": "/sets/rgb"},
    "model": {"backbone": "resnet18", "head": "bert", "width": 0.125},
    "epochs": 6,
}


HEAD = {"model": {"backbone": "resnet18", "head": "tgap", "width": 0.125}}
MULTI_VIEWS = ProtocolRecipe(clips="multi")
MULTI = "split1-test-multi"


def make_scores(
    accuracy: float | Sequence[float],
    *,
    num_videos: int = 200,
    classes: Sequence[str] = ("open", "close", "wave", "clap"),
    part: str = "test",
    protocol: ProtocolRecipe = MULTI_VIEWS,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> VideoScores:
    """Scores whose best class is the label with the given probability (of each class, if there are several)."""
    rng = np.random.default_rng(seed)
    num = len(classes)
    labels = np.arange(num_videos) % num
    wanted = np.broadcast_to(np.asarray(accuracy), (num,))
    # the same videos are hard for everybody
    is_right = np.random.default_rng(99).random(num_videos) * 0.7 + rng.random(num_videos) * 0.3 < wanted[labels]
    taken = np.where(is_right, labels, (labels + 1 + rng.integers(0, min(3, num - 1), num_videos)) % num)
    scores = rng.normal(0, 0.6, (num_videos, num)) + 3 * np.eye(num)[taken]
    facts: dict[str, Any] = {
        "split": "split1",
        "part": part,
        "modality": "rgb",
        "shards": "aaaaaaaaaaaa",
        "content": "c0",
        "epoch": 5,
    }
    facts |= {"protocol": to_plain(protocol), "views": protocol.name, "model": "resnet18 + bert", "scale": "logits"}
    return VideoScores(
        video_ids=[f"v{i:04d}" for i in range(num_videos)],
        labels=labels,
        scores=scores.astype(np.float32),
        num_clips=np.ones(num_videos, np.int64),
        classes=list(classes),
        about=cast(About, {**facts, **(about or {})}),
    )


def make_run(folder: Path, scores: Mapping[str, VideoScores], values: Mapping[str, Any] | None = None) -> Path:
    """Write what `kinebert train` and `kinebert evaluate` leave in the folder of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = from_mapping(TrainRecipe, {**PLAIN, **(values or {})}, "test")
    (folder / "recipe.toml").write_text(to_toml(to_plain(recipe)))
    history: list[EpochRow] = [
        {
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "val_loss": 2.2 / epoch,
            "train_top1": 1 - 0.8 / epoch,
            "val_top1": 0.9 - 0.6 / epoch - 0.05 * (epoch == recipe.epochs) - recipe.seed * 0.03,
        }
        for epoch in range(1, recipe.epochs + 1)
    ]
    save_history(str(folder), history)
    for name, table in scores.items():
        (folder / name).mkdir(exist_ok=True)
        table.about["run_folder"] = str(folder)
        write_scores(str(folder / name / "scores.parquet"), table)
    return folder


def side(name: str, scores: VideoScores | None, **recipe: object) -> Run:
    """A run that is compared: its scores are those of :data:`MULTI`, its recipe's values have ``__`` for a dot."""
    tables = {} if scores is None else {MULTI: scores}
    values = {key.replace("__", "."): value for key, value in recipe.items()}
    return Run(name=name, where=f"/runs/{name}", recipe=values, tables=tables, evaluation=MULTI if tables else "")
