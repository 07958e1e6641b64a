"""Pictures of a search: which values came to what (parallel coordinates), and how its trials learnt.

Like those of a report they are drawn without pyplot, and the same values give the same bytes.
"""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kinebert.orchestration.reports.drawing import FAINT, INK, new_figure, style
from kinebert.orchestration.reports.formatting import cut_end, value_text
from kinebert.orchestration.search.records import Record, TrialEpoch, ranking
from kinebert.orchestration.search.space import Dimension, Numbers, Options, Space
from kinebert.preprocessing.plain_text import visible
from kinebert.training.recipe.tune import TuneRecipe

_MAP = "viridis"
_TICKS = 5


def draw_parallel(records: Sequence[Record], space: Space, tune: TuneRecipe) -> Figure:
    """Draw a line per trial through its values, one axis per field; the last axis is the best metric of the trial.

    Trials that failed, or never had a metric that is a number, are dotted and end before the last axis.
    """
    ranked = ranking(records, tune.metric, tune.sign)
    scores = {record.number: _score(record, tune) for record in ranked if record.state != "failed"}
    scores = {number: value for number, value in scores.items() if math.isfinite(value)}
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=1.0)
    norm = Normalize(low, high if high > low else low + 1e-6)
    with style():
        figure = new_figure(2.0 + 1.6 * (len(space) + 1), 4.6)
        axes = figure.subplots()
        for x, (field, dimension) in enumerate(space.items()):
            _draw_axis(axes, x, field, dimension)
        last = len(space)
        _write_ticks(
            axes, last, [(share, _number(tune, low + share * (high - low))) for share in (0, 0.25, 0.5, 0.75, 1)]
        )
        axes.axvline(last, color=INK, linewidth=1)
        for record in records:
            heights = [_height(dimension, record.values[field]) for field, dimension in space.items()]
            if record.number not in scores:
                axes.plot(range(len(heights)), heights, ":", color="#999999", linewidth=1)
                continue
            share = float(norm(scores[record.number]))
            leads = record.number == next(iter(scores))
            colour = colormaps[_MAP](_bright(share, tune))
            width, order = (2.6, 3) if leads else (1.2, 2)
            axes.plot(range(last + 1), [*heights, share], color=colour, linewidth=width, zorder=order, alpha=0.9)
        axes.set_xticks(range(last + 1), [*space, f"best {tune.metric}"], rotation=18, ha="right", fontsize=8)
        axes.set_xlim(-0.35, last + 0.55)
        axes.set_ylim(-0.06, 1.06)
        axes.set_yticks([])
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        dotted = ", dotted: no result" if len(scores) < len(records) else ""
        axes.set_title(f"{_counts(records)}; thick: the best{dotted}", loc="left", fontsize=10)
    return figure


def draw_learning(records: Sequence[Record], tune: TuneRecipe) -> Figure:
    """Draw the metric of every trial by epoch; a dot ends a trial that was stopped, a cross one that failed.

    A ring is an epoch after which a trial took another's weights over.
    """
    ranked = [record for record in ranking(records, tune.metric, tune.sign) if record.state != "failed"]
    place = {record.number: i for i, record in enumerate(ranked)}
    ends = {"stopped": "o", "failed": "X", "running": ">", "finished": ""}
    with style():
        figure = new_figure(8.5, 4.6)
        axes = figure.subplots()
        for record in sorted(records, key=lambda record: -place.get(record.number, len(records))):
            if not record.rows:
                continue
            x = [row["epoch"] for row in record.rows]
            y = [row[tune.metric] for row in record.rows]
            share = 1 - place.get(record.number, len(ranked)) / max(1, len(ranked) - 1)
            leads = place.get(record.number) == 0
            colour = "#999999" if record.number not in place else colormaps[_MAP](_bright(share, None))
            label = f"best: trial {record.number}" if leads else None
            axes.plot(x, y, color=colour, linewidth=2.6 if leads else 1.1, alpha=0.9, label=label)
            if len(x) == 1 and not ends[record.state]:
                axes.plot(x, y, ".", color=colour)
            axes.plot(x[-1:], y[-1:], ends[record.state] or ",", color=colour, markersize=5)
            taken = [
                (row["epoch"], row[tune.metric]) for row in record.rows if record.generation and _taken(record, row)
            ]
            if taken:
                axes.plot(*zip(*taken, strict=True), "o", color=colour, mfc="white", markersize=6)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if tune.metric != "val_loss":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_title(f"{tune.metric} by epoch: {_counts(records)}", loc="left", fontsize=10)
        if ranked:
            axes.legend(frameon=False, fontsize=8, loc="best")
    return figure


def _taken(record: Record, row: TrialEpoch) -> bool:
    return any(takeover.epoch == row["epoch"] for takeover in record.takeovers)


def _score(record: Record, tune: TuneRecipe) -> float:
    row = record.best(tune.metric, tune.sign)
    assert row is not None, "only trials with epochs are ranked"
    return float(row[tune.metric])


def _bright(share: float, tune: TuneRecipe | None) -> float:
    """Where on the colour map; the very light end is hard to see on white."""
    good = share if tune is None or tune.sign > 0 else 1 - share
    return 0.9 * (1 - good)


def _counts(records: Sequence[Record]) -> str:
    counts = {state: sum(record.state == state for record in records) for state in ("finished", "stopped", "failed")}
    parts = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{len(records)} trials ({parts})" if parts else f"{len(records)} trials"


def _draw_axis(axes: Axes, x: int, field: str, dimension: Dimension) -> None:
    axes.axvline(x, color=INK, linewidth=1)
    if isinstance(dimension, Options):
        ticks = [(_height(dimension, value), _text(value)) for value in dimension.values]
    else:
        values = dict.fromkeys(dimension.at(i / (_TICKS - 1)) for i in range(_TICKS))
        ticks = [(_height(dimension, value), _text(value)) for value in values]
    _write_ticks(axes, x, ticks)


def _write_ticks(axes: Axes, x: int, ticks: Sequence[tuple[float, str]]) -> None:
    for y, text in ticks:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
        axes.text(x + 0.05, y, text, fontsize=7.5, va="center", zorder=4, bbox=box)
        axes.plot([x - 0.02, x + 0.02], [y, y], color=INK, linewidth=1)


def _height(dimension: Dimension, value: Any) -> float:
    """0 to 1: where a value is on its axis."""
    if isinstance(dimension, Options):
        return dimension.values.index(value) / max(1, len(dimension.values) - 1)
    return _part(dimension, float(value))


def _part(dimension: Numbers, value: float) -> float:
    low, high = float(dimension.low), float(dimension.high)
    if dimension.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _text(value: Any) -> str:
    return cut_end(visible(value_text(value, digits=3)), 16)


def _number(tune: TuneRecipe, value: float) -> str:
    return f"{value:.3g}" if tune.metric == "val_loss" else f"{value:.1%}"
