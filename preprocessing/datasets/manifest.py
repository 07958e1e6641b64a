"""The manifest: one row per video, whatever data set it comes from. Nothing after it knows data sets."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinebert.preprocessing.checked.tables import read_table, with_columns
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.schema import FINGERPRINT_COLUMN, MANIFEST, SEGMENT_COLUMNS
from kinebert.preprocessing.storage import exists, explained, is_folder, whole_file
from kinebert.preprocessing.video.intervals import Interval

_AGAIN = "`kinebert index` makes one."
_OTHER_TYPE = f"A column of a manifest that has another type than it should is not read. {_AGAIN}"
_AT_A_TIME = 8192
_LARGE_LABEL = 50_000
"""Below it, gaps are let be: a list may be a small part of a data set, and keep its numbers."""
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

PARTS = ("train", "val", "test")
"""What a split may call a video."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow:
    """One video; the units are those of ``schema.MANIFEST``."""

    video_id: str
    path: str
    label: int
    label_name: str
    group: str
    splits: Mapping[str, str] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    fps: float = 0.0
    duration_s: float = 0.0
    codec: str = ""
    rotation: int = 0
    pixel_aspect: float = 1.0
    bytes: int = 0
    problem: str | None = None
    interval: Interval | None = None
    """Segment of the file that the video is; None for all of the file."""
    fingerprint: str | None = None
    """Of the file, see :func:`.file_fingerprint`; None where it is not known."""


def write_manifest(uri: str, rows: Iterable[ManifestRow]) -> None:
    """Write the manifest, sorted by video_id, whole or not at all. The same rows give the same bytes.

    Only where a video is a segment of its file there are the columns of ``SEGMENT_COLUMNS``, and only where a file's
    fingerprint is known that of ``FINGERPRINT_COLUMN``.

    Raises:
        UserError: If an id occurs twice or cannot name files, a name of a class, group or split has control
            characters, or ``uri`` cannot be written.
    """
    ordered = sorted(rows, key=lambda row: row.video_id)
    check_ids([row.video_id for row in ordered])
    _check_names(ordered)
    columns = {name: [getattr(row, name) for row in ordered] for name in MANIFEST.names}
    columns["splits"] = [sorted(row.splits.items()) for row in ordered]
    schema = list(MANIFEST)
    if any(row.interval is not None for row in ordered):
        schema += SEGMENT_COLUMNS
        columns |= {name: [getattr(row.interval, name, None) for row in ordered] for name in SEGMENT_COLUMNS.names}
    if any(row.fingerprint is not None for row in ordered):
        schema += FINGERPRINT_COLUMN
        columns |= {name: [row.fingerprint for row in ordered] for name in FINGERPRINT_COLUMN.names}
    table = pa.table(columns, schema=pa.schema(schema))
    with explained(uri, "write the manifest"), whole_file(uri) as path:
        pq.write_table(table, path, compression="zstd")


def read_manifest(uri: str) -> list[ManifestRow]:
    """Read a manifest, sorted by video_id.

    Raises:
        UserError: If there is none at ``uri``, it is not a manifest, or its ids or splits are wrong.
    """
    table = _read_table(uri)
    missing = [name for name in MANIFEST.names if name not in table.column_names]
    if missing:
        raise UserError(
            f"{uri}: this manifest lacks the column{'s'[: len(missing) != 1]} {', '.join(missing)}. "
            "`kinebert index` makes one that has them all."
        )
    try:
        rows = _rows(with_columns(table, _schema_of(table), uri, _OTHER_TYPE))
    except ValueError as error:
        raise UserError(f"{uri}: {error}. {_AGAIN}") from None
    if not rows:
        raise UserError(f"{uri}: this manifest has no videos. `kinebert index` makes one.")
    try:
        check_ids([row.video_id for row in rows])
        _check_meaning(rows)
    except UserError as error:
        raise UserError(f"{uri}: {error}") from None
    return sorted(rows, key=lambda row: row.video_id)


def _read_table(uri: str) -> pa.Table:
    with explained(uri, "read the manifest"):
        if not exists(uri):
            raise UserError(f"{uri}: there is no such manifest. `kinebert index` makes one.")
        if is_folder(uri):
            raise UserError(f"{uri}: this is a folder; a manifest is one Parquet file, as `kinebert index` makes it.")
        return read_table(uri, _AGAIN, "this is not a Parquet file that can be read")


