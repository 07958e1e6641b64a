"""From scores to what people look at: the printed table, the report, and the numbers in MLflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakKeyDictionary

from kinebert.orchestration.reports.report import Rejected, ReportData, StreamScores, write_report
from kinebert.orchestration.tracking import Tracker, code_version
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.metrics import TOP
from kinebert.training.evaluation.per_class import class_table
from kinebert.training.evaluation.significance import Interval, intervals, mean_over
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import HISTORY_FILE

_known: WeakKeyDictionary[VideoScores, dict[str, Interval]] = WeakKeyDictionary()


def _intervals(scores: VideoScores) -> dict[str, Interval]:
    """Return the intervals of a table, which several pictures and tables of a report ask for."""
    if scores not in _known:
        _known[scores] = intervals(scores)
    return _known[scores]


def save_history(folder: str, history: Sequence[Mapping[str, Any]]) -> None:
    """Keep the numbers of a training's epochs beside its checkpoint."""
    storage.write_bytes(storage.join(folder, HISTORY_FILE), (json.dumps(list(history), indent=1) + "\n").encode())


def load_history(folder: str) -> list[dict[str, Any]]:
    """Read the numbers of a training's epochs; empty if they were not kept."""
    path = storage.join(folder, HISTORY_FILE)
    if not folder or not storage.exists(path):
        return []
    history: list[dict[str, Any]] = json.loads(storage.read_bytes(path))
    return history


def epoch_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an epoch under the names that MLflow's page groups them by."""
    names = ("train_", "val_", "lr", "seconds", "clips_per_s", "data_wait", "gpu_gib", "skipped")
    return {f"epoch/{key}": value for key, value in row.items() if key.startswith(names)}


def training_tags(program: str, recipe: TrainRecipe, shards: ShardSet, folder: str) -> dict[str, str]:
    """Tags by which trainings are told apart and compared: code, data, recipe, place."""
    return {
        **code_version(program),
        "mlflow.note.content": f"{recipe.model.backbone} + {recipe.model.head} on {shards.modality}, "
        f"{recipe.data.clip_length} images, {recipe.epochs} epochs; {len(shards.classes)} classes of {shards.uri}",
        "modality": shards.modality,
        "shards_digest": shards.digest,
        "shards_content": shards.content,
        "recipe_digest": recipe.digest(),
        "run_folder": folder,
    }


def report_data(
    title: str,
    streams: Mapping[str, VideoScores],
    facts: Mapping[str, str],
    subsets: Mapping[str, VideoScores] | None = None,
) -> ReportData:
    """Gather a report on streams by name; the curves come from the folders that their scores name."""
    histories = {name: load_history(str(scores.about.get("run_folder", ""))) for name, scores in streams.items()}
    return ReportData(
        title=title,
        classes=next(iter(streams.values())).classes,
        streams=[_stream(name, scores) for name, scores in streams.items()],
        histories={name: history for name, history in histories.items() if history},
        rejected=[
            Rejected(video_id=video["video_id"], stream=name, problem=video["problem"])
            for name, scores in streams.items()
            for video in scores.rejected
        ],
        facts=facts,
        subsets=[_stream(name, scores) for name, scores in (subsets or {}).items()],
    )


def _stream(name: str, scores: VideoScores) -> StreamScores:
    top1 = _intervals(scores)["top1"]
    return StreamScores(
        name=name,
        scores=scores.scores,
        labels=scores.labels,
        digest=str(scores.about.get("shards") or ""),
        recipe=scores.about.get("recipe") or {},
        scale=scores.scale,
        interval=(top1.low, top1.high),
    )


def publish_report(folder: str, data: ReportData, tracker: Tracker | None, artifact: str) -> str:
    """Write the report into ``folder`` and, as ``artifact``, to MLflow; return its location."""
    if storage.is_local(folder):
        path = write_report(folder, data)
        if tracker is not None:
            tracker.artifact(Path(folder), artifact)
        return path
    with TemporaryDirectory(prefix="kinebert-") as local:
        write_report(local, data)
        storage.make_folder(folder)
        for file in sorted(Path(local).iterdir()):
            storage.write_bytes(storage.join(folder, file.name), file.read_bytes())
        if tracker is not None:
            tracker.artifact(Path(local), artifact)
    return storage.join(folder, "report.md")


