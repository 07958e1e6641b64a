"""Scores of videos: run a recognizer over one part of a shard set, and keep what it says as a table.

A video's score is the mean of the raw logits of its clips (no softmax), as published.

Axes: N clips, V videos, K classes.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from preprocessing import storage
from preprocessing.config import from_mapping
from preprocessing.errors import UserError
from preprocessing.sampling import Views
from training.checkpoints import CheckpointInfo
from training.data import Batch, ClipDataset, ClipLoader, Shards, check_videos, in_batches, limit_threads
from training.metrics import Metrics, measure
from training.models import Recognizer
from training.recipe import DataRecipe, TrainRecipe
from training.step import autocast_dtype
from training.transforms import to_device_batch

_KEY = b"kinebert_scores"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoScores:
    """What one stream (or a fusion of streams) says about each video."""

    video_ids: list[str]
    """In the order of the rows, unique."""
    labels: NDArray[np.int64]
    """Class index of each video, ``(V,)``."""
    scores: NDArray[np.float32]
    """Mean logits ``(V, K)``; higher is more likely. Their scale differs between streams."""
    num_clips: NDArray[np.int64]
    """Clips that each score is the mean of, ``(V,)``."""
    classes: list[str]
    """Class names by label."""
    rejected: list[dict[str, str]] = field(default_factory=list)
    """Videos of the part that are not in the shard set: ``video_id`` and ``problem``. They count in no accuracy."""
    about: dict[str, Any] = field(default_factory=dict)
    """Where the scores come from: modality, split, part, views, digests of shards, recipe and checkpoint."""
    notes: list[str] = field(default_factory=list)
    """What is unusual about the data, in sentences."""

    def metrics(self) -> Metrics:
        """Measure the scores against the labels."""
        return measure(self.scores, self.labels)


def evaluate(
    recognizer: Recognizer,
    shards: Shards,
    data: DataRecipe,
    *,
    part: str,
    views: Views = "single",
    batch: int = 16,
    device: torch.device | None = None,
    loader_workers: int = 0,
    amp: str = "auto",
    num_threads: int | None = None,
    about: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VideoScores:
    """Score every video of ``data.split`` / ``part`` exactly once.

    Args:
        recognizer: Moved to ``device`` and set to evaluation, in place.
        shards: Of the recipe that the recognizer was trained on; ``training.checkpoints.check_shards`` makes sure.
        data: Sampling and crops, as in training.
        part: Part of the split to score.
        views: ``single``: the centre clip; ``multi``: all clips that fit without overlap.
        batch: Clips that are fed at once.
        device: Where the network runs; None for where it is.
        loader_workers: Processes that read clips.
        amp: As in a recipe.
        num_threads: Threads that torch may use; None leaves them as they are.
        about: Kept with the scores, for example the checkpoint's digest.
        progress: Called with the clips that are done and their total, after every batch.

    Raises:
        UserError: If the classes are not as many as the recognizer's, or the part is empty, or a score is not finite.
    """
    if recognizer.spec.modality != shards.modality or recognizer.config["num_classes"] != len(shards.classes):
        raise UserError(
            f"{shards.uri}: holds {shards.modality} of {len(shards.classes)} classes, the recognizer takes "
            f"{recognizer.spec.modality} of {recognizer.config['num_classes']} classes. Give the set it was trained on."
        )
    limit_threads(num_threads)
    device = device or next(recognizer.parameters()).device
    recognizer.to(device).eval()
    videos, notes = check_videos(shards, data, part)
    dataset = ClipDataset(shards, videos, data, views=views)
    keys = dataset.test_keys(range(len(videos)))
    sums_VK = np.zeros((len(videos), len(shards.classes)))
    num_clips_V = np.zeros(len(videos), np.int64)
    done = 0
    loader = ClipLoader(dataset, in_batches(keys, batch), loader_workers, device)
    for logits_NK, clips in score_clips(recognizer, loader, device, autocast_dtype(amp, device)):
        rows_N = clips.videos.numpy()
        np.add.at(sums_VK, rows_N, logits_NK.double().numpy())
        np.add.at(num_clips_V, rows_N, 1)
        done += len(rows_N)
        if progress is not None:
            progress(done, len(keys))
    scores_VK = (sums_VK / num_clips_V[:, None]).astype(np.float32)
    broken = [videos[row].video_id for row in np.flatnonzero(~np.isfinite(scores_VK).all(axis=1)).tolist()]
    if broken:
        raise UserError(
            f"{shards.uri}: {len(broken)} of {len(videos)} videos have scores that are no numbers, the first is "
            f"{broken[0]}. The recognizer's weights are damaged, or training diverged: take another checkpoint."
        )
    facts = {"modality": shards.modality, "split": data.split, "part": part, "views": views, "shards": shards.digest}
    return VideoScores(
        video_ids=[video.video_id for video in videos],
        labels=np.array([video.label for video in videos], np.int64),
        scores=scores_VK,
        num_clips=num_clips_V,
        classes=list(shards.classes),
        rejected=[
            {"video_id": video.video_id, "problem": video.problem}
            for video in shards.rejected
            if video.splits.get(data.split) == part
        ],
        about={**facts, **(about or {})},
        notes=notes,
    )


def score_clips(
    recognizer: Recognizer, loader: ClipLoader, device: torch.device, dtype: torch.dtype | None
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield the float32 logits ``(N, K)`` of each batch of a loader, on the CPU, with the batch."""
    for clips in loader:
        x_NCTHW = to_device_batch(clips.clips, recognizer.spec, device)
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            logits_NK = recognizer(x_NCTHW)
        yield logits_NK.float().cpu(), clips


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


