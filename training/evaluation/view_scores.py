"""Tables of scores: what they share on disk, and the scores of single views, so that averaging anew costs nothing.

Axes: N views, V videos, K classes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import as_document, parse_json
from kinebert.preprocessing.checked.tables import read_table as read_parquet
from kinebert.preprocessing.checked.tables import with_columns
from kinebert.preprocessing.errors import UserError

Ints = NDArray[np.int64]
_KEY = b"kinebert_views"
_FORMAT = 1
_META = ("classes", "rejected", "about", "notes")
_AGAIN = "run `kinebert evaluate` again after deleting this one."
_COLUMNS = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("label", "clip", "crop", "start")),
        pa.field("logits", pa.list_(pa.float32()), nullable=False),
    ]
)


class About(TypedDict, total=False):
    """Where scores come from, as their file keeps it; a fusion, and what older versions wrote, lack some."""

    modality: str
    """What the pictures are; of a fusion those of its streams, with a plus between them."""
    split: str | None
    """Name of the split."""
    part: str | None
    """Part of it: ``train``, ``val`` or ``test``."""
    shards: str
    """Digest of the extraction recipe of the shard set."""
    content: str
    """Digest of the bytes and the index of the shard set."""
    recipe: dict[str, Any]
    """Extraction recipe, plain."""
    checkpoint: str
    """Digest of the checkpoint's file."""
    run_folder: str
    """Where it was trained."""
    model: str
    """Backbone and head."""
    epoch: int
    """Epochs of training that it has seen."""
    protocol: dict[str, Any]
    """A :class:`.ProtocolRecipe`, plain."""
    views: str | None
    """Name of the protocol, and which clips and crops of it were taken if not all; None of a fusion."""
    num_views: int
    """Views that were averaged, of all videos."""
    scale: str
    """``logits``, ``probabilities`` or ``sums``."""
    subset: dict[str, list[int]]
    """Numbers of the clips and crops that were taken, if not all."""
    weights: list[float]
    """Weights of the streams of a fusion; nothing else has them."""
    method: str
    """How a fusion brings its streams to one scale."""
    temperature: float
    """What the scores of a fusion are divided by before their softmax gives probabilities."""
    calibration: dict[str, Any]
    """A :class:`.Calibration`, plain: who has chosen the temperature, and what came of it there."""
    streams: list["About"]
    """What the streams of a fusion say of themselves."""
    num_missing: list[int]
    """Videos that each stream of a fusion lacks."""


