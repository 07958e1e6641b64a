"""The report of an evaluation: ``report.md`` and its pictures. The same values give the same bytes.

Axes: V videos, M clips, K classes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.orchestration.reports.drawing import to_png
from kinebert.orchestration.reports.figures import (
    History,
    draw_confusion,
    draw_curves,
    draw_per_class,
)
from kinebert.orchestration.reports.formatting import UNKNOWN, percent, percents
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import flatten
from kinebert.preprocessing.plain_text import markdown
from kinebert.training.evaluation.metrics import Metrics, measure, telling_tops
from kinebert.training.evaluation.per_class import class_table, most_confused
from kinebert.training.run_folder import best_epoch

REPORT_FILE = "report.md"
MOST_PAIRS = 10
MOST_REJECTED = 200
"""Rejected videos that are listed by name; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class StreamScores:
    """What one stream, or their fusion, says about the videos."""

    name: str
    """``rgb``, ``flow``, ``fused`` or another word."""
    scores: NDArray[np.floating]
    """``(V, K)``, one row per video: the mean over its clips, or the fused scores."""
    labels: NDArray[np.integer]
    """``(V,)``"""
    digest: str = ""
    """Digest of the shard set's recipe; empty for fused scores."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The shard set's recipe."""
    scale: str = "logits"
    """What the scores are, see :func:`kinebert.training.evaluation.metrics.confidences`."""
    temperature: float | None = None
    """What scores are divided by before their softmax gives probabilities, where it is not 1."""
    interval: tuple[float, float] | None = None
    """Where top-1 lies with 95 % confidence, as shares; None where nobody asked."""

    def metrics(self) -> Metrics:
        """Measure the scores against the labels."""
        return measure(self.scores, self.labels, self.scale, self.temperature)


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A video that was left out at extraction, and counts in no number of a report."""

    video_id: str
    stream: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that a report of an evaluation says."""

    title: str
    classes: Sequence[str]
    """Names by label."""
    streams: Sequence[StreamScores]
    """In the order of the tables; the last one (the fused one) leads the per-class picture."""
    histories: Mapping[str, History] = field(default_factory=dict)
    """Per trained stream one dictionary per epoch, see :data:`kinebert.orchestration.reports.figures.History`."""
    rejected: Sequence[Rejected] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """Further lines at the top by name: split, views, command, commit."""
    subsets: Sequence[StreamScores] = ()
    """Fusions of some of the streams, for a table of their accuracies."""

    def __post_init__(self) -> None:
        files = [_confusion_file(stream.name) for stream in self.streams]
        if not files or len(set(files)) < len(files):
            raise ValueError(f"streams need one name each, got {[stream.name for stream in self.streams]}")


def write_report(folder: str, data: ReportData) -> str:
    """Write the pictures and then ``report.md`` into ``folder``, which is made, and return the report's location.

    Raises:
        UserError: If the folder cannot be written.
    """
    with storage.explained(folder, "write the report"):
        storage.make_folder(folder)
        for name, picture in draw_pictures(data).items():
            storage.write_bytes(storage.join(folder, name), picture)
        path = storage.join(folder, REPORT_FILE)
        storage.write_bytes(path, render_report(data).encode())
    return path


def draw_pictures(data: ReportData) -> dict[str, bytes]:
    """Return the pictures of a report as PNG files by name."""
    measured = {stream.name: stream.metrics() for stream in data.streams}
    pictures = {}
    if _with_epochs(data):
        pictures["curves.png"] = to_png(draw_curves(_with_epochs(data)))
    per_class = {name: metrics.per_class for name, metrics in measured.items()}
    pictures["per-class.png"] = to_png(draw_per_class(per_class, data.classes))
    for name, metrics in measured.items():
        title = f"{name}: confusion ({metrics.num_videos} videos, {metrics.top[1]:.1%} right)"
        pictures[_confusion_file(name)] = to_png(draw_confusion(metrics.confusion, data.classes, title))
    return pictures


def render_report(data: ReportData) -> str:
    """Return a report as Markdown, the text of ``report.md``."""
    measured = {stream.name: stream.metrics() for stream in data.streams}
    parts = [f"# {markdown(data.title)}"]
    if data.facts:
        parts.append("\n".join(f"- {markdown(name)}: {markdown(value)}" for name, value in data.facts.items()))
    parts += ["## Accuracy", _accuracy_table(data, measured)]
    if data.subsets:
        parts += ["## Every subset of the streams", _subset_table(data.subsets)]
    parts += _curves(data)
    parts += ["## Classes", "![accuracy per class](per-class.png)", _class_table(data, measured)]
    parts.append("## Confusion")
    for name, metrics in measured.items():
        shown = markdown(name)
        parts += [f"### {shown}", f"![confusion of {shown}]({_confusion_file(name)})", _pairs(data, metrics)]
    parts += ["## Rejected videos", _rejected(data), "## Shard sets", _recipes(data)]
    return "\n\n".join(parts) + "\n"


