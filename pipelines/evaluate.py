"""Score the videos of a split with a trained recognizer.

kinebert evaluate runs/rgb/best.pt --part test --views multi
"""

import os
import shlex
import sys
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from orchestration.cluster import machine_cpus
from orchestration.options import run
from orchestration.progress import ProgressLine
from preprocessing.errors import ConfigError
from preprocessing.shardset import ShardSet
from preprocessing.storage import check_writable, join, resolve_uri


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score every video of one part of a split with a trained recognizer.

    The scores per video are kept as Parquet, for `kinebert fuse`; a report is written beside them, and the numbers go
    to the MLflow run of the training.
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """best.pt of a training (path or URI)."""
    part: str = "test"
    """Part of the split to score: train, val or test."""
    split: str | None = None
    """Name of the split; by default that of the training."""
    shards: str | None = None
    """Shard set (path or URI); by default that of the training."""
    views: Literal["single", "multi"] | None = None
    """single: the centre clip of each video; multi: the mean over all clips that fit without overlap; by default what
    the training's recipe says in test.clips."""
    output: str | None = None
    """Folder for scores.parquet and the report; by default one beside the checkpoint, named after part and views."""
    batch: int = 16
    """Clips that are fed at once."""
    device: str = "auto"
    """auto takes a GPU if there is one; or cpu, cuda, cuda:1."""
    loader_workers: int = 0
    """Processes that read clips; 0 reads them in this one."""


def main(config: EvaluateConfig) -> int:
    """Score, measure, report, and return the exit status."""
    checkpoint = resolve_uri(config.checkpoint)
    folder = checkpoint.rpartition("/")[0]
    if config.batch < 1:
        raise ConfigError(f"batch must be at least 1, got {config.batch}.")
    import torch  # slow imports, after the options are known to be right

    from orchestration import results, tracking
    from training.checkpoints import check_shards, load_recognizer
    from training.evaluate import evaluate, file_digest, recipe_of, write_scores

    device = choose_device(config.device, torch.cuda.is_available())
    recognizer, info = load_recognizer(checkpoint)
    recipe = recipe_of(checkpoint, info)
    views = config.views or recipe.test.clips
    data = replace(recipe.data, split=config.split or recipe.data.split)
    shards = ShardSet.open(resolve_uri(config.shards or data.shards))
    check_shards(checkpoint, info, shards)
    shards.select(data.split, config.part)
    stem = os.path.splitext(os.path.basename(checkpoint))[0]
    name = f"{data.split}-{config.part}-{views}" + (f"-{stem}" if stem != "best" else "")
    output = resolve_uri(config.output or join(folder, name))
    check_writable(output)
    address = tracking.RunAddress.load(folder)
    tracker = tracking.Tracker.attach(address) if address is not None else None
    line = ProgressLine()
    scores = evaluate(
        recognizer,
        shards,
        data,
        part=config.part,
        views=views,
        batch=config.batch,
        device=device,
        loader_workers=config.loader_workers,
        amp="off" if device.type == "cpu" else recipe.amp,
        num_threads=machine_cpus(),
        about={
            "checkpoint": file_digest(checkpoint),
            "run_folder": folder,
            "recipe": shards.recipe,
            "content": shards.content,
            "model": f"{recipe.model.backbone} + {recipe.model.head}",
        },
        progress=lambda done, total: line.show(lambda: f"{done}/{total} clips"),
    )
    line.close(f"{scores.num_clips.sum()} clips of {len(scores.video_ids)} videos")
    table = join(output, "scores.parquet")
    write_scores(table, scores)
    facts = {"checkpoint": checkpoint, "model": scores.about["model"], "part": f"{data.split}/{config.part}"}
    facts["views"] = "one centre clip per video" if views == "single" else "all clips without overlap"
    report = results.publish_report(
        join(output, "report"),
        results.report_data(f"{os.path.basename(folder)} on {name}", {shards.modality: scores}, facts),
        tracker,
        name,
    )
    if tracker is not None:
        numbers = scores.metrics().as_numbers()
        tracker.metrics({f"{name}/{key}": value for key, value in numbers.items()}, info.epoch)
        tracker.artifact_of(table)
        tracker.flush()
    print("\n".join([*results.accuracy_lines({shards.modality: scores}), *results.rejected_lines(scores)]))
    cautions = _cautions(scores.video_ids, shards, recipe.data, data.split, config.part, stem, recipe.test.crops)
    for note in [*scores.notes, *cautions]:
        print(f"note: {note}")
    print(f"scores: {table}")
    print(f"report: {report}")
    print(f"next: kinebert fuse {shlex.quote(table)} OTHER/scores.parquet")
    return 0


def _cautions(
    scored: list[str],
    shards: ShardSet,
    trained: "DataRecipe",  # noqa: F821 - imported late
    split: str,
    part: str,
    stem: str,
    crops: int,
) -> list[str]:
    """Say so if the accuracy is no measure of what the recognizer has not seen, or not that of the recipe's test."""
    seen = {video.video_id for video in shards.select(trained.split, trained.train_part)}
    known = len(seen.intersection(scored))
    cautions = []
    if known:
        cautions.append(f"{known} of {len(scored)} videos were learnt from ({trained.split}/{trained.train_part})")
    if (split, part) == (trained.split, trained.val_part) and stem == "best":
        cautions.append(f"{split}/{part} chose this checkpoint among the epochs; last.pt was chosen by nothing")
    if crops > 1:
        cautions.append(f"the recipe tests {crops} crops of a clip (test.crops); these scores are of the centre crop")
    return cautions


def choose_device(name: str, has_gpu: bool) -> "torch.device":  # noqa: F821 - torch is imported late
    """Return the device that ``--device`` names; ``auto`` is a GPU if there is one."""
    import torch

    try:
        device = torch.device(("cuda" if has_gpu else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices here.")
    return device


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, EvaluateConfig, args, "kinebert evaluate")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
