"""Accuracies as programs print them, in percent."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from kinebert.orchestration.printing import Table
from kinebert.orchestration.reports.formatting import UNKNOWN, percent, percents
from kinebert.orchestration.reports.intervals import known_intervals
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.metrics import telling_tops
from kinebert.training.evaluation.significance import Interval, mean_over


def accuracy_table(streams: Mapping[str, VideoScores]) -> Table:
    """Return the table of accuracies that programs print, in percent, one line per stream."""
    rows: list[AccuracyRow] = []
    for name, scores in streams.items():
        metrics = scores.metrics()
        between = known_intervals(scores)
        rows.append((name, str(metrics.num_videos), metrics.as_numbers(), between, metrics.majority[1]))
    return metric_table("stream", rows, max(len(scores.classes) for scores in streams.values()))


AccuracyRow = tuple[str, str, Mapping[str, float], Mapping[str, Interval], float]
"""Name, how many videos, the metrics by name, their intervals, and the share of the class with the most videos."""


def metric_table(what: str, rows: Sequence[AccuracyRow], num_classes: int) -> Table:
    """Return a table of metrics in percent; ``what`` stands over the names.

    Beside top-1 stand its 95 % interval and the majority class's share, which always answering that class gives; then
    further top-k of so many classes, if there are any that can be missed.
    """
    further = telling_tops(num_classes)[1:]
    rest = [*(f"top{k}" for k in further), "mean_class", "ece"]
    header = ["videos", "top-1", "95 %", "majority", *(f"top-{k}" for k in further), "mean class", "ECE"]
    lines = []
    for name, videos, numbers, between, majority in rows:
        top1 = between["top1"]
        cells = [videos, percent(numbers["top1"]), percents((top1.low, top1.high)), percent(majority)]
        cells += [percent(numbers[key]) if key in numbers else UNKNOWN for key in rest]
        lines.append([name, *cells])
    return Table(header=[what, *header], rows=lines)


def split_table(tables: Sequence[VideoScores]) -> Table:
    """Return a table with one line per split and their mean, in percent.

    Raises:
        ConfigError: If two tables are of the same part of the same split, or they were tested in different ways.
    """
    names = [scores.tested_part for scores in tables]
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
    rows: list[AccuracyRow] = []
    for name, scores in zip(names, tables, strict=True):
        metrics, known = scores.metrics(), known_intervals(scores)
        rows.append((name, str(metrics.num_videos), metrics.as_numbers(), known, metrics.majority[1]))
    mean = mean_over(tables)
    numbers = {name: value for name, (value, _) in mean.items()}
    between = {name: interval for name, (_, interval) in mean.items()}
    total = str(sum(len(scores.video_ids) for scores in tables))
    majority = fmean(row[-1] for row in rows)
    return metric_table("split", [*rows, ("mean", total, numbers, between, majority)], len(tables[0].classes))


def rejected_lines(scores: VideoScores) -> list[str]:
    """Say how many videos of the part were left out at extraction, and name the first of them."""
    if not scores.rejected:
        return []
    total = len(scores.video_ids) + len(scores.rejected)
    first = "; ".join(f"{video['video_id']} ({video['problem']})" for video in scores.rejected[:3])
    return [f"{len(scores.rejected)} of {total} videos were rejected at extraction and count in no number: {first}"]
