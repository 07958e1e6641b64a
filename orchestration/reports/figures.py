"""Figures of a report: curves of training, confusion, accuracy per class.

Axes: K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from kinebert.orchestration.reports.drawing import (
    COLOURS,
    FAINT,
    INK,
    MANY,
    OTHERS,
    class_name,
    class_names,
    new_figure,
    style,
)
from kinebert.preprocessing.plain_text import visible
from kinebert.training.evaluation.per_class import normalised_confusion
from kinebert.training.run_folder import EpochRow, best_epoch, number_of

History = Sequence[EpochRow]
"""Epochs of a training; what is not known of one is not in it."""


def draw_curves(histories: Mapping[str, History]) -> Figure:
    """Draw loss and top-1 by epoch, training dashed and validation solid, one row per stream."""
    with style():
        figure = new_figure(9, 0.5 + 2.8 * len(histories))
        axes_SP = figure.subplots(len(histories), 2, squeeze=False)
        for row, (name, history) in zip(axes_SP, histories.items(), strict=True):
            _draw_curve(row[0], name, history, "loss")
            _draw_curve(row[1], name, history, "top1")
    return figure


def _draw_curve(axes: Axes, name: str, history: History, value: str) -> None:
    colour, note = _colour(name, 0), ""
    epochs = [epoch["epoch"] for epoch in history]
    for part, line in (("train", "--"), ("val", "-")):
        key = f"{part}_{value}"
        points = [(epoch["epoch"], found) for epoch in history if (found := number_of(epoch, key)) is not None]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        label = "training" if part == "train" else "validation"
        marker = "o" if len(points) <= 30 else None
        axes.plot(x, y, line, color=colour, label=label, marker=marker, markersize=3, alpha=0.6 if line == "--" else 1)
        if key == "val_top1":
            best = best_epoch(history)
            assert best is not None, "there are points"
            axes.plot(
                best["epoch"], best["val_top1"], "o", color=colour, markersize=7, mfc="white", markeredgewidth=1.8
            )
            note = f" (best {best['val_top1']:.1%}, epoch {best['epoch']})"
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    what = "loss" if value == "loss" else "top-1 accuracy"
    axes.set_title(f"{class_name(name)}: {what}{note}", loc="left", fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=FAINT, linewidth=0.6)
    if value == "top1":
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    elif axes.lines:
        axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8, loc="upper right" if value == "loss" else "lower right")
    else:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color="#777777")


def draw_confusion(confusion_KK: NDArray[np.integer], classes: Sequence[str], title: str) -> Figure:
    """Draw which share of each class (row) was taken for which (column).

    With few classes each cell says its share and count; with many the colours have to do, and faint ones are lifted.
    """
    num = len(classes)
    few = num < MANY
    cell = (0.72 if num <= 12 else 0.5) if few else 0.17
    font = 9 if num <= 12 else 7.5 if few else 7
    names = class_names(classes)
    margin = 0.6 + 0.011 * font * max(map(len, names))
    side = num * cell + margin
    with style():
        figure = new_figure(max(side + 0.9, 4.5), max(side + 0.4, 3.6), dpi=110 if few else 130)
        axes = figure.subplots()
        share_KK = normalised_confusion(confusion_KK)
        picture = axes.imshow(share_KK, cmap="Blues", norm=PowerNorm(1 if few else 0.5, 0, 1), aspect="equal")
        axes.set_xticks(range(num), names, rotation=90 if num > 4 else 0, fontsize=font)
        axes.set_yticks(range(num), names, fontsize=font)
        axes.tick_params(length=0)
        axes.set_xlabel("taken for")
        axes.set_ylabel("label")
        axes.set_title(visible(title), loc="left", fontsize=11 if few else 14)
        axes.set_xticks(np.arange(num + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(num + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white" if few else "#eeeeee", linewidth=1.2 if few else 0.3)
        axes.tick_params(which="minor", length=0)
        if few:
            _write_cells(axes, share_KK, confusion_KK, font)
        bar = figure.colorbar(picture, cax=axes.inset_axes((1 + 0.15 / (num * cell), 0, 0.2 / (num * cell), 1)))
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        bar.outline.set_visible(False)
    return figure


def _write_cells(axes: Axes, share_KK: NDArray[np.float64], confusion_KK: NDArray[np.integer], font: float) -> None:
    for (i, j), count in np.ndenumerate(confusion_KK):
        if count:
            colour = "white" if share_KK[i, j] > 0.55 else INK
            text = f"{share_KK[i, j]:.0%}\n({count})"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=font - 1, linespacing=1.1)


def draw_per_class(accuracies: Mapping[str, NDArray[np.float64]], classes: Sequence[str]) -> Figure:
    """Draw the accuracy of every class by stream, best classes (by the last stream) on top.

    Bars with few classes, dots with many. A class without videos has neither, and comes last.
    """
    last = list(accuracies.values())[-1]
    order = sorted(range(len(classes)), key=lambda k: (bool(np.isnan(last[k])), -np.nan_to_num(last[k]), k))
    rows = np.arange(len(order))
    few, names = len(classes) < MANY, class_names(classes)
    with style():
        height = len(order) * (0.16 * len(accuracies) + 0.16 if few else 0.16)
        figure = new_figure(8, height + 1.3)
        axes = figure.subplots()
        thick = 0.8 / len(accuracies)
        for i, (name, accuracy_K) in enumerate(accuracies.items()):
            values, colour = np.asarray(accuracy_K)[order], _colour(name, i)
            mean = f"{class_name(name)} (mean {np.nanmean(accuracy_K):.1%})"
            if few:
                y = rows + (i - (len(accuracies) - 1) / 2) * thick
                axes.barh(y, np.nan_to_num(values), thick * 0.9, color=colour, label=mean)
                axes.plot(values * 0, y, "|", color=colour, markersize=4)  # a class of which none is right is no gap
            else:
                axes.plot(values, rows, "o", color=colour, label=mean, markersize=5, alpha=0.85, clip_on=False)
        axes.set_yticks(rows, [names[k] for k in order], fontsize=9 if few else 7)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("accuracy within the class")
        axes.grid(axis="both" if not few else "x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        figure.legend(loc="outside upper center", ncols=len(accuracies), frameon=False)
    return figure


def _colour(name: str, position: int) -> str:
    return COLOURS.get(name, OTHERS[position % len(OTHERS)])
