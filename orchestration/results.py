"""From scores to what people look at: the printed table, the report, and the numbers in MLflow."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestration.report import Rejected, ReportData, StreamScores, write_report
from orchestration.tracking import Tracker
from preprocessing import storage
from training.evaluate import VideoScores
from training.metrics import TOP

HISTORY_FILE = "history.json"
"""In the output folder of a training: one dictionary per epoch."""


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


def report_data(title: str, streams: Mapping[str, VideoScores], facts: Mapping[str, str]) -> ReportData:
    """Gather a report on streams by name; the curves come from the folders that their scores name."""
    histories = {name: load_history(str(scores.about.get("run_folder", ""))) for name, scores in streams.items()}
    return ReportData(
        title=title,
        classes=next(iter(streams.values())).classes,
        streams=[
            StreamScores(
                name=name,
                scores=scores.scores,
                labels=scores.labels,
                digest=str(scores.about.get("shards") or ""),
                recipe=scores.about.get("recipe") or {},
            )
            for name, scores in streams.items()
        ],
        histories={name: history for name, history in histories.items() if history},
        rejected=[
            Rejected(video_id=video["video_id"], stream=name, problem=video["problem"])
            for name, scores in streams.items()
            for video in scores.rejected
        ],
        facts=facts,
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
    width = max(len("stream"), *map(len, streams))
    header = ["videos", *(f"top-{k}" for k in TOP), "mean class"]
    lines = [f"{'stream':<{width}}  " + "  ".join(f"{name:>10}" for name in header)]
    for name, scores in streams.items():
        metrics = scores.metrics()
        shares = [*(metrics.top[k] for k in TOP), metrics.mean_class]
        cells = [f"{metrics.num_videos:>10}", *(f"{100 * share:>10.1f}" for share in shares)]
        lines.append(f"{name:<{width}}  " + "  ".join(cells))
    return lines


def rejected_lines(scores: VideoScores) -> list[str]:
    """Say how many videos of the part were left out at extraction, and name the first of them."""
    if not scores.rejected:
        return []
    total = len(scores.video_ids) + len(scores.rejected)
    first = "; ".join(f"{video['video_id']} ({video['problem']})" for video in scores.rejected[:3])
    return [f"{len(scores.rejected)} of {total} videos were rejected at extraction and count in no number: {first}"]
