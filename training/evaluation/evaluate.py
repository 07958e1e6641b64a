"""Scores of videos: run a recognizer over one part of a shard set, and keep what it says as a table.

A *view* is one crop of one clip. What the recognizer says of every view is kept (:class:`.ViewScores`), and a video's
score is the mean over its views: of the raw logits, as published, or of their softmax.

Axes: N views, V videos, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.recognizer import CheckpointInfo
from kinebert.training.data.batches import in_whole_clips
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.parts import check_videos
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.evaluation.metrics import CHUNK_ROWS, Metrics, MetricSums, measure, probabilities
from kinebert.training.evaluation.scorer import ScoreBatches, Scorer, across_ranks
from kinebert.training.evaluation.view_scores import (
    About,
    ScoreTable,
    ViewScores,
    check_rows,
    list_column,
    matrix_of,
    read_table,
    write_table,
)
from kinebert.training.models import Recognizer
from kinebert.training.numerics import AS_USUAL, Inference
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.shards import Shards

_KEY = b"kinebert_scores"
_COLUMNS = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("label", "num_clips")),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoScores(ScoreTable):
    """What one stream (or a fusion of streams) says about each video."""

    scores: NDArray[np.float32]
    """Mean scores ``(V, K)``; higher is more likely. Their scale differs between streams."""
    num_clips: NDArray[np.int64]
    """Clips that each score is the mean of, ``(V,)``."""

    @property
    def scale(self) -> str:
        """``logits``, ``probabilities``, or ``sums`` (of fused scores, which are probabilities by a temperature)."""
        return str(self.about.get("scale", "logits"))

    @property
    def temperature(self) -> float | None:
        """What scores are divided by before their softmax gives probabilities; None if nobody has chosen one."""
        known = self.about.get("temperature", 0.0)
        return known if 0 < known < float("inf") else None

    def probabilities(self) -> NDArray[np.float64]:
        """Return the scores as probabilities ``(V, K)``; rows sum to 1."""
        return probabilities(self.scores, self.scale, self.temperature or 1.0)

    @property
    def views(self) -> str:
        """What a video was tested on; of a fusion that of its streams, once if they agree."""
        if "streams" in self.about:
            return "+".join(dict.fromkeys(str(about.get("views")) for about in self.about["streams"]))
        return str(self.about.get("views"))

    def metrics(self) -> Metrics:
        """Measure the scores against the labels."""
        return measure(self.scores, self.labels, self.scale, self.temperature)


def evaluate(
    recognizer: Recognizer,
    shards: Shards,
    data: DataRecipe,
    *,
    part: str,
    protocol: ProtocolRecipe | None = None,
    batch: int = 16,
    worker: WorkerContext | None = None,
    loader_workers: int | Literal["auto"] = 0,
    inference: Inference = AS_USUAL,
) -> VideoScores:
    """Score every video of ``data.split`` / ``part`` exactly once, in this process or in all of a training.

    Args:
        recognizer: Moved to the worker's device and set to evaluation, in place.
        shards: Of the recipe that the recognizer was trained on; ``check_shards`` makes sure.
        data: Sampling and crops, as in training.
        part: Part of the split to score.
        protocol: Which views, and how they are averaged; by default one per video, the centre.
        batch: Views that are fed at once.
        worker: Which of several processes this is: they share the batches, and each gets the scores of all. None scores
            alone, where the network is.
        loader_workers: Processes that read clips; or ``auto``, as in a recipe.
        inference: How the network computes.

    Raises:
        UserError: If the classes are not as many as the recognizer's, or the part is empty, or a score is not finite.
    """
    protocol = protocol or ProtocolRecipe()
    videos, notes = check_videos(shards, data, part)
    settings: dict[str, Any] = {"loader_workers": loader_workers, "inference": inference}
    if worker is not None:
        settings |= {"device": worker.device, "num_threads": worker.num_threads, "cores": worker.cores}
        settings["node_processes"] = worker.node_processes
    scorer = Scorer(recognizer, shards, videos, data, protocol, **settings)
    score = scorer if worker is None else across_ranks(scorer, len(shards.classes), worker)
    return average(score_views(shards, videos, data, protocol, score, part=part, batch=batch, notes=notes))


def score_views(
    shards: Shards,
    videos: Sequence[Any],
    data: DataRecipe,
    protocol: ProtocolRecipe,
    score: ScoreBatches,
    *,
    part: str,
    batch: int = 16,
    notes: Sequence[str] = (),
    about: About | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ViewScores:
    """Score all views of some videos, each exactly once.

    Which views meet in a batch depends on the videos and ``batch`` alone, never on who scores them.

    Args:
        shards: What ``score`` reads.
        videos: Of ``shards``, in the order of the result.
        data: Sampling and crops, as in training.
        protocol: Which views.
        score: Where the work is done: a :class:`Scorer`, or many of them.
        part: Part of ``data.split`` that the videos are of.
        batch: Views that are fed at once.
        notes: Kept with the scores.
        about: Kept with the scores, for example the checkpoint's digest.
        progress: Called with the views that are done and their total, after every batch.

    Raises:
        UserError: If a score is not finite.
    """
    protocol.check_sampling(data.sampling)
    dataset = ClipDataset(shards, videos, data, protocol=protocol)
    keys = np.array(dataset.test_keys(range(len(videos))), np.int64).reshape(-1, 2)
    videos_N, views_N = keys.T
    logits_NK = np.empty((len(keys), len(shards.classes)), np.float32)
    finite_N = np.empty(len(keys), bool)
    done = 0
    for some_NK in score(in_whole_clips([(int(v), int(i)) for v, i in keys], batch, protocol.crops)):
        logits_NK[done : done + len(some_NK)] = some_NK
        finite_N[done : done + len(some_NK)] = np.isfinite(some_NK).all(axis=1)
        done += len(some_NK)
        if progress is not None:
            progress(done, len(keys))
    assert done == len(keys), f"{done} of {len(keys)} views were scored"
    broken = sorted({int(v) for v in videos_N[~finite_N]})
    if broken:
        raise UserError(
            f"{shards.uri}: {len(broken)} of {len(videos)} videos have scores that are no numbers, the first is "
            f"{videos[broken[0]].video_id}. The recognizer's weights are damaged, or training diverged: take another "
            "checkpoint."
        )
    starts = [dataset.clips_of(row)[:, 0] for row in range(len(videos))]
    facts: About = {"modality": shards.modality, "split": data.split, "part": part, "shards": shards.digest}
    return ViewScores(
        video_ids=[video.video_id for video in videos],
        labels=np.array([video.label for video in videos], np.int64),
        classes=list(shards.classes),
        rejected=[
            {"video_id": video.video_id, "problem": video.problem}
            for video in shards.rejected
            if video.splits.get(data.split) == part
        ],
        about={**facts, "content": shards.content, "protocol": to_plain(protocol), **(about or {})},
        notes=list(notes),
        videos=videos_N,
        clips=views_N // protocol.crops,
        crops=views_N % protocol.crops,
        starts=np.concatenate(starts)[_clip_rows(videos_N, views_N // protocol.crops, starts)],
        logits=logits_NK,
    )


def _clip_rows(videos_N: NDArray[np.int64], clips_N: NDArray[np.int64], clips_of: Sequence[Any]) -> NDArray[np.int64]:
    """Where the clip of each view stands when the clips of all videos are put in a row."""
    before = np.concatenate([[0], np.cumsum([len(clips) for clips in clips_of])]).astype(np.int64)
    return before[videos_N] + clips_N


def average(
    views: ViewScores, how: str | None = None, clips: Sequence[int] = (), crops: Sequence[int] = ()
) -> VideoScores:
    """Average the scores of each video's views. Costs no run of a network.

    Args:
        views: Of every video at least one.
        how: ``logits`` or ``softmax``; None for what the views were made for.
        clips: Numbers of the clips to take, from 0; empty for all.
        crops: Numbers of the crops to take, from 0 (the centre); empty for all.

    Raises:
        ConfigError: If a number is negative or nobody has that clip or crop, or nothing is left of a video.
    """
    kept_N = np.ones(len(views.videos), bool)
    for name, numbers, column_N in (("clip", clips, views.clips), ("crop", crops, views.crops)):
        absent = sorted(set(numbers) - set(column_N.tolist()))
        if absent:
            raise ConfigError(
                f"there is no {name} {absent[0]}: {name}s are numbered from 0 to {column_N.max()}. Name others."
            )
        kept_N &= np.isin(column_N, numbers) if len(numbers) else True
    rows_N, num_videos = views.videos[kept_N], len(views.video_ids)
    num_V = np.bincount(rows_N, minlength=num_videos)
    if not num_V.all():
        lost = np.flatnonzero(num_V == 0)
        raise ConfigError(
            f"{len(lost)} of {num_videos} videos have none of these clips, the first is {views.video_ids[lost[0]]}. "
            "Take more clips."
        )
    changed: dict[str, Any] = {"average": how} if how else {}
    protocol = replace(_protocol_of(views), **changed)
    sums_VK = _sums(views.logits, np.flatnonzero(kept_N), rows_N, num_videos, soft=protocol.average == "softmax")
    first = views.crops[kept_N].min()
    subset = {name: sorted(set(of)) for name, of in (("clips", clips), ("crops", crops)) if len(of)}
    words = "".join(f"-{name}{'+'.join(map(str, numbers))}" for name, numbers in subset.items())
    return VideoScores(
        video_ids=views.video_ids,
        labels=views.labels,
        scores=(sums_VK / num_V[:, None]).astype(np.float32),
        num_clips=np.bincount(views.videos[kept_N & (views.crops == first)], minlength=num_videos),
        classes=views.classes,
        rejected=views.rejected,
        about={
            **views.about,
            "protocol": to_plain(protocol),
            "views": protocol.name + words,
            "num_views": len(rows_N),
            "scale": "probabilities" if protocol.average == "softmax" else "logits",
            **({"subset": subset} if subset else {}),
        },
        notes=views.notes,
    )


def clip_level(views: ViewScores) -> Metrics:
    """Measure every clip by itself against its video's label, over the mean of its crops: clip-level accuracy.

    Chen et al., arXiv:2010.11757, set it beside the video-level accuracy, which is that of :func:`average`.
    """
    soft = _protocol_of(views).average == "softmax"
    most = int(views.clips.max()) + 1
    clips_C, rows_N = np.unique(views.videos * most + views.clips, return_inverse=True)
    labels_C = views.labels[clips_C // most]
    order_N, ends_C = np.argsort(rows_N, kind="stable"), np.cumsum(np.bincount(rows_N))
    metrics = MetricSums(len(views.classes))
    for first in range(0, len(labels_C), CHUNK_ROWS):
        last = min(first + CHUNK_ROWS, len(labels_C))
        some_N = order_N[ends_C[first - 1] if first else 0 : ends_C[last - 1]]
        sums_CK = _sums(views.logits, some_N, rows_N[some_N] - first, last - first, soft=soft)
        means_CK = sums_CK / np.bincount(rows_N[some_N] - first)[:, None]
        metrics.add(means_CK, labels_C[first:last], 0.0, "probabilities" if soft else "logits")
    return metrics.metrics()


def _sums(
    logits_NK: NDArray[np.float32],
    rows_M: NDArray[np.int64],
    groups_M: NDArray[np.int64],
    num_groups: int,
    *,
    soft: bool,
) -> NDArray[np.float64]:
    """Add up some rows of logits, or their probabilities, by group, a chunk at a time: no copy of all in float64."""
    sums_GK = np.zeros((num_groups, logits_NK.shape[1]))
    for first in range(0, len(rows_M), CHUNK_ROWS):
        values_MK = logits_NK[rows_M[first : first + CHUNK_ROWS]].astype(np.float64)
        np.add.at(sums_GK, groups_M[first : first + CHUNK_ROWS], probabilities(values_MK) if soft else values_MK)
    return sums_GK


def _protocol_of(views: ViewScores) -> ProtocolRecipe:
    plain = views.about.get("protocol")
    if plain is None:
        raise UserError("the table of views does not say how its videos were scored. Evaluate again.")
    return from_mapping(ProtocolRecipe, plain, "the protocol that the table of views names")


def recipe_of(uri: str, info: CheckpointInfo) -> TrainRecipe:
    """Return the recipe that a checkpoint was trained with.

    Raises:
        UserError: If the checkpoint read from ``uri`` holds none.
    """
    if not isinstance(info.extra.get("train"), dict):
        raise UserError(
            f"{uri}: this checkpoint does not say how it was trained. Give one that `kinebert train` wrote."
        )
    return from_mapping(TrainRecipe, info.extra["train"], uri)


def write_scores(uri: str, scores: VideoScores) -> None:
    """Write scores as one Parquet file, whole or not at all. Its folder must exist."""
    columns = {
        "video_id": pa.array(scores.video_ids, pa.string()),
        "label": pa.array(scores.labels, pa.int32()),
        "label_name": pa.array([scores.classes[label] for label in scores.labels], pa.string()),
        "num_clips": pa.array(scores.num_clips, pa.int32()),
        "scores": list_column(scores.scores),
    }
    write_table(uri, columns, scores, _KEY)


def read_scores(uri: str) -> VideoScores:
    """Read what :func:`write_scores` wrote.

    Raises:
        UserError: If it is missing, damaged, or another kind of file.
    """
    table, meta = read_table(uri, _KEY, "scores. Give a file that `kinebert evaluate` or `fuse` wrote", _COLUMNS)
    names: list[str] = table["video_id"].to_pylist()
    labels_V = table["label"].to_numpy().astype(np.int64)
    check_rows(uri, labels_V, table["scores"], len(meta["classes"]))
    if len(set(names)) != len(names):
        raise UserError(f"{uri}: damaged: a video is in it twice. Evaluate again, and delete this one.")
    return VideoScores(
        video_ids=names,
        labels=labels_V,
        scores=matrix_of(table["scores"], len(meta["classes"])),
        num_clips=table["num_clips"].to_numpy().astype(np.int64),
        **meta,
    )
