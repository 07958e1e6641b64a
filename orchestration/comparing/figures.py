"""Pictures of a comparison, drawn as those of a report are.

Axes: K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from kinebert.orchestration.comparing.verdict import Standing, Verdict, class_changes, pair_changes
from kinebert.orchestration.reports.drawing import FAINT, INK, MANY, class_name, class_names, new_figure, style, to_png
from kinebert.orchestration.reports.figures import History
from kinebert.orchestration.reports.formatting import whole_points
from kinebert.training.evaluation.per_class import normalised_confusion
from kinebert.training.evaluation.significance import ALPHA
from kinebert.training.run_folder import best_epoch, number_of

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333", "#8c6d31")
"""Okabe and Ito's colours, by place of the run; further runs begin again, with another line."""
_GREYS = LinearSegmentedColormap.from_list("within chance", ("#c4c4c4", "#ffffff", "#c4c4c4"))
MOST_CLASSES = 40
"""Classes that the picture of changes shows: those that change most."""
BETTER, WORSE, CHANCE = "#1b7837", "#a6373c", "#8a8a8a"
"""Of a difference: significant ones have a colour."""


def draw_all(verdict: Verdict) -> dict[str, bytes]:
    """Return the pictures of a comparison as PNG files by name, without those that would be empty."""
    figures: dict[str, Figure] = {}
    curves = {run.name: run.history for run in verdict.runs if run.history}
    places = {run.name: i for i, run in enumerate(verdict.runs)}
    if verdict.standings:
        figures["accuracy"] = draw_accuracy(verdict, places)
    if curves:
        figures["curves"] = draw_curves(curves, places)
    for i, other in enumerate(verdict.shown, start=1):
        if any(row.change for row in class_changes(verdict.baseline, other)):
            figures[f"classes-{i}"] = draw_class_changes(verdict.baseline, other)
        if (verdict.baseline.metrics.confusion != other.metrics.confusion).any():
            figures[f"confusion-{i}"] = draw_confusion_change(verdict.baseline, other)
    return {name: to_png(figure) for name, figure in figures.items()}


def draw_accuracy(verdict: Verdict, places: Mapping[str, int]) -> Figure:
    """Draw top-1 of every run with its interval, and beside it the difference to the baseline with its own."""
    columns = 2 if verdict.others else 1
    rows = list(verdict.standings)
    with style():
        figure = new_figure(8.5 if columns == 2 else 6, 1.1 + 0.34 * len(rows))
        axes_1C = figure.subplots(1, columns, squeeze=False, sharey=True)
        left: Axes = axes_1C[0, 0]
        for y, standing in enumerate(rows):
            between = standing.intervals["top1"]
            _interval(left, y, standing.metrics.top[1], between.low, between.high, _colour(places[standing.run.name]))
        left.set_yticks(range(len(rows)), [class_name(standing.run.name) for standing in rows])
        left.set_ylim(len(rows) - 0.4, -0.6)
        left.set_title("top-1 with its 95 % interval", loc="left", fontsize=10)
        left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        if columns == 2:
            right: Axes = axes_1C[0, 1]
            base = verdict.baseline.run.name
            right.axvline(0, color="#888888", linewidth=1)
            for y, standing in enumerate(rows):
                if standing.run.name != base:
                    top1 = verdict.pairs[base, standing.run.name].differences["top1"]
                    ends = top1.interval.low, top1.interval.high
                    sure = verdict.p_values[base, standing.run.name] < ALPHA
                    colour = _colour(places[standing.run.name]) if sure else CHANCE
                    _interval(right, y, top1.second - top1.first, *ends, colour)
            right.set_title(f"difference to {class_name(base)}, in points", loc="left", fontsize=10)
            right.set_xlabel("grey: within chance", fontsize=8)
            right.xaxis.set_major_formatter(FuncFormatter(_points))
        for axes in axes_1C[0]:
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(length=0)
            axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure


