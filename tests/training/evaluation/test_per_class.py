"""Class by class, on a confusion matrix small enough to count by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import precision_recall_fscore_support

from kinebert.training.evaluation.per_class import class_table, most_confused, normalised_confusion

CLASSES = ["open", "close", "wave", "none"]
CONFUSION_KK = np.array([[6, 4, 0, 0], [1, 1, 0, 0], [0, 4, 16, 0], [0, 0, 0, 0]])


def test_rows_become_shares() -> None:
    expected = [[0.6, 0.4, 0, 0], [0.5, 0.5, 0, 0], [0, 0.2, 0.8, 0], [0, 0, 0, 0]]
    assert normalised_confusion(CONFUSION_KK).tolist() == expected


def test_class_table_counts() -> None:
    rows = class_table(CONFUSION_KK, CLASSES)
    assert [row.name for row in rows] == CLASSES
    assert [(row.num_videos, row.num_right, row.num_taken) for row in rows] == [
        (10, 6, 1),
        (2, 1, 8),
        (20, 16, 0),
        (0, 0, 0),
    ]
    assert [row.accuracy for row in rows[:3]] == [0.6, 0.5, 0.8]
    assert [row.precision for row in rows[:3]] == [6 / 7, 1 / 9, 1.0]
    assert np.isnan([rows[3].accuracy, rows[3].precision]).all()


def test_class_table_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels_V, guesses_V = rng.integers(0, 9, 500), rng.integers(0, 9, 500)
    rows = class_table(sklearn_confusion(labels_V, guesses_V), [f"c{i}" for i in range(9)])
    precision, recall, _, support = precision_recall_fscore_support(labels_V, guesses_V)
    assert [row.accuracy for row in rows] == pytest.approx(recall.tolist())
    assert [row.precision for row in rows] == pytest.approx(precision.tolist())
    assert [row.num_videos for row in rows] == support.tolist()


def test_most_confused_pairs_come_first() -> None:
    pairs = most_confused(CONFUSION_KK, CLASSES)
    assert [(pair.name, pair.taken_for, pair.num, pair.share) for pair in pairs] == [
        ("open", "close", 4, 0.4),  # as many as the next, but more of its class
        ("wave", "close", 4, 0.2),
        ("close", "open", 1, 0.5),
    ]
    assert len(most_confused(CONFUSION_KK, CLASSES, limit=2)) == 2
    assert most_confused(np.diag([3, 4, 5, 6]), CLASSES) == []


def test_names_must_fit_the_matrix() -> None:
    for function in (class_table, most_confused):
        with pytest.raises(ValueError, match=r"3 class names for a confusion matrix of shape \(4, 4\)"):
            function(CONFUSION_KK, CLASSES[:3])
