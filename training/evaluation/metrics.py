"""How right scores are: top-k, per class, and which classes are taken for which.

The *rank* of a label is the number of classes that come before it when the scores are sorted from high to low; of equal
scores the class with the lower index comes first (a stable sort). So a model that scores all classes alike is right
about class 0 only. A score that is not a number makes its clip wrong, whatever k is.

*Calibration* is the expected calibration error of Guo et al., "On calibration of modern neural networks",
arXiv:1706.04599: videos are put into 15 bins by the probability of their best class, and the distance between a bin's
accuracy and its mean probability is averaged over the videos.

Axes: V videos (or clips), K classes, B bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
TOP = (1, 3, 5)
"""The k of the top-k accuracies that are reported."""

BINS = 15
"""Bins of equal width that the calibration error is counted in; a bin holds its upper end."""
_GRID = 2.0**32
_LEAST = float(np.finfo(np.float32).tiny)
"""What a probability of 0 counts as where its logarithm is taken."""
CHUNK_ROWS = 8192
"""Rows of scores that are looked at together: what is computed of them in float64 takes megabytes, however many there
are."""


def telling_tops(num_classes: int) -> tuple[int, ...]:
    """Return the k of the top-k accuracies that say something: of K classes none misses the best K."""
    return (1, *(k for k in TOP if 1 < k < num_classes))


def label_ranks(scores_VK: NDArray[Any], labels_V: NDArray[Any]) -> Ints:
    """Return how many classes come before each video's label; a rank beyond every k where a score is not finite."""
    scores = np.asarray(scores_VK, np.float64)
    labels = np.asarray(labels_V, np.int64)
    own_V1 = np.take_along_axis(scores, labels[:, None], axis=1)
    lower_index_VK = np.arange(scores.shape[1]) < labels[:, None]
    ranks = ((scores > own_V1) | ((scores == own_V1) & lower_index_VK)).sum(axis=1)
    ranks[~np.isfinite(scores).all(axis=1)] = np.iinfo(np.int64).max
    return np.asarray(ranks, np.int64)


def predictions(scores_VK: NDArray[Any]) -> Ints:
    """Return each video's best class; of equal scores the lower index."""
    scores = np.asarray(scores_VK, np.float64)
    return np.asarray(np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1), np.int64)


