"""How sure a measured accuracy is, and whether two recognizers differ by more than chance.

Two questions, two tools. The *bootstrap* (Efron 1979) draws as many videos with replacement as there are, again and
again, and says between which numbers a metric falls in 95 % of the draws. *McNemar's test* (1947), in its exact form,
looks only at the videos that one of two recognizers has right and the other wrong: were they alike, each such video
would fall to either side like a coin. Both take videos for independent; clips cut from the same recording are less so,
and what is said here is then too sure.

Every draw comes from a seed: the same scores give the same intervals.

Axes: V videos, D draws, K classes, B bins.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.metrics import BINS, TOP, bins_of, confidences, label_ranks

Floats = NDArray[np.float64]
DRAWS = 1000
LEVEL = 0.95
ALPHA = 0.05
"""Probability under chance below which a difference is called significant."""
_CHUNK = 100


@dataclass(frozen=True)
class Interval:
    """Where a number lies in 95 % of the draws."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of two recognizers on the same videos."""

    first: float
    second: float
    interval: Interval
    """Interval of ``second - first``."""
    p_value: float
    """Twice the share of the draws on the other side of 0, at most 1: paired bootstrap."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two recognizers on the videos that both have scored."""

    num_videos: int
    differences: Mapping[str, Difference]
    """By metric: ``top1``, ``top3``, ``top5``, ``mean_class``."""
    only_first: int
    """Videos that the first alone has right."""
    only_second: int
    """Videos that the second alone has right."""
    p_value: float
    """McNemar's exact test of the two numbers before."""

    @property
    def significant(self) -> bool:
        """Whether top-1 differs by more than chance would explain: McNemar's test at 5 %."""
        return self.p_value < ALPHA

    def sentence(self, first: str, second: str) -> str:
        """Say it in words."""
        top1 = self.differences["top1"]
        points, low, high = (100 * x for x in (top1.second - top1.first, top1.interval.low, top1.interval.high))
        verdict = "significant" if self.significant else "not significant"
        return (
            f"{second} - {first}: {points:+.1f} points of top-1 (95 %: {low:+.1f} to {high:+.1f}) on {self.num_videos} "
            f"videos; only {second} is right in {self.only_second}, only {first} in {self.only_first}: p = "
            f"{self.p_value:.2g} (McNemar, exact), {verdict} at 5 %"
        )


def bootstrap(scores: VideoScores, num: int = DRAWS, seed: int = 0) -> dict[str, Floats]:
    """Return every metric of :meth:`kinebert.training.evaluation.metrics.Metrics.as_numbers` in each draw, ``(D,)``.

    Draw ``d`` takes the same videos of all tables with as many videos, so that draws may be subtracted from each other.
    """
    hits_VT = label_ranks(scores.scores, scores.labels)[:, None] < np.array(TOP)
    sure_V = confidences(scores.scores, scores.scale, scores.temperature)
    in_bin_VB = np.eye(BINS)[bins_of(sure_V)]
    by_label = np.argsort(scores.labels, kind="stable")
    starts = np.flatnonzero(np.diff(scores.labels[by_label], prepend=-1))
    parts: dict[str, list[Floats]] = {}
    for weights_DV in _draws(len(hits_VT), num, seed):
        right_DV = weights_DV * hits_VT[:, 0]
        for i, k in enumerate(TOP):
            parts.setdefault(f"top{k}", []).append(weights_DV @ hits_VT[:, i] / len(hits_VT))
        counts_DK = np.add.reduceat(weights_DV[:, by_label], starts, axis=1)
        right_DK = np.add.reduceat(right_DV[:, by_label], starts, axis=1)
        share_DK = np.divide(right_DK, counts_DK, out=np.full(counts_DK.shape, np.nan), where=counts_DK > 0)
        parts.setdefault("mean_class", []).append(np.nanmean(share_DK, axis=1))
        gaps_DB = np.abs(right_DV @ in_bin_VB - (weights_DV * sure_V) @ in_bin_VB)
        parts.setdefault("ece", []).append(gaps_DB.sum(axis=1) / len(hits_VT))
    found = {name: np.concatenate(values) for name, values in parts.items()}
    return {name: values for name, values in found.items() if not np.isnan(values).any()}


def intervals(scores: VideoScores, num: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of every metric, by name."""
    return {name: interval_of(values) for name, values in bootstrap(scores, num, seed).items()}


def interval_of(values_D: Floats) -> Interval:
    """Return where 95 % of the draws lie, as many left out below as above."""
    low, high = np.quantile(values_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the probability that chance alone deals out the videos at least as unevenly; 1 if there are none.

    The two-sided exact test: twice the smaller tail of a binomial distribution with odds 1:1, at most 1.
    """
    num = only_first + only_second
    tail = term = 1
    for k in range(min(only_first, only_second)):
        term = term * (num - k) // (k + 1)
        tail += term
    return float(min(1.0, 2 * tail / 2**num))  # whole numbers until here: exact for any number of videos


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that allow for how many questions were asked at once (Holm 1979), in the order given.

    Each is at least what it was; if the smallest of them is below 5 %, chance alone would have given that in fewer than
    5 of 100 such lists.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[i] * (len(p_values) - place)))
        adjusted[i] = largest
    return adjusted


