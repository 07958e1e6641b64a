"""Metrics against hand-worked numbers and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from kinebert.training.evaluation.metrics import (
    MetricSums,
    bins_of,
    confusion_matrix,
    label_ranks,
    measure,
    predictions,
)

SCORES = np.array([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]], np.float32)
LABELS = np.array([0, 2, 2, 0])


def test_by_hand() -> None:
    result = measure(SCORES, LABELS)
    assert result.num_videos == 4
    assert result.top == {1: 0.5, 3: 1.0, 5: 1.0}
    np.testing.assert_array_equal(result.per_class, [0.5, np.nan, 0.5])
    assert result.mean_class == 0.5
    np.testing.assert_array_equal(result.confusion, [[1, 0, 1], [0, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(result.confusion.sum(axis=1), [2, 0, 2])
    ece = abs(0.5 - np.exp(3) / np.exp([3, 2, 1]).sum())  # every video is as sure as every other
    numbers = {"top1": 0.5, "top3": 1.0, "top5": 1.0, "mean_class": 0.5, "ece": pytest.approx(ece)}
    assert result.as_numbers() == numbers


def test_the_majority_is_of_the_labels_whatever_is_answered() -> None:
    def of(*labels: int) -> tuple[int, float]:
        return measure(np.eye(3)[[0] * len(labels)], np.array(labels)).majority

    assert of(0, 2, 2, 1) == (2, 0.5)
    assert of(2, 1, 1, 2) == (1, 0.5)  # of equally many the lower label
    assert of(1) == (1, 1.0)


def test_calibration_by_hand() -> None:
    """Bins of 1/15: 0.9 and 0.92 share one (0.867 to 0.933), 0.6 lies on the upper end of its own, 0.51 in another."""
    best = np.array([0.9, 0.92, 0.6, 0.51])
    shares = np.stack([best, 1 - best], axis=1)
    np.testing.assert_array_equal(bins_of(best), [13, 13, 8, 7])
    labels = np.array([0, 1, 0, 1])  # right, wrong, right, wrong
    expected = (abs(1 - 1.82) + abs(1 - 0.6) + abs(0 - 0.51)) / 4
    assert measure(shares, labels, "probabilities").ece == pytest.approx(expected)
    assert measure(np.log(shares), labels).ece == pytest.approx(expected)
    assert np.isnan(measure(shares, labels, "sums").ece)
    assert "ece" not in measure(shares, labels, "sums").as_numbers()
    assert measure(np.array([[1.0, 0.0]]), np.array([0]), "probabilities").ece == 0


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    flat = np.zeros((4, 4))
    np.testing.assert_array_equal(label_ranks(flat, np.arange(4)), [0, 1, 2, 3])
    np.testing.assert_array_equal(predictions(flat), 0)
    assert measure(flat, np.arange(4)).top == {1: 0.25, 3: 0.75, 5: 1.0}


def test_what_is_not_a_number_is_wrong() -> None:
    scores = SCORES.copy()
    scores[0, 0] = np.nan
    scores[2, 1] = np.nan
    assert measure(scores, LABELS).top == {1: 0.0, 3: 0.5, 5: 0.5}


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 7))
    labels = rng.integers(0, 7, 200)
    result = measure(scores, labels)
    for k in (1, 3, 5):
        assert result.top[k] == pytest.approx(sk.top_k_accuracy_score(labels, scores, k=k, labels=range(7)))
    assert result.mean_class == pytest.approx(sk.balanced_accuracy_score(labels, scores.argmax(1)))
    np.testing.assert_array_equal(
        confusion_matrix(scores, labels), sk.confusion_matrix(labels, scores.argmax(1), labels=range(7))
    )


def test_sums_of_parts_are_the_whole() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(31, 5)), rng.integers(0, 5, 31)
    parts = [MetricSums(5) for _ in range(3)]
    for i in range(31):
        parts[i % 3].add(scores[i : i + 1], labels[i : i + 1], loss_sum=float(i))
    total = MetricSums(5)
    total.vector = np.sum([part.vector for part in parts], axis=0)
    whole = measure(scores, labels)
    assert total.metrics().as_numbers() == whole.as_numbers()
    np.testing.assert_array_equal(total.metrics().confusion, whole.confusion)
    assert total.loss == 15.0


def test_labels_that_are_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="labels go from 0 to 3, there are 3 classes"):
        measure(SCORES, np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="at least one"):
        measure(np.zeros((0, 3)), np.zeros(0, np.int64))