def probabilities(scores_VK: NDArray[Any], scale: str = "logits", temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the softmax of scores that are divided by a temperature; rows sum to 1, their order is that of the scores.

    Of ``probabilities`` (``scale``) the logarithms are scores; at temperature 1 they are what they are.
    """
    scores = np.asarray(scores_VK, np.float64)
    if scale == "probabilities":
        if temperature == 1:
            return scores
        scores = np.log(np.maximum(scores, _LEAST))
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def confidences(
    scores_VK: NDArray[Any], scale: str = "logits", temperature: float | None = None
) -> NDArray[np.float64]:
    """Return the probability of each video's best class, ``(V,)``; 1 where a score is not a number.

    They are rounded to 2**-32, so that sums of them do not depend on their order.

    Args:
        scores_VK: Scores.
        scale: ``logits`` or ``probabilities``, or ``sums`` of a fusion, which need a temperature; else NaN.
        temperature: As in :func:`probabilities`; None for 1, or not known.
    """
    if scale not in ("logits", "probabilities") and temperature is None:
        return np.full(len(scores_VK), np.nan)
    finite = np.isfinite(scores_VK).all(axis=1)
    best_V = np.ones(len(scores_VK))
    shares_VK = np.asarray(scores_VK, np.float64)[finite]
    if finite.any():
        best_V[finite] = probabilities(shares_VK, scale, 1.0 if temperature is None else temperature).max(axis=1)
    return np.asarray(np.round(np.clip(best_V, 0, 1) * _GRID) / _GRID)


def bins_of(confidences_V: NDArray[np.float64]) -> Ints:
    """Return the bin of each probability, 0 to ``BINS - 1``; bin 0 for NaN."""
    filled = np.nan_to_num(confidences_V)
    return np.asarray(np.clip(np.ceil(filled * BINS) - 1, 0, BINS - 1), np.int64)


def calibration_error(bins_B3: NDArray[np.float64]) -> float:
    """Return the expected calibration error, 0 to 1, of the videos, right ones and sum of probabilities of each bin."""
    return float(np.abs(bins_B3[:, 1] - bins_B3[:, 2]).sum() / bins_B3[:, 0].sum())


def confusion_matrix(scores_VK: NDArray[Any], labels_V: NDArray[Any]) -> Ints:
    """Return how many videos of class ``i`` (row) were taken for class ``j`` (column), shape ``(K, K)``."""
    num_classes = scores_VK.shape[1]
    flat = np.asarray(labels_V, np.int64) * num_classes + predictions(scores_VK)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Metrics:
    """Accuracies, all between 0 and 1, with the counts they are made of."""

    num_videos: int
    """Videos that were scored."""
    top: dict[int, float]
    """Share of the videos whose label is among the k best, by k. A k above the number of classes gives 1."""
    mean_class: float
    """Mean over the classes that occur of the share that is right."""
    per_class: NDArray[np.float64]
    """Share that is right of each class; NaN for a class without videos."""
    confusion: Ints
    """Rows are labels, columns predictions."""
    ece: float = float("nan")
    """Expected calibration error, 0 to 1; NaN where scores are no probabilities of anything."""

    @property
    def majority(self) -> tuple[int, float]:
        """Label with the most videos (of equal ones the lowest), and its share of them: who always says it gets that.

        The share is 0 to 1.
        """
        counts = self.confusion.sum(axis=1)
        label = int(counts.argmax())
        return label, float(counts[label] / counts.sum())

    def as_numbers(self) -> dict[str, float]:
        """Return the overall numbers by name: ``top1``, ``top3``, ``top5``, ``mean_class`` and, if known, ``ece``."""
        known = {} if np.isnan(self.ece) else {"ece": self.ece}
        return {**{f"top{k}": value for k, value in self.top.items()}, "mean_class": self.mean_class, **known}


def measure(
    scores_VK: NDArray[Any], labels_V: NDArray[Any], scale: str = "logits", temperature: float | None = None
) -> Metrics:
    """Measure scores against labels; ``scale`` and ``temperature`` as in :func:`confidences`.

    Raises:
        ValueError: If there is nothing to measure, or a label is not a class.
    """
    labels = np.asarray(labels_V, np.int64)
    if not len(labels) or len(labels) != len(scores_VK):
        raise ValueError(f"expected as many scores as labels, at least one, got {len(scores_VK)} and {len(labels)}")
    if labels.min() < 0 or labels.max() >= scores_VK.shape[1]:
        raise ValueError(f"labels go from {labels.min()} to {labels.max()}, there are {scores_VK.shape[1]} classes")
    sums = MetricSums(scores_VK.shape[1])
    for first in range(0, len(labels), CHUNK_ROWS):
        some = slice(first, first + CHUNK_ROWS)
        sums.add(scores_VK[some], labels[some], loss_sum=0.0, scale=scale, temperature=temperature)
    return sums.metrics()


class MetricSums:
    """Metrics as sums, so that batches and processes can be added up exactly and no score needs to be kept.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._sums = np.zeros(2 + len(TOP) + num_classes**2 + 3 * BINS)

    def add(
        self,
        scores_VK: NDArray[Any],
        labels_V: NDArray[Any],
        loss_sum: float,
        scale: str = "logits",
        temperature: float | None = None,
    ) -> None:
        """Add a batch, with the sum of its losses; ``scale`` and ``temperature`` as in :func:`confidences`."""
        ranks = label_ranks(scores_VK, labels_V)
        confusion = confusion_matrix(scores_VK, labels_V)
        best_V = confidences(scores_VK, scale, temperature)
        columns = (None, ranks < 1, best_V)
        bins = [np.bincount(bins_of(best_V), weights, minlength=BINS) for weights in columns]
        self._sums += np.concatenate(
            [[len(ranks), loss_sum], [(ranks < k).sum() for k in TOP], confusion.ravel().astype(np.float64), *bins]
        )

    @property
    def vector(self) -> NDArray[np.float64]:
        """All sums as one float64 vector; counts in it are exact up to 2**53."""
        return self._sums

    @vector.setter
    def vector(self, sums: NDArray[np.float64]) -> None:
        self._sums = np.asarray(sums, np.float64)

    @property
    def loss(self) -> float:
        """Mean loss of a video."""
        return float(self._sums[1] / self._sums[0])

    def metrics(self) -> Metrics:
        """Return the accuracies of all that was added."""
        num = int(self._sums[0])
        counts, bins = self._sums[2 + len(TOP) : -3 * BINS], self._sums[-3 * BINS :].reshape(3, BINS).T
        confusion = counts.reshape(self._num_classes, self._num_classes).astype(np.int64)
        counts = confusion.sum(axis=1)
        per_class = np.full(self._num_classes, np.nan)
        np.divide(confusion.diagonal(), counts, out=per_class, where=counts > 0)
        tops = {k: float(self._sums[2 + i] / num) for i, k in enumerate(TOP)}
        return Metrics(num, tops, float(np.nanmean(per_class)), per_class, confusion, calibration_error(bins))
