"""Scores looked at class by class: which are right, and which are taken for which. Numbers only; no plots.

Axes: K classes; of a confusion matrix ``KK`` the rows are labels and the columns predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """How one class fares."""

    label: int
    """Index of the class."""
    name: str
    """Name of the class."""
    num_videos: int
    """Videos of the class."""
    num_right: int
    """Those whose best score is that of the class."""
    num_taken: int
    """Videos of other classes that were taken for it."""
    accuracy: float
    """Share of its videos that are right, 0 to 1; NaN without videos."""
    precision: float
    """Share of the videos taken for it that are of it, 0 to 1; NaN if none was taken for it."""


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Videos of one class that were taken for another."""

    name: str
    """Class that they are of."""
    taken_for: str
    """Class with the best score."""
    num: int
    """How many they are."""
    share: float
    """Their share of the videos of their class, 0 to 1."""


def class_table(confusion_KK: NDArray[np.integer], classes: Sequence[str]) -> list[ClassRow]:
    """Return one row per class, in the order of the labels.

    Raises:
        ValueError: If there are not as many names as rows and columns.
    """
    _check(confusion_KK, classes)
    right_K, of_K, taken_K = confusion_KK.diagonal(), confusion_KK.sum(axis=1), confusion_KK.sum(axis=0)
    return [
        ClassRow(
            label=label,
            name=name,
            num_videos=int(of_K[label]),
            num_right=int(right_K[label]),
            num_taken=int(taken_K[label] - right_K[label]),
            accuracy=_share(right_K[label], of_K[label]),
            precision=_share(right_K[label], taken_K[label]),
        )
        for label, name in enumerate(classes)
    ]


def normalised_confusion(confusion_KK: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return every row as shares of its sum; a row without videos stays 0."""
    counts_K1 = confusion_KK.sum(axis=1, keepdims=True)
    share_KK = np.zeros(confusion_KK.shape)
    np.divide(confusion_KK, counts_K1, out=share_KK, where=counts_K1 > 0)
    return share_KK


def most_confused(confusion_KK: NDArray[np.integer], classes: Sequence[str], limit: int = 10) -> list[ConfusedPair]:
    """Return the ``limit`` pairs of classes with the most videos off the diagonal, most first.

    Of pairs with as many videos the one with the larger share comes first, then the one with the lower labels.

    Raises:
        ValueError: If there are not as many names as rows and columns.
    """
    _check(confusion_KK, classes)
    share_KK = normalised_confusion(confusion_KK)
    pairs = [(i, j) for i, j in np.argwhere(confusion_KK > 0).tolist() if i != j]
    pairs.sort(key=lambda pair: (-confusion_KK[pair], -share_KK[pair], pair))
    return [
        ConfusedPair(name=classes[i], taken_for=classes[j], num=int(confusion_KK[i, j]), share=float(share_KK[i, j]))
        for i, j in pairs[:limit]
    ]


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def _check(confusion_KK: NDArray[np.integer], classes: Sequence[str]) -> None:
    if confusion_KK.shape != (len(classes), len(classes)):
        raise ValueError(f"{len(classes)} class names for a confusion matrix of shape {confusion_KK.shape}")
