"""From tables of scores to a report, in a folder and in MLflow."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from kinebert.orchestration.reports.intervals import known_intervals
from kinebert.orchestration.reports.report import Rejected, ReportData, StreamScores, write_report
from kinebert.orchestration.reports.run_files import load_history
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing import storage
from kinebert.training.evaluation.evaluate import VideoScores


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
    top1 = known_intervals(scores)["top1"]
    return StreamScores(
        name=name,
        scores=scores.scores,
        labels=scores.labels,
        digest=str(scores.about.get("shards") or ""),
        recipe=scores.about.get("recipe") or {},
        scale=scores.scale,
        temperature=scores.temperature,
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