def _schema_of(table: pa.Table) -> pa.Schema:
    """Columns to read; manifests of whole videos, and those of earlier versions, have fewer."""
    more = [some for some in (SEGMENT_COLUMNS, FINGERPRINT_COLUMN) if set(some.names) <= set(table.column_names)]
    return pa.schema([*MANIFEST, *(field for some in more for field in some)])


def _rows(table: pa.Table) -> list[ManifestRow]:
    """Return the rows of a table, made a few at a time; what many have in common is held once."""
    held: dict[Any, Any] = {}
    batches = table.to_batches(max_chunksize=_AT_A_TIME)
    return [_row(values, held) for batch in batches for values in batch.to_pylist()]


def _row(values: dict[str, Any], held: dict[Any, Any]) -> ManifestRow:
    start, end, unit = (values.pop(name, None) for name in SEGMENT_COLUMNS.names)
    try:
        values["interval"] = None if start is None and end is None else Interval(start, end, unit)
    except ConfigError as error:
        raise ValueError(f"{values['video_id']}: {error}") from None
    splits = tuple(values["splits"])
    values["splits"] = held.get(splits) or held.setdefault(splits, dict(splits))
    for name in ("label_name", "codec"):
        values[name] = held.setdefault(values[name], values[name])
    return ManifestRow(**values)


def _check_meaning(rows: Sequence[ManifestRow]) -> None:
    check_numbers({row.label for row in rows})
    names: dict[int, str] = {}
    for row in rows:
        for split, part in row.splits.items():
            if part not in PARTS:
                raise UserError(f"{row.video_id}: split {split!r} says {part!r}; it must be one of {', '.join(PARTS)}.")
        if names.setdefault(row.label, row.label_name) != row.label_name:
            raise UserError(
                f"label {row.label} has two names, {names[row.label]!r} and {row.label_name!r} (at {row.video_id})."
            )


def check_numbers(labels: Collection[int]) -> None:
    """Refuse class numbers that are names rather: a network has an output for every number up to the largest.

    Raises:
        UserError: If the largest is above 50,000 and less than a tenth of the numbers up to it are used.
    """
    used = {label for label in labels if label >= 0}
    largest = max(used, default=0)
    if largest > _LARGE_LABEL and 10 * len(used) < largest:
        raise UserError(
            f"label {largest}: classes are numbered from 0, and a network would have {largest + 1} outputs, of which "
            f"{len(used)} are used. Number the classes 0, 1, 2 and so on, or make names of the numbers: c{largest}."
        )


def check_ids(ids: Sequence[str]) -> None:
    """Make sure that ids are unique and can name files below a folder.

    Raises:
        UserError: Names the first few ids that are wrong, and counts them all.
    """
    twice = sorted(video_id for video_id, count in Counter(ids).items() if count > 1)
    if twice:
        raise UserError(
            f"{len(twice)} video id{'s'[: len(twice) != 1]} occur{'s'[: len(twice) == 1]} more than once: "
            f"{name_some(twice)}. An id is the path without its extension; every video needs one of its own: "
            "rename or remove a file, or give ids in the video_id column of a CSV."
        )
    wrong = sorted(video_id for video_id in ids if not _is_good_id(video_id))
    if wrong:
        raise UserError(
            f"{len(wrong)} video id{'s'[: len(wrong) != 1]} cannot be used: {name_some(map(repr, wrong))}. An id names "
            "files, so it is a relative path without empty parts, '.', '..' or control characters."
        )


def _check_names(rows: Iterable[ManifestRow]) -> None:
    for row in rows:
        for kind, names in (("class", [row.label_name]), ("group", [row.group]), ("split", row.splits)):
            wrong = next((name for name in names if not is_plain(name)), None)
            if wrong is not None:
                raise UserError(
                    f"the name {wrong!r} of a {kind} (at {row.video_id}) has control characters or bytes that are not "
                    "UTF-8. Correct it in the data set's lists or folders."
                )


def _is_good_id(video_id: str) -> bool:
    return is_plain(video_id) and all(part not in ("", ".", "..") for part in video_id.split("/"))


def is_plain(text: str) -> bool:
    """Whether ``text`` can be stored and shown: no control characters, no bytes that were not UTF-8."""
    return _NOT_PLAIN.search(text) is None


def name_some(names: Iterable[str], most: int = 5) -> str:
    """Join the first few names, and count the rest."""
    listed = list(names)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest


assert {f.name for f in fields(ManifestRow)} == {*MANIFEST.names, "interval", *FINGERPRINT_COLUMN.names}
assert tuple(f.name for f in fields(Interval)) == tuple(SEGMENT_COLUMNS.names)
