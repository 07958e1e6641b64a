"""Score fusion of any number of streams: scores are brought to one scale, then added up with weights.

``l2``: each video's score is divided by its L2 norm, as in the two-stream results of "Late temporal modeling in 3D CNN
architectures with BERT for action recognition", arXiv:2008.01232, which are sums 1:1. ``softmax``: scores become
probabilities, and their weighted mean is one again. :mod:`.calibration` makes probabilities of either.

Axes: V videos, K classes, S streams.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.metrics import label_ranks, probabilities

Method = Literal["l2", "softmax"]
MOST_SUBSETS = 6
"""Streams up to which every subset of them is measured; of more, the single ones and those that leave one out."""
_MOST_WEIGHTS = 5000
_FINEST = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Fusion:
    """Fused scores of the videos that every stream has, and the others by name."""

    scores: VideoScores
    """Sorted by video id."""
    missing: list[list[str]]
    """For each stream, the videos that another stream has scored and this one has not. They count in no accuracy."""

    def notes(self) -> list[str]:
        """Say in sentences which stream lacks how many videos."""
        total = len(self.scores.video_ids) + len({video for videos in self.missing for video in videos})
        return [
            f"stream {i} has no score for {len(videos)} of {total} videos, which are left out: {', '.join(videos[:5])}"
            + (", ..." if len(videos) > 5 else "")
            for i, videos in enumerate(self.missing, start=1)
            if videos
        ]


def fuse(streams: Sequence[VideoScores], weights: Sequence[float] | None = None, method: Method = "l2") -> Fusion:
    """Fuse two or more streams.

    Args:
        streams: Scores of the same part of the same split.
        weights: One per stream; all 1 if not given.
        method: How scores are brought to one scale.

    Raises:
        ConfigError: If there are not as many weights as streams, or one is negative, or all are 0.
        UserError: If classes, labels or parts differ, no video is in all streams, or the scores are of another scale
            than the method takes.
    """
    weights = [1.0] * len(streams) if weights is None else [float(weight) for weight in weights]
    if len(streams) < 2:
        raise ConfigError(f"fusion takes 2 or more score tables, got {len(streams)}.")
    if len(weights) != len(streams) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise ConfigError(
            f"fusion takes one weight of 0 or more per stream ({len(streams)}), not all 0, got {weights}."
        )
    videos, picks, anywhere = _matched(streams)
    total_VK = np.zeros((len(videos), len(streams[0].classes)))
    for scaled_VK, weight in zip(_scaled(streams, picks, method), weights, strict=True):
        total_VK += weight * scaled_VK
    if method == "softmax":
        total_VK /= sum(weights)
    rows = [set(stream.video_ids) for stream in streams]
    missing = [sorted(anywhere - of) for of in rows]
    rejected = {entry["video_id"]: entry for stream in streams for entry in stream.rejected}
    fused = VideoScores(
        video_ids=videos,
        labels=streams[0].labels[picks[0]],
        scores=total_VK.astype(np.float32),
        num_clips=np.sum([s.num_clips[pick] for s, pick in zip(streams, picks, strict=True)], axis=0),
        classes=streams[0].classes,
        rejected=[rejected[video] for video in sorted(rejected)],
        about={
            "split": streams[0].about.get("split"),
            "part": streams[0].about.get("part"),
            "modality": "+".join(str(stream.about.get("modality")) for stream in streams),
            "weights": weights,
            "method": method,
            "scale": "probabilities" if method == "softmax" else "sums",
            "streams": [stream.about for stream in streams],
            "num_missing": [len(videos) for videos in missing],
        },
    )
    return Fusion(scores=fused, missing=missing)


def unit_scores(scores_VK: NDArray[np.float32]) -> NDArray[np.float64]:
    """Divide each video's scores by their L2 norm; scores that are all 0 stay 0."""
    scores = scores_VK.astype(np.float64)
    norms_V1 = np.linalg.norm(scores, axis=1, keepdims=True)
    return np.asarray(np.divide(scores, norms_V1, out=np.zeros_like(scores), where=norms_V1 > 0))


def fit_weights(streams: Sequence[VideoScores], method: Method = "l2") -> list[float]:
    """Return the weights, with sum 1, that fuse the streams best; to be found on validation, and kept for the test.

    All weights on an even grid are tried, up to 5,000 of them in steps of at least 1/20: highest top-1; of equal ones
    the lowest mean rank of the labels, then the most even weights. Nothing is random.

    Args:
        streams: Scores of the validation part, in the order of the streams.
        method: As in :func:`fuse`.

    Raises:
        UserError: As :func:`fuse`.
    """
    _, picks, _ = _matched(streams)
    scaled = np.stack(list(_scaled(streams, picks, method)))
    labels_V = streams[0].labels[picks[0]]
    best: tuple[float, float, float] | None = None
    chosen: list[float] = []
    for weights in _grid(len(streams)):
        ranks_V = label_ranks(np.tensordot(weights, scaled, axes=1), labels_V)
        found = float((ranks_V < 1).mean()), -float(np.mean(ranks_V)), -float(np.square(weights).sum())
        if best is None or found > best:
            best, chosen = found, weights
    return chosen