def _accuracy_table(data: ReportData, measured: Mapping[str, Metrics]) -> str:
    rows = [_accuracies(stream, measured[stream.name]) for stream in data.streams]
    num = len(data.classes)
    label, share = next(iter(measured.values())).majority
    chance = (
        f"\n\nAll in percent; 95 %: where top-1 lies if other videos of the same kind were drawn (bootstrap); ECE: "
        f"expected calibration error. Guessing gives {percent(1 / num)} top-1. Always answering "
        f"{markdown(data.classes[label])}, the majority class, gives {percent(share)}."
    )
    return _table(_accuracy_header(num), rows, text=1) + chance


def _subset_table(subsets: Sequence[StreamScores]) -> str:
    rows = [_accuracies(stream, stream.metrics()) for stream in subsets]
    return _table(_accuracy_header(subsets[0].scores.shape[1]), rows, text=1)


def _accuracy_header(num_classes: int) -> list[str]:
    further = [f"top-{k}" for k in telling_tops(num_classes)[1:]]
    return ["stream", "videos", "top-1", "95 %", "majority", *further, "mean class", "ECE"]


def _accuracies(stream: StreamScores, metrics: Metrics) -> list[str]:
    further = telling_tops(len(metrics.per_class))[1:]
    shares = [metrics.majority[1], *(metrics.top[k] for k in further), metrics.mean_class, metrics.ece]
    between = UNKNOWN if stream.interval is None else percents(stream.interval)
    return [stream.name, str(metrics.num_videos), percent(metrics.top[1]), between, *map(percent, shares)]


def _curves(data: ReportData) -> list[str]:
    histories = _with_epochs(data)
    if not histories:
        return []
    lines = []
    for name, history in histories.items():
        best = best_epoch(history)
        said = f", best validation top-1 {percent(best['val_top1'])} % in epoch {best['epoch']}" if best else ""
        lines.append(f"- {markdown(name)}: {len(history)} epochs{said}")
    return ["## Training", "![loss and accuracy by epoch](curves.png)", "\n".join(lines)]


def _with_epochs(data: ReportData) -> dict[str, History]:
    return {name: history for name, history in data.histories.items() if history}


def _class_table(data: ReportData, measured: Mapping[str, Metrics]) -> str:
    tables = {name: class_table(metrics.confusion, data.classes) for name, metrics in measured.items()}
    rows = [
        [
            name,
            *(f"{percent(rows[k].accuracy)} ({rows[k].num_right}/{rows[k].num_videos})" for rows in tables.values()),
        ]
        for k, name in enumerate(data.classes)
    ]
    return _table(["class", *tables], rows, text=1) + "\n\nPercent right (right / videos of the class)."


def _pairs(data: ReportData, metrics: Metrics) -> str:
    pairs = most_confused(metrics.confusion, data.classes, MOST_PAIRS)
    if not pairs:
        return "No video was taken for another class."
    rows = [[pair.name, pair.taken_for, pair.num, percent(pair.share)] for pair in pairs]
    return _table(["class", "taken for", "videos", "% of the class"], rows, text=2)


def _rejected(data: ReportData) -> str:
    if not data.rejected:
        return "None."
    counts = {name: sum(video.stream == name for video in data.rejected) for name in _streams_of(data.rejected)}
    told = ", ".join(f"{count} of {name}" for name, count in counts.items())
    rows = [[video.stream, video.video_id, video.problem] for video in data.rejected[:MOST_REJECTED]]
    more = len(data.rejected) - len(rows)
    rest = f"\n\nand {more} more." if more else ""
    table = _table(["stream", "video", "problem"], rows, text=3)
    return f"{markdown(told)}. They are in no number above.\n\n{table}{rest}"


def _streams_of(rejected: Sequence[Rejected]) -> list[str]:
    return sorted({video.stream for video in rejected})


def _recipes(data: ReportData) -> str:
    rows = [
        [
            stream.name,
            stream.digest,
            ", ".join(f"{key} {value}" for key, value in sorted(flatten(stream.recipe).items())),
        ]
        for stream in data.streams
        if stream.digest
    ]
    return _table(["stream", "digest", "recipe"], rows, text=3) if rows else "Not recorded."


def _table(header: Sequence[str], rows: Sequence[Sequence[object]], text: int) -> str:
    """Return a Markdown table whose first ``text`` columns are words, and the others numbers."""
    rule = [":---" if i < text else "---:" for i in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(markdown(str(value)) for value in line) + " |" for line in lines)


def _confusion_file(name: str) -> str:
    return f"confusion-{re.sub('[^A-Za-z0-9]+', '-', name)}.png"