def file_digest(uri: str) -> str:
    """Return twelve characters that change with any byte of a file."""
    with storage.explained(uri, "read this file"):
        return hashlib.sha256(storage.read_bytes(uri)).hexdigest()[:12]


def write_scores(uri: str, scores: VideoScores) -> None:
    """Write scores as one Parquet file, whole or not at all. Its folder must exist."""
    meta = {"format": _FORMAT, "classes": scores.classes, "rejected": scores.rejected, "about": scores.about}
    flat = pa.array(np.ascontiguousarray(scores.scores, np.float32).ravel())
    table = pa.table(
        {
            "video_id": pa.array(scores.video_ids, pa.string()),
            "label": pa.array(scores.labels, pa.int32()),
            "label_name": pa.array([scores.classes[label] for label in scores.labels], pa.string()),
            "num_clips": pa.array(scores.num_clips, pa.int32()),
            "scores": pa.FixedSizeListArray.from_arrays(flat, len(scores.classes)),
        }
    )
    table = table.replace_schema_metadata({_KEY: json.dumps({**meta, "notes": scores.notes})})
    with storage.explained(uri, "write the scores"), storage.whole_file(uri) as path:
        pq.write_table(table, path)


def read_scores(uri: str) -> VideoScores:
    """Read what :func:`write_scores` wrote.

    Raises:
        UserError: If it is missing, damaged, or another kind of file.
    """
    with storage.explained(uri, "read the scores"):
        data = storage.read_bytes(uri)
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{uri}: not a Parquet file, or damaged: {error}.") from error
    meta = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    if meta.get("format") != _FORMAT:
        raise UserError(f"{uri}: not a table of scores. Give a file that `kinebert evaluate` or `fuse` wrote.")
    flat = table["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return VideoScores(
        video_ids=table["video_id"].to_pylist(),
        labels=table["label"].to_numpy().astype(np.int64),
        scores=flat.reshape(table.num_rows, len(meta["classes"])).astype(np.float32),
        num_clips=table["num_clips"].to_numpy().astype(np.int64),
        classes=meta["classes"],
        rejected=meta["rejected"],
        about=meta["about"],
        notes=meta["notes"],
    )
