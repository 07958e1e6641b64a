"""Videos in a CSV file of one's own."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from kinebert.preprocessing.datasets.listing import (
    Finding,
    Listing,
    Video,
    alphabetical,
    classes_without_videos,
    read_text,
    stem,
)
from kinebert.preprocessing.datasets.manifest import PARTS, name_some
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.datasets.segments import is_cut_already, name_segments, segment_columns
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import is_local, join, resolve_uri
from kinebert.preprocessing.video.intervals import Interval

_OWN = ("path", "label", "label_name", "video_id", "group")
_INTEGER = re.compile(r"-?\d+")
_SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SPELLINGS |= {"testing": "test", "dev": "val", "": ""}

Row = tuple[str, Mapping[str, str]]
"""The file that a row stands in, and its cells by column."""


@register_reader(
    "csv",
    paths="FILE...",
    about=(
        "columns path (relative to the file) and label (a name, or a number from 0); if you like, label_name, "
        "video_id, group (the recording that a clip was cut from), start and end (seconds) or start_frame and "
        "end_frame where a video is a segment of its file, and any column that says only train, val or test"
    ),
    num_paths=(1, None),
)
def read_csv(paths: Sequence[str]) -> Listing:
    """Read CSV files with a header: ``path`` and ``label`` or ``label_name``, optionally ``video_id`` and ``group``.

    A row with ``start`` and ``end`` in seconds, or ``start_frame`` and ``end_frame``, is a segment of its file.

    Paths are relative to their CSV file. Labels that are all whole numbers are class indices; anything else is a name.
    Each column that says nothing but train, val and test is a split of that name; ``split`` itself is called split1.
    """
    found = [(uri, cells, interval) for uri in paths for cells, interval in _read_rows(uri)]
    rows = [(uri, cells) for uri, cells, _ in found]
    splits = _split_columns(rows)
    labels = _labels(rows)
    videos = []
    for uri, cells, interval in found:
        videos.append(
            Video(
                video_id=cells.get("video_id") or default_id(cells["path"]),
                path=_locate(uri, cells["path"]),
                label_name=_label_name(cells),
                group=cells.get("group") or None,
                splits={name: part for column, name in splits.items() if (part := _part(cells, column))},
                interval=None if is_cut_already(cells["path"], interval) else interval,
            )
        )
    videos = name_segments(videos, [bool(cells.get("video_id")) for _, cells in rows])
    local = [video.path for video in videos if is_local(video.path)]
    if len(local) == len(videos) and not any(map(os.path.exists, local)):
        raise UserError(
            f"{paths[0]}: none of the {len(videos)} videos is there, the first is {local[0]}. "
            "Relative paths are relative to the folder of the CSV file."
        )
    findings = [Finding("video without a label", video.video_id) for video in videos if not video.label_name]
    counts = Counter((video.path, video.interval) for video in videos)
    findings += [Finding("file with more than one id", path) for (path, _), count in counts.items() if count > 1]
    cut = sum(video.interval != interval for video, (_, _, interval) in zip(videos, found, strict=True))
    findings += [Finding("file that is cut already, by its name; taken whole", f"{cut} files")] * bool(cut)
    return Listing(videos=videos, labels=labels, findings=findings + classes_without_videos(labels, videos))


def default_id(path: str) -> str:
    """The path without extension, scheme, leading slash or steps upward."""
    parts = stem(path.partition("://")[2] or path).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _read_rows(uri: str) -> list[tuple[dict[str, str], Interval | None]]:
    text = read_text(uri)
    header = text.partition("\n")[0].strip()
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="", skipinitialspace=True)
    columns = [(column or "").strip() for column in reader.fieldnames or []]
    if "path" not in columns or not {"label", "label_name"} & set(columns):
        raise UserError(
            f"{uri}: expected the columns path and label (and, if you like, label_name, split, video_id, group) in the "
            f"first line; got {header!r}."
        )
    reader.fieldnames = columns
    segments = segment_columns(columns, uri)
    rows = []
    for number, cells in enumerate(reader, start=2):
        plain = {key: value.strip() for key, value in cells.items() if key and isinstance(value, str)}
        if not plain.get("path"):
            raise UserError(f"{uri}: row {number} has no path.")
        where = f"{uri}: line {reader.line_num}"
        rows.append((plain, segments.interval(plain, where) if segments else None))
    if not rows:
        raise UserError(f"{uri}: this file names no video.")
    return rows


def _split_columns(rows: Sequence[Row]) -> dict[str, str]:
    """Names of splits by column.

    Raises:
        UserError: If the column ``split`` has another word than train, val or test.
    """
    columns = dict.fromkeys(column for _, cells in rows for column in cells)
    splits = {}
    for column in columns:
        if column in _OWN or not column:
            continue
        words = {cells.get(column, "").lower() for _, cells in rows}
        if words <= _SPELLINGS.keys() and words != {""}:
            splits[column] = "split1" if column == "split" else column
        elif column == "split" and words != {""}:
            wrong = sorted(words - _SPELLINGS.keys())
            raise UserError(
                f"{rows[0][0]}: unknown words in the column split: {name_some(wrong)}; use {', '.join(PARTS)}."
            )
    if len(set(splits.values())) != len(splits):
        raise UserError(f"{rows[0][0]}: the columns split and split1 would have one name. Rename one of them.")
    return splits


def _part(cells: Mapping[str, str], column: str) -> str:
    return _SPELLINGS[cells.get(column, "").lower()]


def _labels(rows: Sequence[Row]) -> dict[str, int]:
    """Class index by name: the label where all labels are whole numbers (-1 is no class), else alphabetical."""
    given = [cells["label"] for _, cells in rows if cells.get("label")]
    if not given or not all(_INTEGER.fullmatch(label) for label in given):
        return alphabetical(_label_name(cells) for _, cells in rows)
    labels: dict[str, int] = {}
    names: dict[int, str] = {}
    for uri, cells in rows:
        name, label = _label_name(cells), int(cells.get("label") or -1)
        if label < -1 or (label == -1) != (name == ""):
            raise UserError(f"{uri}: {cells['path']}: label {cells.get('label')!r} of {name!r}; expected 0, 1, 2, ...")
        if name and (labels.setdefault(name, label), names.setdefault(label, name)) != (label, name):
            raise UserError(
                f"{uri}: {cells['path']}: label {label} is {name!r} here, elsewhere {names[label]!r} is {label} and "
                f"{name!r} is {labels[name]}."
            )
    return labels


def _label_name(cells: Mapping[str, str]) -> str:
    """Name of a row's class; empty where it has none."""
    if cells.get("label") == "-1":
        return ""
    return cells.get("label_name") or cells.get("label", "")


def _locate(uri: str, path: str) -> str:
    if "://" in path or os.path.isabs(path):
        return resolve_uri(path)
    if is_local(uri):
        return os.path.normpath(os.path.join(os.path.dirname(uri), path))
    base = uri.partition("?")
    return join(base[0].rpartition("/")[0] + base[1] + base[2], path)
