"""A comparison as text for the terminal and as CSV files."""

from collections.abc import Iterable, Sequence

from kinebert.orchestration.comparing.verdict import Standing, Verdict, class_changes, pair_changes, shared_evaluations
from kinebert.orchestration.printing import Table
from kinebert.orchestration.reports.accuracies import metric_table
from kinebert.orchestration.reports.formatting import between_points, cut_middle, p_text, points
from kinebert.preprocessing.plain_text import csv_text
from kinebert.training.evaluation.significance import ALPHA, Comparison

METRICS = ("top1", "top3", "top5", "mean_class", "ece")
LONGEST = 36
"""Characters of a value that the terminal shows."""
MOST_LINES = 24


def terminal(verdict: Verdict) -> list[str | Table]:
    """Return what is printed of a comparison: lines of text and tables."""
    lines: list[str | Table] = ["what differs:", *_differences(verdict)]
    if verdict.standings:
        rows = []
        for one in verdict.standings:
            found = one.metrics
            rows.append((one.run.name, str(found.num_videos), found.as_numbers(), one.intervals, found.majority[1]))
        most = max(len(one.scores.classes) for one in verdict.standings)
        lines += ["", metric_table("run, best first" if verdict.ranked else "run", rows, most)]
    if verdict.ranked:
        lines += ["", *(sentence(verdict, other) for other in verdict.others)]
        if len(verdict.pairs) > 1:
            lines.append(f"(p-values allow for {len(verdict.pairs)} comparisons: Holm)")
        for other in verdict.others:
            changed = changed_most(verdict.baseline, other)
            if changed:
                lines.append(f"{other.run.name} - {verdict.baseline.run.name}, classes that change most: {changed}")
    for obstacle in verdict.obstacles:
        lines.append(f"{'ranked all the same' if verdict.ranked else 'not ranked'}: {obstacle}")
    if verdict.obstacles and not verdict.ranked:
        lines += [f"--on {name} ranks {' and '.join(of)}" for name, of in shared_evaluations(verdict.runs).items()]
        lines.append("--anyway ranks all the same")
    return [*lines, *(f"note: {note}" for note in verdict.notes)]


def sentence(verdict: Verdict, other: Standing) -> str:
    """Say how a run differs from the baseline, with the p-value that allows for all pairs."""
    first, second = verdict.baseline.run.name, other.run.name
    found = verdict.pairs[first, second]
    top1, p_value = found.differences["top1"], verdict.p_values[first, second]
    difference, between = points(top1.second - top1.first), between_points((top1.interval.low, top1.interval.high))
    return (
        f"{second} - {first}: {difference} points of top-1 (95 %: {between}); only {second} is right "
        f"in {found.only_second}, only {first} in {found.only_first}: p = {p_text(p_value)}, {verdict_of(p_value)}"
    )


def verdict_of(p_value: float) -> str:
    """Say in one or two words whether a p-value is significant."""
    return "significant" if p_value < ALPHA else "not significant"


def changed_most(before: Standing, after: Standing, most: int = 3) -> str:
    """Name the classes with the largest changes of either sign, and say of each whether chance explains it."""
    changes = [change for change in class_changes(before, after) if change.change]
    changes.sort(key=lambda change: -abs(change.change))
    told = [f"{change.name} {points(change.change)} ({verdict_of(change.p_value)})" for change in changes[:most]]
    return ", ".join(told)


def csv_files(verdict: Verdict) -> dict[str, str]:
    """Return the CSV files of a comparison by name; shares are from 0 to 1."""
    files = {
        "runs.csv": csv_text(_run_rows(verdict)),
        "differences.csv": csv_text(
            [
                ["kind", "name", *(run.name for run in verdict.runs)],
                *([line.kind, line.name, *line.values] for line in verdict.differences),
            ]
        ),
    }
    if verdict.ranked:
        files["pairs.csv"] = csv_text(_pair_rows(verdict))
        files["classes.csv"] = csv_text(_class_rows(verdict))
        files["confusions.csv"] = csv_text(_confusion_rows(verdict))
    return files