def stream_names(modalities: Sequence[object]) -> list[str]:
    """Return what the streams of a fusion are called: by their modality, with their place where several share one."""
    texts = [str(modality) for modality in modalities]
    return [name if texts.count(name) == 1 else f"{name} {i}" for i, name in enumerate(texts, start=1)]


def subsets(num_streams: int) -> list[tuple[int, ...]]:
    """Return the streams of every row of an ablation table, single ones first, all of them last."""
    sizes = range(1, num_streams + 1) if num_streams <= MOST_SUBSETS else (1, num_streams - 1, num_streams)
    return [chosen for size in sizes for chosen in itertools.combinations(range(num_streams), size)]


def grid_of(num: int) -> tuple[int, float]:
    """Return how many weightings of ``num`` streams :func:`fit_weights` tries, and the step from one to the next."""
    steps = _steps(num)
    return math.comb(steps + num - 1, num - 1), 1 / steps


def _steps(num: int) -> int:
    """Return into how many steps the way from weight 0 to 1 is divided: as many as is affordable."""
    return next(n for n in range(_FINEST, 0, -1) if math.comb(n + num - 1, num - 1) <= _MOST_WEIGHTS or n == 1)


def _grid(num: int) -> Iterator[list[float]]:
    """Yield all weights with sum 1 in even steps."""
    steps = _steps(num)
    for bars in itertools.combinations(range(steps + num - 1), num - 1):
        edges = (-1, *bars, steps + num - 1)
        yield [(after - before - 1) / steps for before, after in itertools.pairwise(edges)]


def _matched(streams: Sequence[VideoScores]) -> tuple[list[str], list[NDArray[np.int64]], set[str]]:
    """Return the videos that all streams have, their rows in each stream, and the videos that any has."""
    _check_same(streams)
    rows = [{video: row for row, video in enumerate(stream.video_ids)} for stream in streams]
    everywhere = set.intersection(*(set(of) for of in rows))
    if not everywhere:
        raise UserError("no video has a score in every stream. Evaluate all streams on the same split and part.")
    videos = sorted(everywhere)
    picks = [np.array([of[video] for video in videos]) for of in rows]
    _check_labels(streams, picks, videos)
    return videos, picks, set.union(*(set(of) for of in rows))


def _scaled(
    streams: Sequence[VideoScores], picks: Sequence[NDArray[np.int64]], method: Method
) -> Iterator[NDArray[np.float64]]:
    """Yield the scores ``(V, K)`` of each stream on the scale of the method."""
    for i, (stream, pick) in enumerate(zip(streams, picks, strict=True), start=1):
        scores_VK = stream.scores[pick]
        if method == "l2":
            yield unit_scores(scores_VK)
        elif stream.scale == "sums" and stream.temperature is None:
            raise UserError(
                f"stream {i} is a fusion of L2-normalised scores without a temperature. Fuse its streams with "
                "the others, or take --method l2."
            )
        else:
            yield probabilities(scores_VK, stream.scale, stream.temperature or 1.0)


def _check_same(streams: Sequence[VideoScores]) -> None:
    first = streams[0]
    for i, other in enumerate(streams[1:], start=2):
        if other.classes != first.classes:
            numbers = f"{len(first.classes)} and {len(other.classes)}"
            pairs = zip(first.classes, other.classes, strict=False)
            differing = next((f"; first difference: {a!r}, {b!r}" for a, b in pairs if a != b), "")
            raise UserError(f"streams 1 and {i} have different classes ({numbers}{differing}); they cannot be fused.")
        for key in ("split", "part"):
            if other.about.get(key) != first.about.get(key):
                raise UserError(
                    f"streams 1 and {i} were evaluated on different parts ({key} {first.about.get(key)!r} and "
                    f"{other.about.get(key)!r}). Evaluate all on the same one."
                )


def _check_labels(streams: Sequence[VideoScores], picks: Sequence[NDArray[np.int64]], videos: Sequence[str]) -> None:
    first_V = streams[0].labels[picks[0]]
    for i, (stream, pick) in enumerate(zip(streams[1:], picks[1:], strict=True), start=2):
        wrong = np.flatnonzero(stream.labels[pick] != first_V)
        if len(wrong):
            raise UserError(
                f"streams 1 and {i} give {len(wrong)} of {len(videos)} videos different labels, the first is "
                f"{videos[wrong[0]]}. Their shard sets come from different manifests."
            )
