"""Score fusion of streams: each video's score is divided by its L2 norm, then the streams are added up with weights.

Source: "Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232, whose
two-stream results are sums 1:1.

Axes: V videos, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.errors import ConfigError, UserError
from training.evaluate import VideoScores


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


def fuse(streams: Sequence[VideoScores], weights: Sequence[float] | None = None) -> Fusion:
    """Fuse two or more streams.

    Args:
        streams: Scores of the same part of the same split.
        weights: One per stream; all 1 if not given.

    Raises:
        ConfigError: If there are not as many weights as streams, or one is negative, or all are 0.
        UserError: If classes, labels or parts differ, or no video is in all streams.
    """
    weights = [1.0] * len(streams) if weights is None else [float(weight) for weight in weights]
    if len(streams) < 2:
        raise ConfigError(f"fusion takes 2 or more score tables, got {len(streams)}.")
    if len(weights) != len(streams) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise ConfigError(
            f"fusion takes one weight of 0 or more per stream ({len(streams)}), not all 0, got {weights}."
        )
    _check_same(streams)
    rows = [{video: row for row, video in enumerate(stream.video_ids)} for stream in streams]
    everywhere = set.intersection(*(set(of) for of in rows))
    anywhere = set.union(*(set(of) for of in rows))
    if not everywhere:
        raise UserError("no video has a score in every stream. Evaluate all streams on the same split and part.")
    videos = sorted(everywhere)
    picks = [np.array([of[video] for video in videos]) for of in rows]
    _check_labels(streams, picks, videos)
    total_VK = np.zeros((len(videos), len(streams[0].classes)))
    for stream, pick, weight in zip(streams, picks, weights, strict=True):
        total_VK += weight * unit_scores(stream.scores[pick])
    missing = [sorted(anywhere - set(of)) for of in rows]
    rejected = {entry["video_id"]: entry for stream in streams for entry in stream.rejected}
    fused = VideoScores(
        video_ids=videos,
        labels=streams[0].labels[picks[0]],
        scores=total_VK.astype(np.float32),
        num_clips=np.sum([s.num_clips[pick] for s, pick in zip(streams, picks, strict=True)], axis=0),
        classes=streams[0].classes,
        rejected=[rejected[video] for video in sorted(rejected)],
        about={
            **{key: streams[0].about.get(key) for key in ("split", "part")},
            "modality": "+".join(str(stream.about.get("modality")) for stream in streams),
            "weights": weights,
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