def accuracy_lines(streams: Mapping[str, VideoScores]) -> list[str]:
    """Return the table of accuracies that programs print, in percent, one line per stream."""
    rows = []
    for name, scores in streams.items():
        metrics = scores.metrics()
        rows.append((name, str(metrics.num_videos), metrics.as_numbers(), _intervals(scores)))
    return metric_lines("stream", rows)


Numbers = Mapping[str, float]
Row = tuple[str, str, Numbers, Mapping[str, Interval]]
"""Name, how many videos, the metrics by name, and their intervals."""


def metric_lines(what: str, rows: Sequence[Row]) -> list[str]:
    """Return a table of metrics in percent, top-1 with its 95 % interval; ``what`` stands over the names."""
    width = max(len(what), *(len(row[0]) for row in rows))
    rest = [*(f"top{k}" for k in TOP[1:]), "mean_class", "ece"]
    header = ["videos", "top-1", "95 %", *(f"top-{k}" for k in TOP[1:]), "mean class", "ECE"]
    lines = [f"{what:<{width}}  " + "  ".join(f"{name:>{_width(name)}}" for name in header)]
    for name, videos, numbers, between in rows:
        top1 = between["top1"]
        cells = [videos, _percent(numbers["top1"]), f"{_percent(top1.low)} to {_percent(top1.high)}"]
        cells += [_percent(numbers[key]) if key in numbers else "–" for key in rest]
        row = "  ".join(f"{cell:>{_width(title)}}" for cell, title in zip(cells, header, strict=True))
        lines.append(f"{name:<{width}}  {row}")
    return lines


def split_lines(tables: Sequence[VideoScores]) -> list[str]:
    """Return a table with one line per split and their mean, in percent.

    Raises:
        ConfigError: If two tables are of the same part of the same split, or they were tested in different ways.
    """
    names = [f"{scores.about.get('split')}/{scores.about.get('part')}" for scores in tables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{twice[0]} was given twice; a mean over splits takes one table per split.")
    ways = {
        "views": [scores.views for scores in tables],
        "modality": [str(scores.about.get("modality")) for scores in tables],
        "method of fusion": [str(scores.about.get("method")) for scores in tables],
    }
    for key, values in ways.items():
        found = sorted(set(values))
        if len(found) > 1:
            raise ConfigError(f"the tables differ in {key} ({', '.join(found)}); their mean would say nothing.")
    rows: list[Row] = [
        (name, str(len(scores.video_ids)), scores.metrics().as_numbers(), _intervals(scores))
        for name, scores in zip(names, tables, strict=True)
    ]
    mean = mean_over(tables)
    numbers = {name: value for name, (value, _) in mean.items()}
    between = {name: interval for name, (_, interval) in mean.items()}
    total = str(sum(len(scores.video_ids) for scores in tables))
    return metric_lines("split", [*rows, ("mean", total, numbers, between)])


def _width(title: str) -> int:
    return 14 if title == "95 %" else max(6, len(title))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def write_metrics(uri: str, scores: VideoScores) -> None:
    """Write what was measured as JSON: protocol, every metric with its interval, classes and confusion."""
    metrics, between = scores.metrics(), _intervals(scores)
    numbers = {
        name: {"value": value, **(asdict(between[name]) if name in between else {})}
        for name, value in metrics.as_numbers().items()
    }
    classes = [
        {"name": row.name, "videos": row.num_videos, "right": row.num_right, "taken": row.num_taken}
        for row in class_table(metrics.confusion, scores.classes)
    ]
    plain = {
        "about": scores.about,
        "videos": metrics.num_videos,
        "rejected": scores.rejected,
        "metrics": numbers,
        "classes": classes,
        "confusion": metrics.confusion.tolist(),
    }
    with storage.explained(uri, "write the metrics"):
        storage.write_bytes(uri, (json.dumps(plain, indent=1, ensure_ascii=False) + "\n").encode())


def rejected_lines(scores: VideoScores) -> list[str]:
    """Say how many videos of the part were left out at extraction, and name the first of them."""
    if not scores.rejected:
        return []
    total = len(scores.video_ids) + len(scores.rejected)
    first = "; ".join(f"{video['video_id']} ({video['problem']})" for video in scores.rejected[:3])
    return [f"{len(scores.rejected)} of {total} videos were rejected at extraction and count in no number: {first}"]
