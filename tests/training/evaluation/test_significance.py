"""Intervals and tests against hand-worked numbers and against scipy."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.significance import (
    bootstrap,
    compare,
    compare_all,
    holm,
    interval_of,
    intervals,
    mcnemar,
    mean_over,
    on_same_videos,
)


def table(right: NDArray[np.bool_], labels: NDArray[np.int64] | None = None, prefix: str = "v") -> VideoScores:
    """Scores of two classes that are right where told."""
    labels = np.zeros(len(right), np.int64) if labels is None else labels
    taken = np.where(right, labels, 1 - labels)
    return VideoScores(
        video_ids=[f"{prefix}{i}" for i in range(len(right))],
        labels=labels,
        scores=np.eye(2, dtype=np.float32)[taken] * 4,
        num_clips=np.ones(len(right), np.int64),
        classes=["open", "close"],
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0, 0, 1.0),
        (1, 1, 1.0),
        (0, 5, 2 / 32),  # 2 * 1 / 2**5
        (1, 9, 2 * 11 / 1024),  # 2 * (1 + 10) / 2**10
        (9, 1, 22 / 1024),
        (3, 5, 2 * (1 + 8 + 28 + 56) / 256),
    ],
)
def test_mcnemar_by_hand(first: int, second: int, expected: float) -> None:
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (4, 12), (30, 61), (700, 800)])
def test_mcnemar_is_scipy_s_binomial_test(first: int, second: int) -> None:
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-9)


def test_the_interval_of_an_accuracy_is_that_of_a_binomial_count() -> None:
    """Drawing videos of which 3 in 4 are right is a binomial draw; 2,000 draws know its ends to about one video."""
    found = intervals(table(np.arange(200) % 4 > 0), num=2000)["top1"]
    low, high = stats.binom(200, 0.75).ppf([0.025, 0.975]) / 200
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.01)


def test_every_metric_in_every_draw_is_what_it_is_of_the_drawn_videos() -> None:
    rng = np.random.default_rng(0)
    scores = VideoScores(
        video_ids=[str(i) for i in range(30)],
        labels=rng.integers(0, 6, 30),
        scores=rng.normal(size=(30, 6)).astype(np.float32),
        num_clips=np.ones(30, np.int64),
        classes=list("abcdef"),
    )
    found = bootstrap(scores, num=3, seed=5)
    draws = np.random.Generator(np.random.Philox(np.random.SeedSequence([5, 30]))).integers(30, size=(3, 30))
    for d, rows in enumerate(draws):
        drawn = VideoScores(
            video_ids=[str(i) for i in range(30)],
            labels=scores.labels[rows],
            scores=scores.scores[rows],
            num_clips=scores.num_clips,
            classes=scores.classes,
        )
        assert {name: values[d] for name, values in found.items()} == pytest.approx(drawn.metrics().as_numbers())


def test_the_same_scores_give_the_same_interval_and_certainty_gives_none() -> None:
    scores = table(np.arange(40) % 3 > 0)
    assert intervals(scores) == intervals(scores)
    assert (bootstrap(scores, seed=1)["top1"] != bootstrap(scores)["top1"]).any()
    sure = intervals(table(np.ones(20, bool)))
    assert (sure["top1"].low, sure["top1"].high) == (1.0, 1.0)
    assert interval_of(np.arange(101.0)).low == pytest.approx(2.5)


def test_a_difference_is_significant_or_not() -> None:
    right = np.ones(100, bool)
    worse, little = right.copy(), right.copy()
    worse[:20], little[:3] = False, False
    found = compare(table(worse), table(right))
    assert (found.only_first, found.only_second, found.num_videos) == (0, 20, 100)
    assert found.p_value == pytest.approx(2 / 2**20)
    assert found.significant
    top1 = found.differences["top1"]
    assert (top1.first, top1.second) == (0.8, 1.0)
    assert 0.1 < top1.interval.low < 0.2 < top1.interval.high < 0.3
    assert top1.p_value == pytest.approx(2 / 1001)  # no draw is on the other side
    assert "b - a: +20.0 points of top-1 (95 %: +1" in found.sentence("a", "b")
    weak = compare(table(little), table(right))
    assert not weak.significant
    assert "p = 0.25 (McNemar, exact), not significant at 5 %" in weak.sentence("a", "b")
    same = compare(table(worse), table(worse))
    assert (same.p_value, same.differences["top1"].p_value) == (1.0, 1.0)


def test_only_videos_of_both_are_compared() -> None:
    first, second = table(np.array([True, False, True])), table(np.array([True, True]))
    assert compare(first, second).num_videos == 2
    with pytest.raises(UserError, match="no video has a score in every"):
        compare(first, table(np.array([True]), prefix="other"))
    with pytest.raises(UserError, match="give v0 different labels"):
        compare(first, table(np.array([True]), labels=np.array([1])))


def test_the_mean_over_splits() -> None:
    tables = [table(np.arange(100) % n > 0, prefix=str(n)) for n in (2, 4, 5)]
    mean, interval = mean_over(tables)["top1"]
    assert mean == pytest.approx((0.5 + 0.75 + 0.8) / 3)
    alone = intervals(tables[0])["top1"]
    assert interval.low < mean < interval.high
    assert interval.high - interval.low < alone.high - alone.low  # three splits know more than one


def test_several_are_compared_on_the_videos_that_all_have() -> None:
    right = np.random.default_rng(3).random((3, 40)) < [[0.5], [0.7], [0.9]]
    tables = [table(row) for row in right]
    found = compare_all(tables)
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    for (i, j), comparison in found.items():
        assert comparison == compare(tables[i], tables[j])
    short = on_same_videos([tables[0], table(right[1, :30])])
    assert [len(scores.video_ids) for scores in short] == [30, 30]
    np.testing.assert_array_equal(short[0].scores, tables[0].scores[:30])
    assert compare_all([tables[0], table(right[1, :30])])[0, 1].num_videos == 30


def test_holm_by_hand() -> None:
    # 0.01 x 3; then 0.02 x 2 = 0.04; then 0.03 x 1, which may not be below the one before
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