@dataclass(frozen=True, kw_only=True)
class _Meta:
    """What a file says beside its columns."""

    classes: list[str]
    rejected: list[dict[str, str]]
    about: About
    notes: list[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreTable:
    """What every table of scores says."""

    video_ids: list[str]
    """Unique."""
    labels: Ints
    """Class index of each video, ``(V,)``; -1 where it is not known."""
    classes: list[str]
    """Class names by label."""
    rejected: list[dict[str, str]] = field(default_factory=list)
    """Videos of the part that are not in the shard set: ``video_id`` and ``problem``. They count in no accuracy."""
    about: About = field(default_factory=About)
    """Where the scores come from."""
    notes: list[str] = field(default_factory=list)
    """What is unusual about the data, in sentences."""

    @property
    def tested_part(self) -> str:
        """Split and part that were scored, such as ``split1/test``."""
        return f"{self.about.get('split')}/{self.about.get('part')}"


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewScores(ScoreTable):
    """What a recognizer says of every view (one crop of one clip) of every video, video by video."""

    videos: Ints
    """Row of the view's video in ``video_ids``, ``(N,)``."""
    clips: Ints
    """Number of the view's clip in its video, from 0, ``(N,)``."""
    crops: Ints
    """Number of its crop, from 0 (the centre), ``(N,)``; see :func:`kinebert.training.data.transforms.eval_crops`."""
    starts: Ints
    """First stored image of its clip, ``(N,)``."""
    logits: NDArray[np.float32]
    """``(N, K)``."""


def write_views(uri: str, views: ViewScores) -> None:
    """Write the scores of views as one Parquet file, whole or not at all. Its folder must exist."""
    names, of_N = views.video_ids, views.videos
    labels_N = views.labels[of_N]
    columns = {
        "video_id": pa.array(np.array(names, object)[of_N], pa.string()).dictionary_encode(),
        "label": pa.array(labels_N, pa.int32()),
        "clip": pa.array(views.clips, pa.int32()),
        "crop": pa.array(views.crops, pa.int32()),
        "start": pa.array(views.starts, pa.int32()),
        "logits": list_column(views.logits),
    }
    write_table(uri, columns, views, _KEY)


def read_views(uri: str) -> ViewScores:
    """Read what :func:`write_views` wrote.

    Raises:
        UserError: If it is missing, damaged, or another kind of file.
    """
    table, meta = read_table(
        uri, _KEY, "scores of views. Give a views.parquet that `kinebert evaluate` wrote", _COLUMNS
    )
    names: list[str] = table["video_id"].to_pylist()
    rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
    labels_N = table["label"].to_numpy().astype(np.int64)
    check_rows(uri, labels_N, table["logits"], len(meta["classes"]))
    videos_N = np.array([rows[name] for name in names], np.int64)
    labels_V = np.empty(len(rows), np.int64)
    labels_V[videos_N] = labels_N
    return ViewScores(
        video_ids=list(rows),
        labels=labels_V,
        videos=videos_N,
        clips=table["clip"].to_numpy().astype(np.int64),
        crops=table["crop"].to_numpy().astype(np.int64),
        starts=table["start"].to_numpy().astype(np.int64),
        logits=matrix_of(table["logits"], len(meta["classes"])),
        **meta,
    )


def is_views(uri: str) -> bool:
    """Whether a file holds the scores of views, and not of videos.

    Raises:
        UserError: If it is missing or damaged.
    """
    return _KEY in (_parquet(uri).schema.metadata or {})


def list_column(values_NK: NDArray[Any]) -> pa.Array:
    """Return a matrix as a column of one list per row."""
    flat = pa.array(np.ascontiguousarray(values_NK, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values_NK.shape[1])


def matrix_of(column: pa.ChunkedArray, num_classes: int) -> NDArray[np.float32]:
    """Return a column of lists, one per row, as a matrix ``(N, K)``."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(-1, num_classes)


def write_table(uri: str, columns: Mapping[str, pa.Array], scores: ScoreTable, key: bytes) -> None:
    """Write columns and what every table of scores says beside them, whole or not at all."""
    meta = {"format": _FORMAT, **{name: getattr(scores, name) for name in _META}}
    table = pa.table(dict(columns)).replace_schema_metadata({key: json.dumps(meta)})
    with storage.explained(uri, "write the scores"), storage.whole_file(uri) as path:
        pq.write_table(table, path)


def read_table(uri: str, key: bytes, what: str, columns: pa.Schema) -> tuple[pa.Table, dict[str, Any]]:
    """Read the ``columns`` of a table that :func:`write_table` wrote with ``key``, and :class:`ScoreTable`'s fields.

    Raises:
        UserError: If it is missing, damaged, or another kind of file (``what``: which one, and where it comes from).
    """
    table, again = _parquet(uri), f"Give another file, or {_AGAIN}"
    text = (table.schema.metadata or {}).get(key)
    if text is None:
        raise UserError(f"{uri}: not a table of {what}.")
    plain = parse_json(text, uri, f"a table of {what}", again, nan=True)
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise UserError(f"{uri}: not a table of {what}.")
    meta = as_document(_Meta, plain, uri, f"a table of {what}", again)
    return with_columns(table, columns, uri, again), {name: getattr(meta, name) for name in _META}


def check_rows(uri: str, labels: Ints, rows: pa.ChunkedArray, num_classes: int) -> None:
    """Make sure that a table which was read from ``uri`` has labels of its classes, and a score for each of them.

    Raises:
        UserError: If not.
    """
    lengths = set(pc.unique(pc.list_value_length(rows)).to_pylist())
    if not lengths <= {num_classes} or ((labels < -1) | (labels >= num_classes)).any():
        raise UserError(
            f"{uri}: damaged: it names {num_classes} classes, and has rows of {sorted(lengths)} scores and labels up "
            f"to {max(labels, default=-1)}. Give another file, or {_AGAIN}"
        )


def _parquet(uri: str) -> pa.Table:
    with storage.explained(uri, "read the scores"):
        return read_parquet(uri, f"Give another file, or {_AGAIN}", "not a Parquet file, or damaged")
