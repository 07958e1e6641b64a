"""Score the videos of a split with a trained recognizer.

kinebert evaluate runs/rgb/best.pt --part test --views multi
"""

import math
import shlex
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from kinebert.orchestration.cluster import check_workers
from kinebert.orchestration.progress import ProgressLine
from kinebert.pipelines.options import run
from kinebert.pipelines.views import ViewOptions
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.storage import check_writable, join, name_of, resolve_uri
from kinebert.training.run_folder import (
    BEST_FILE,
    LAST_FILE,
    METRICS_FILE,
    REPORT_FOLDER,
    SCORES_FILE,
    VIEWS_FILE,
    checkpoint_digest,
    evaluation_name,
)

if TYPE_CHECKING:
    import torch

    from kinebert.training.evaluation.evaluate import VideoScores, ViewScores
    from kinebert.training.models import Recognizer
    from kinebert.training.recipe.protocol import ProtocolRecipe
    from kinebert.training.recipe.train import DataRecipe, TrainRecipe


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ViewOptions):
    """Score every video of one part of a split with a trained recognizer.

    The scores of every view are kept as Parquet, for `kinebert average`, and those per video for `kinebert fuse`; a
    report is written beside them, and the numbers go to the MLflow run of the training. Several checkpoints, one per
    official split, end in the mean over the splits.
    """

    checkpoints: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="CHECKPOINT...")]
    """best.pt of a training (path or URI), or of one training per split."""
    part: str = "test"
    """Part of the split to score: train, val or test."""
    split: str | None = None
    """Name of the split; by default that of the training."""
    shards: str | None = None
    """Shard set (path or URI); by default that of the training."""
    output: str | None = None
    """Folder for the scores and the report, of one checkpoint; by default one beside the checkpoint, named after split,
    part and views."""
    batch: int = 16
    """Views that are fed at once."""
    device: str = "auto"
    """auto takes a GPU if there is one; or cpu, cuda, cuda:1."""
    workers: int = 1
    """Processes that score, placed by Ray, with a GPU each where there are some; 1 scores in this one."""
    loader_workers: int = 0
    """Processes per worker that read clips; 0 reads them in the worker."""
    save_every_s: float = 60.0
    """Seconds between saves of what was scored; the same command goes on from the last one."""


@dataclass(frozen=True)
class _Trained:
    """A checkpoint, checked against what it is to score."""

    uri: str
    recognizer: "Recognizer"
    epoch: int
    recipe: "TrainRecipe"
    data: "DataRecipe"
    protocol: "ProtocolRecipe"
    shards: ShardSet

    @property
    def folder(self) -> str:
        return self.uri.rpartition("/")[0]

    def result_name(self, part: str) -> str:
        """What the results are called: split, part, views, and the file if it is not the best one."""
        return evaluation_name(self.data.split, part, self.protocol.name, self.uri)


def main(config: EvaluateConfig) -> int:
    """Score, measure, report, and return the exit status."""
    if config.batch < 1:
        raise ConfigError(f"batch must be at least 1, got {config.batch}.")
    if not 0 <= config.save_every_s < math.inf:
        raise ConfigError(f"save_every_s must be a number of seconds from 0, got {config.save_every_s}.")
    if not config.checkpoints:
        raise ConfigError("give the checkpoint of a training, such as runs/rgb/best.pt.")
    if config.output is not None and len(config.checkpoints) > 1:
        raise ConfigError("--output is for one checkpoint; several keep their scores beside themselves.")
    check_workers(config.workers, "workers")
    if config.workers > 1 and config.device not in ("auto", "cpu"):
        raise ConfigError("workers choose their own GPUs: with --workers, device is auto or cpu.")
    from kinebert.training.numerics import choose_device  # slow imports, after the options are known to be right

    device = choose_device(config.device)
    trained = [_open(resolve_uri(path), config) for path in config.checkpoints]  # all mistakes before the first score
    outputs = [resolve_uri(config.output or join(one.folder, one.result_name(config.part))) for one in trained]
    for output in outputs:
        check_writable(output)
    tables = {}
    for one, output in zip(trained, outputs, strict=True):
        tables[output] = _evaluate(one, output, config, device)
    if len(tables) > 1:
        from kinebert.orchestration.reports import accuracies

        print("\n".join(accuracies.split_lines(list(tables.values()))))
    tables_given = " ".join(shlex.quote(join(output, SCORES_FILE)) for output in outputs)
    print(f"next: kinebert fuse {tables_given} OTHER/{SCORES_FILE}" if len(outputs) == 1 else f"scores: {tables_given}")
    return 0


def _open(uri: str, config: EvaluateConfig) -> _Trained:
    from kinebert.training.checkpoints.recognizer import check_shards, load_recognizer
    from kinebert.training.evaluation.evaluate import recipe_of

    recognizer, info = load_recognizer(uri)
    recipe = recipe_of(uri, info)
    protocol = config.over(recipe.test)
    data = replace(recipe.data, split=config.split or recipe.data.split)
    protocol.check_sampling(data.sampling)
    shards = ShardSet.open(resolve_uri(config.shards or data.shards))
    check_shards(uri, info, shards)
    shards.select(data.split, config.part)
    return _Trained(uri, recognizer, info.epoch, recipe, data, protocol, shards)