def draw_curves(histories: Mapping[str, History], places: Mapping[str, int]) -> Figure:
    """Draw validation loss and top-1 of every run by epoch; a ring is the epoch whose weights were kept."""
    with style():
        figure = new_figure(9, 3.3)
        loss, top1 = figure.subplots(1, 2)
        for name, history in histories.items():
            place, best = places[name], best_epoch(history)
            look = {"color": _colour(place), "linestyle": ("-", "--", ":")[place // len(PALETTE) % 3]}
            for axes, key in ((loss, "val_loss"), (top1, "val_top1")):
                points = [(row["epoch"], y) for row in history if (y := number_of(row, key)) is not None]
                if points:
                    marker = "o" if len(points) == 1 else None
                    axes.plot(*zip(*points, strict=True), label=class_name(name), linewidth=1.6, marker=marker, **look)
            if best is not None:
                top1.plot(best["epoch"], best["val_top1"], "o", color=look["color"], mfc="white", markersize=6)
        loss.set_title("validation loss", loc="left", fontsize=10)
        top1.set_title("validation top-1 (ring: the epoch that was kept)", loc="left", fontsize=10)
        top1.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        for axes in (loss, top1):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(color=FAINT, linewidth=0.6)
        figure.legend(*top1.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def draw_class_changes(before: Standing, after: Standing) -> Figure:
    """Draw from where to where the accuracy of a class moves; classes that gain most on top."""
    changes = [row for row in class_changes(before, after) if row.change]
    hidden = len(changes) - MOST_CLASSES
    if hidden > 0:
        changes = sorted(changes, key=lambda row: -abs(row.change))[:MOST_CLASSES]
    changes.sort(key=lambda row: (-row.change, row.name))
    classes = before.scores.classes
    names = dict(zip(classes, class_names(classes), strict=True))
    with style():
        figure = new_figure(8, 1.2 + 0.21 * len(changes))
        axes = figure.subplots()
        for y, row in enumerate(changes):
            colour = CHANCE if row.p_value >= ALPHA else BETTER if row.change > 0 else WORSE
            axes.plot([row.before, row.after], [y, y], "-", color=colour, linewidth=2, alpha=0.7, zorder=1)
            axes.plot(row.before, y, "o", color="white", markeredgecolor="#777777", markersize=5, zorder=2)
            axes.plot(row.after, y, "o", color=colour, markersize=5.5, zorder=3, clip_on=False)
            axes.text(1.02, y, whole_points(row.change), transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_yticks(range(len(changes)), [names[row.name] for row in changes], fontsize=8)
        axes.set_ylim(len(changes) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel(
            f"accuracy within the class: white {class_name(before.run.name)}, full {class_name(after.run.name)}; "
            "grey: within chance"
        )
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.tick_params(length=0)
        if hidden > 0:
            axes.set_title(f"the {len(changes)} largest changes, {hidden} more", loc="left", fontsize=9)
    return figure


def draw_confusion_change(before: Standing, after: Standing) -> Figure:
    """Draw how much more often (in points of the class) each class is taken for each other one.

    On the diagonal more is better, beside it worse; the colours say which it is where it is significant. Grey is not.
    """
    classes = before.scores.classes
    num, few = len(classes), len(classes) < MANY
    shares = [normalised_confusion(standing.metrics.confusion) for standing in (before, after)]
    change_KK = shares[1] - shares[0]
    good_KK = np.where(np.eye(num, dtype=bool), change_KK, -change_KK)
    most = max(0.01, float(np.abs(change_KK).max()))
    cell = (0.6 if num <= 12 else 0.42) if few else max(0.06, 7.5 / num)
    font = 8 if few else max(4.0, 62 * cell)
    names = class_names(classes)
    side = num * cell + 0.6 + 0.011 * font * max(map(len, names))
    with style():
        figure = new_figure(max(side + 0.9, 4.5), max(side + 0.4, 3.6), dpi=110 if few else 130)
        axes = figure.subplots()
        axes.imshow(good_KK, cmap=_GREYS, norm=TwoSlopeNorm(0, -most, most), aspect="equal", alpha=0.9)
        sure_KK = np.ma.masked_where(~_significant(before, after), good_KK)
        picture = axes.imshow(sure_KK, cmap="PiYG", norm=TwoSlopeNorm(0, -most, most), aspect="equal", alpha=0.9)
        axes.set_xticks(range(num), names, rotation=90 if num > 4 else 0, fontsize=font)
        axes.set_yticks(range(num), names, fontsize=font)
        axes.tick_params(length=0)
        axes.set_xlabel("taken for")
        axes.set_ylabel("label")
        axes.set_xticks(np.arange(num + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(num + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white" if few else "#eeeeee", linewidth=1.2 if few else 0.3)
        axes.tick_params(which="minor", length=0)
        if few:
            _write_cells(axes, change_KK, font)
        bar = figure.colorbar(picture, cax=axes.inset_axes((1 + 0.15 / (num * cell), 0, 0.2 / (num * cell), 1)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(_points))
        bar.ax.set_ylabel("worse                    better", fontsize=8)
        bar.outline.set_visible(False)
    return figure


def _significant(before: Standing, after: Standing) -> NDArray[np.bool_]:
    """Which cells of the confusion differ by more than chance explains, ``(K, K)``."""
    place = {name: k for k, name in enumerate(before.scores.classes)}
    sure_KK = np.zeros((len(place), len(place)), dtype=bool)
    for row in class_changes(before, after):
        sure_KK[place[row.name], place[row.name]] = row.p_value < ALPHA
    for pair in pair_changes(before, after):
        sure_KK[place[pair.name], place[pair.taken_for]] = pair.p_value < ALPHA
    return sure_KK


def _write_cells(axes: Axes, change_KK: NDArray[np.float64], font: float) -> None:
    for (i, j), change in np.ndenumerate(change_KK):
        if change:
            axes.text(j, i, whole_points(change), ha="center", va="center", color=INK, fontsize=font)


def _interval(axes: Axes, y: float, value: float, low: float, high: float, colour: str) -> None:
    axes.plot([low, high], [y, y], "-", color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot([low, high], [y, y], "|", color=colour, markersize=7)
    axes.plot(value, y, "o", color=colour, markersize=6)


def _points(share: float, _: object = None) -> str:
    return f"{100 * share:+.3g}" if share else "0"


def _colour(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of every run by name; the same place has the same colour in all pictures."""
    return {name: _colour(i) for i, name in enumerate(names)}