def _run_rows(verdict: Verdict) -> Iterable[Sequence[object]]:
    ends = [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    yield ["run", "where", "rank", "evaluation", "videos", *ends, "best_val_top1", "majority"]
    tops = [standing.metrics.top[1] for standing in verdict.standings]
    ranks = {one.run.name: 1 + sum(top > one.metrics.top[1] for top in tops) for one in verdict.standings}
    named = {standing.run.name: standing for standing in verdict.standings}
    for run in verdict.runs:
        cells: list[object] = [run.name, run.where, ranks.get(run.name, "") if verdict.ranked else "", run.evaluation]
        standing = named.get(run.name)
        if standing is None:
            cells += [""] * (1 + len(ends))
        else:
            numbers = standing.metrics.as_numbers()
            cells.append(standing.metrics.num_videos)
            for name in METRICS:
                between = standing.intervals.get(name)
                ends_of = ("", "") if between is None else (between.low, between.high)
                cells += [numbers.get(name, ""), *ends_of]
        best = max((row["val_top1"] for row in run.history if row.get("val_top1") is not None), default="")
        yield [*cells, best, "" if standing is None else standing.metrics.majority[1]]


def _pair_rows(verdict: Verdict) -> Iterable[Sequence[object]]:
    names = list(next(iter(verdict.pairs.values())).differences)
    columns = [f"{name}{end}" for name in names for end in ("", "_low", "_high", "_p_bootstrap")]
    yield ["first", "second", "videos", "only_first", "only_second", "p_mcnemar", "p_holm", *columns, "verdict"]
    for pair, found in verdict.pairs.items():
        cells = [found.num_videos, found.only_first, found.only_second, found.p_value, verdict.p_values[pair]]
        differences = [cell for name in names for cell in _difference(found, name)]
        yield [*pair, *cells, *differences, verdict_of(verdict.p_values[pair])]


def _difference(found: Comparison, name: str) -> list[object]:
    if name not in found.differences:
        return [""] * 4
    one = found.differences[name]
    return [one.second - one.first, one.interval.low, one.interval.high, one.p_value]


def _class_rows(verdict: Verdict) -> Iterable[Sequence[object]]:
    counts = ["before", "after", "change", "only_before", "only_after"]
    yield ["class", "videos", "baseline", "run", *counts, "p_holm", "verdict"]
    for other in verdict.others:
        for row in class_changes(verdict.baseline, other):
            names = [row.name, row.num_videos, verdict.baseline.run.name, other.run.name]
            cells = [row.before, row.after, row.change, row.only_before, row.only_after, row.p_value]
            yield [*names, *cells, verdict_of(row.p_value)]


def _confusion_rows(verdict: Verdict) -> Iterable[Sequence[object]]:
    yield ["class", "taken_for", "baseline", "run", "before", "after", "p_holm", "verdict"]
    for other in verdict.others:
        for row in pair_changes(verdict.baseline, other):
            names = [row.name, row.taken_for, verdict.baseline.run.name, other.run.name]
            yield [*names, row.before, row.after, row.p_value, verdict_of(row.p_value)]


def _differences(verdict: Verdict) -> list[str | Table]:
    if not verdict.differences:
        return ["  nothing that was kept"]
    header = ["", *(_short(run.name) for run in verdict.runs)]
    rows = [[line.name, *map(_short, line.values)] for line in verdict.differences]
    if len(verdict.runs) > 4:  # no terminal is wide enough
        counted = [f"  {line.name}: {_counted(line.values)}" for line in verdict.differences[:MOST_LINES]]
        return [*counted, *_more(verdict)]
    return [Table(header=header, rows=rows[:MOST_LINES], align="l" * len(header), indent=2), *_more(verdict)]


def _more(verdict: Verdict) -> list[str]:
    more = len(verdict.differences) - MOST_LINES
    hidden = [f"  and {more} more, see differences.csv"] if more > 0 else []
    return [*hidden, f"  ({verdict.num_same} values of the recipes are the same)"]


def _counted(values: Sequence[str]) -> str:
    counts = {value: values.count(value) for value in dict.fromkeys(values)}
    if len(counts) > 5:
        return f"{len(counts)} values"
    return ", ".join(f"{_short(value)} ({count})" for value, count in counts.items())


def _short(text: str) -> str:
    return cut_middle(text, LONGEST)