def _evaluate(one: _Trained, output: str, config: EvaluateConfig, device: "torch.device") -> "VideoScores":
    """Score, write, report and print one checkpoint."""
    from kinebert.orchestration import tracking
    from kinebert.orchestration.reports import accuracies, metrics_file, publishing
    from kinebert.training.evaluation.evaluate import average, clip_level, write_scores
    from kinebert.training.evaluation.resume import forget
    from kinebert.training.evaluation.view_scores import write_views

    name = one.result_name(config.part)
    address = tracking.RunAddress.load(one.folder)
    tracker = tracking.Tracker.attach(address) if address is not None else None
    views = _score(one, output, config, device)
    scores, by_clip = average(views), clip_level(views)
    table = join(output, SCORES_FILE)
    write_views(join(output, VIEWS_FILE), views)
    write_scores(table, scores)
    metrics_file.write_metrics(join(output, METRICS_FILE), scores)
    forget(output)
    facts = {"checkpoint": one.uri, "model": scores.about["model"], "part": f"{one.data.split}/{config.part}"}
    facts["views"] = one.protocol.describe()
    report = publishing.publish_report(
        join(output, REPORT_FOLDER),
        publishing.report_data(f"{name_of(one.folder)} on {name}", {one.shards.modality: scores}, facts),
        tracker,
        name,
    )
    if tracker is not None:
        numbers = {**scores.metrics().as_numbers(), "clip_top1": by_clip.top[1]}
        tracker.metrics({f"{name}/{key}": value for key, value in numbers.items()}, one.epoch)
        tracker.artifact_of(table, name)
        tracker.dataset(one.shards, {"evaluation": f"{one.data.split}/{config.part}"})
        tracker.deliver()
    print("\n".join([*accuracies.accuracy_lines({one.shards.modality: scores}), *accuracies.rejected_lines(scores)]))
    print(f"views: {one.protocol.describe()}")
    if by_clip.num_videos > len(scores.video_ids):
        print(f"each clip by itself: top-1 {by_clip.top[1]:.1%} of {by_clip.num_videos} clips")
    for note in [*scores.notes, *_cautions(one, scores, config.part)]:
        print(f"note: {note}")
    print(f"scores: {table}")
    print(f"report: {report}")
    return scores


def _score(one: _Trained, output: str, config: EvaluateConfig, device: "torch.device") -> "ViewScores":
    """Run the recognizer over every view, in this process or in workers, and go on if that was begun before."""
    from contextlib import nullcontext

    from kinebert.orchestration.jobs.scoring import ScoringJob, workers_for
    from kinebert.training.data.dataset import check_videos
    from kinebert.training.evaluation.evaluate import score_views
    from kinebert.training.evaluation.resume import keeping
    from kinebert.training.evaluation.scorer import Scorer
    from kinebert.training.out_of_memory import LOWER_BATCH, memory_explained

    videos, notes = check_videos(one.shards, one.data, config.part)
    if config.workers > 1:
        job = ScoringJob(
            checkpoint=one.uri,
            shards=one.shards.uri,
            data=one.data,
            part=config.part,
            protocol=one.protocol,
            amp=one.recipe.amp,
            loader_workers=config.loader_workers,
        )
        scoring: Any = workers_for(job, config.workers, use_gpus=config.device == "auto")
    else:
        scorer = Scorer(
            one.recognizer,
            one.shards,
            videos,
            one.data,
            one.protocol,
            device=device,
            loader_workers=config.loader_workers,
            amp=one.recipe.amp,
            num_threads=available_cores(),
        )
        scoring = nullcontext(scorer)
    line = ProgressLine()
    checkpoint = checkpoint_digest(one.uri)
    identity = {
        "checkpoint": checkpoint,
        "shards": [one.shards.digest, one.shards.content],
        "data": to_plain(one.data),
        "protocol": to_plain(one.protocol),
        "part": config.part,
        "amp": one.recipe.amp,
        "device": device.type if config.workers == 1 else f"workers, {config.device}",
    }
    with scoring as score, memory_explained(LOWER_BATCH):
        views = score_views(
            one.shards,
            videos,
            one.data,
            one.protocol,
            keeping(score, output, identity, config.save_every_s, _tell_of_earlier),
            part=config.part,
            batch=config.batch,
            notes=notes,
            about={
                "checkpoint": checkpoint,
                "run_folder": one.folder,
                "recipe": one.shards.recipe,
                "model": f"{one.recipe.model.backbone} + {one.recipe.model.head}",
                "epoch": one.epoch,
            },
            progress=lambda done, total: line.show(lambda: f"{done}/{total} views"),
        )
    line.close(f"{len(views.videos)} views of {len(views.video_ids)} videos")
    return views


def _tell_of_earlier(num_views: int) -> None:
    print(f"note: {num_views} views were scored before; going on", flush=True)


def _cautions(one: _Trained, scores: "VideoScores", part: str) -> list[str]:
    """Say so if the accuracy is no measure of what the recognizer has not seen."""
    trained, split = one.recipe.data, one.data.split
    seen = {video.video_id for video in one.shards.select(trained.split, trained.train_part)}
    known = len(seen.intersection(scores.video_ids))
    cautions = []
    if known:
        cautions.append(
            f"{known} of {len(scores.video_ids)} videos were learnt from ({trained.split}/{trained.train_part})"
        )
    if (split, part) == (trained.split, trained.val_part) and name_of(one.uri) == BEST_FILE:
        cautions.append(f"{split}/{part} chose this checkpoint among the epochs; {LAST_FILE} was chosen by nothing")
    return cautions


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, EvaluateConfig, args, "kinebert evaluate")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