def on_same_videos(tables: Sequence[VideoScores]) -> list[VideoScores]:
    """Return every table with only the videos that all of them have, in the order of the first.

    Raises:
        UserError: If classes or labels differ, or no video is in all.
    """
    if any(scores.classes != tables[0].classes for scores in tables):
        raise UserError("the score tables have different classes; they cannot be compared.")
    rows = [{video: row for row, video in enumerate(scores.video_ids)} for scores in tables]
    videos = [video for video in tables[0].video_ids if all(video in of for of in rows)]
    if not videos:
        raise UserError("no video has a score in every table. Evaluate all on the same split and part.")
    same = [_rows_of(scores, [of[video] for video in videos]) for scores, of in zip(tables, rows, strict=True)]
    for scores in same:
        wrong = np.flatnonzero(scores.labels != same[0].labels)
        if len(wrong):
            raise UserError(
                f"the score tables give {videos[wrong[0]]} different labels: their sets come from other manifests."
            )
    return same


def compare(first: VideoScores, second: VideoScores, num: int = DRAWS, seed: int = 0) -> Comparison:
    """Compare two recognizers on the videos that both have scored.

    Raises:
        UserError: If classes or labels differ, or no video is in both.
    """
    return compare_all([first, second], num, seed)[0, 1]


def compare_all(tables: Sequence[VideoScores], num: int = DRAWS, seed: int = 0) -> dict[tuple[int, int], Comparison]:
    """Compare every two of several recognizers on the videos that all have scored.

    Returns:
        By the places of the first and the second, the first before the second.

    Raises:
        UserError: As :func:`on_same_videos`.
    """
    same = on_same_videos(tables)
    draws = [bootstrap(scores, num, seed) for scores in same]
    numbers = [scores.metrics().as_numbers() for scores in same]
    right = [label_ranks(scores.scores, scores.labels) < 1 for scores in same]
    found = {}
    for i, j in itertools.combinations(range(len(same)), 2):
        only_first, only_second = int((right[i] & ~right[j]).sum()), int((right[j] & ~right[i]).sum())
        found[i, j] = Comparison(
            num_videos=len(right[i]),
            differences={
                name: _difference(numbers[i][name], numbers[j][name], draws[j][name] - draws[i][name])
                for name in draws[i]
                if name in draws[j]
            },
            only_first=only_first,
            only_second=only_second,
            p_value=mcnemar(only_first, only_second),
        )
    return found


def mean_over(tables: Sequence[VideoScores], num: int = DRAWS, seed: int = 0) -> dict[str, tuple[float, Interval]]:
    """Return the mean of every metric over several parts (the official splits), with its interval.

    Videos are drawn within each part. Parts that share videos make the interval too narrow.
    """
    numbers = [scores.metrics().as_numbers() for scores in tables]
    draws = [bootstrap(scores, num, seed + i) for i, scores in enumerate(tables)]
    names = [name for name in numbers[0] if all(name in of for of in numbers) and all(name in of for of in draws)]
    return {
        name: (
            float(np.mean([of[name] for of in numbers])),
            interval_of(np.mean([of[name] for of in draws], axis=0)),
        )
        for name in names
    }


def _difference(first: float, second: float, draws_D: Floats) -> Difference:
    tail = min(int((draws_D <= 0).sum()), int((draws_D >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (len(draws_D) + 1))  # what was measured counts as one draw: never quite 0
    return Difference(first=first, second=second, interval=interval_of(draws_D), p_value=p_value)


def _rows_of(scores: VideoScores, rows: Sequence[int]) -> VideoScores:
    return VideoScores(
        video_ids=[scores.video_ids[row] for row in rows],
        labels=scores.labels[rows],
        scores=scores.scores[rows],
        num_clips=scores.num_clips[rows],
        classes=scores.classes,
        rejected=scores.rejected,
        about=scores.about,
        notes=scores.notes,
    )


def _draws(num_videos: int, num: int, seed: int) -> Iterator[Floats]:
    """Yield how often each video is drawn, ``(D, V)``, in pieces that memory can hold."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, num_videos])))
    for start in range(0, num, _CHUNK):
        drawn = rng.integers(num_videos, size=(min(_CHUNK, num - start), num_videos))
        yield np.stack([np.bincount(row, minlength=num_videos) for row in drawn]).astype(np.float64)
