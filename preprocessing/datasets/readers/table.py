"""Videos in lists of one's own: tables with a header, and lines of path and label."""

import os
import re
from collections.abc import Mapping, Sequence

from kinebert.preprocessing.datasets.labels import class_index, is_known, read_labels
from kinebert.preprocessing.datasets.list_table import Numbered, Row, Table, read_table, split_line
from kinebert.preprocessing.datasets.list_text import shown
from kinebert.preprocessing.datasets.listing import (
    VIDEO_SUFFIXES,
    Finding,
    Listing,
    Video,
    classes_without_videos,
    stem,
)
from kinebert.preprocessing.datasets.parts import part_of, parts_by_name, split_columns, unused_columns
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.datasets.segments import is_cut_already, name_segments, refuse_moments, segment_columns
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import folder_of, is_local, join, name_of, resolve_uri
from kinebert.preprocessing.video.intervals import Interval

_OWN = ("path", "label", "label_name", "video_id", "group")
_FRAMES = "number of frames"
_SUFFIXES = "|".join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES))
_PATH_FIRST = re.compile(rf"(?P<path>.+\.(?:{_SUFFIXES}))(?P<gap>\s*[,;|]\s*|\s+)(?P<rest>\S.*)", re.IGNORECASE)
_NUMBERS_LAST = re.compile(r"(?P<path>\S.*?)(?:\s*[,;|]\s*|\s+)(?P<rest>-?[0-9.]+(?:[\s,;|]+-?[0-9.]+)?)[\s,;|]*")


@register_reader(
    "csv",
    paths="FILE...",
    about=(
        "columns path (relative to the file) and label (a name, or a number from 0); if you like, label_name, "
        "video_id, group (the recording that a clip was cut from), start and end (seconds) or start_frame and "
        "end_frame where a video is a segment of its file, and any column that says only train, val or test. Or "
        "lines of path and label without a header"
    ),
    num_paths=(1, None),
)
def read_csv(paths: Sequence[str]) -> Listing:
    """Read tables with a header (``path`` and ``label`` or ``label_name``), or lines of path and label without one.

    A row with ``start`` and ``end`` in seconds, or ``start_frame`` and ``end_frame``, is a segment of its file.

    Paths are relative to their list. Labels that are numbers are class indices; anything else is a name. Each column
    that says nothing but train, val and test is a split of that name; ``split`` itself is called split1. Where no list
    has such a column, the names of the lists say the parts of split1.
    """
    tables = [_read(uri) for uri in paths]
    rows = [row for table in tables for row in table.rows]
    labels, names = read_labels(rows)
    intervals, times = _intervals(tables)
    splits, unused = split_columns(tables, (*_OWN, _FRAMES, *times))
    by_name = {} if splits else parts_by_name(paths)
    videos = [
        Video(
            video_id=row.get("video_id") or default_id(_path(row)),
            path=_locate(row.uri, _path(row)),
            label_name=name,
            group=row.get("group") if is_known(row.get("group")) else None,
            splits={split: part for column, split in splits.items() if (part := part_of(row.get(column)))}
            | ({"split1": by_name[row.uri]} if by_name else {}),
            interval=None if is_cut_already(_path(row), interval) else interval,
        )
        for row, name, interval in zip(rows, names, intervals, strict=True)
    ]
    cut = sum(video.interval != interval for video, interval in zip(videos, intervals, strict=True))
    videos = name_segments(videos, [bool(row.get("video_id")) for row in rows])
    _refuse_same_ids(rows, videos)
    _expect_some(rows, videos)
    findings = [finding for table in tables for finding in table.findings]
    findings += unused_columns(tables, unused)
    findings += [
        Finding("list whose name says its part of split1", f"{name_of(uri)}: {part}") for uri, part in by_name.items()
    ]
    findings += [Finding("video without a label", video.video_id) for video in videos if not video.label_name]
    findings += [
        Finding("backslashes in a path taken for slashes", row.get("path"))
        for row in rows
        if _path(row) != row.get("path")
    ]
    findings += [Finding("file that is cut already, by its name; taken whole", f"{cut} files")] * bool(cut)
    findings += classes_without_videos(labels, videos)
    return Listing(videos=videos, labels=labels, findings=findings, other_columns=tuple(unused))


def default_id(path: str) -> str:
    """The path without extension, scheme, leading slash or steps upward."""
    parts = stem(path.partition("://")[2] or path).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _read(uri: str) -> Table:
    def exists(cells: Mapping[str, str]) -> bool:
        return is_local(uri) and os.path.isfile(_locate(uri, cells.get("path", "")))

    table = read_table(
        uri, _OWN, lambda names: "path" in names and bool({"label", "label_name"} & names), _named, exists
    )
    if not table.rows:
        raise UserError(f"{uri}: this file names no video.")
    for row in table.rows:
        if not row.get("path"):
            raise UserError(f"{uri}: row {row.line} has no path.")
    return table


def _named(uri: str, lines: Sequence[tuple[int, str]]) -> tuple[Sequence[str], list[Numbered]]:
    """Columns of a list without a header: path and label, perhaps with the number of frames or a part."""
    rows = [(number, _path_and_rest(f"{uri}: line {number}", line)) for number, line in lines]
    if not rows or rows[0][1] is None:
        raise UserError(
            f"{uri}: expected the columns path and label (and, if you like, label_name, split, video_id, group) in the "
            f"first line, or lines of path and label; got {shown(lines[0][1]) if lines else repr('')}."
        )
    fields: list[Numbered] = []
    for number, cells in rows:
        if cells is None or len(cells) != len(rows[0][1]):
            got = shown(lines[len(fields)][1])
            raise UserError(
                f"{uri}: line {number}: expected path and label as in the first line, got {got}. A header "
                "(path,label,...) says what columns mean."
            )
        fields.append((number, cells))
    if len(rows[0][1]) == 2:
        return ("path", "label"), fields
    columns = [list(column) for column in zip(*(cells for _, cells in fields), strict=True)]
    if len(columns) == 3 and all(map(part_of, columns[2])):
        return ("path", "label", "split"), fields
    numbers = [[class_index(cell) for cell in column] for column in columns[1:]]
    if len(columns) == 3 and all(count and count > 0 for count in numbers[0]) and None not in numbers[1]:
        return ("path", _FRAMES, "label"), fields
    raise UserError(
        f"{uri}: line {rows[0][0]}: {len(columns)} fields and no header. Without one a list has path and label, or "
        "path, number of frames and label; give others a first line such as path,label,split."
    )


def _path_and_rest(where: str, line: str) -> list[str] | None:
    """Fields of a line that begins with a path, which may have blanks and commas in it; None if there is no such."""
    if line.startswith('"'):
        after = line[line.find('"', 1) + 1 :].lstrip(" ")[:1]
        delimiter = after if after and after in ",;\t|" else " "
        cells = split_line(where, line, delimiter)
        return cells if len(cells) > 1 else None
    match = _PATH_FIRST.fullmatch(line) or _NUMBERS_LAST.fullmatch(line)
    if match is None:
        return None
    rest = match["rest"].rstrip(" \t,;|")
    gap = (match.groupdict().get("gap") or " ").strip()
    if gap or "\t" in rest:
        cells = [cell.strip() for cell in rest.split(gap or "\t")]
    else:  # a name of a class may have blanks, numbers have none
        cells = re.split(r"[\s,;|]+", rest) if re.fullmatch(r"[-0-9.\s,;|]+", rest) else [rest]
    return [match["path"], *cells]


def _intervals(tables: Sequence[Table]) -> tuple[list[Interval | None], list[str]]:
    """The segment that each row is of its file, and the columns that say so."""
    intervals: list[Interval | None] = []
    times: list[str] = []
    for table in tables:
        columns = segment_columns(table.columns, table.uri)
        if columns is None:
            refuse_moments(table.rows)
        times += columns.names if columns else ()
        intervals += [columns.interval(row.cells, row.where) if columns else None for row in table.rows]
    return intervals, times


def _refuse_same_ids(rows: Sequence[Row], videos: Sequence[Video]) -> None:
    first: dict[str, Row] = {}
    twice = [
        (row, video.video_id)
        for row, video in zip(rows, videos, strict=True)
        if first.setdefault(video.video_id, row) is not row
    ]
    if twice:
        row, video_id = twice[0]
        raise UserError(
            f"{row.where}: {len(twice)} video id{'s'[: len(twice) != 1]} occur{'s'[: len(twice) == 1]} more than once: "
            f"{shown(video_id)} is in {name_of(first[video_id].uri)} line {first[video_id].line} too. Remove a line, "
            "or give ids in the column video_id."
        )


def _expect_some(rows: Sequence[Row], videos: Sequence[Video]) -> None:
    local = [video.path for video in videos if is_local(video.path)]
    if len(local) == len(videos) and not any(map(os.path.exists, local)):
        raise UserError(
            f"{rows[0].uri}: none of the {len(videos)} videos is there, the first is {local[0]}. "
            "Relative paths are relative to the folder of the CSV file."
        )


def _path(row: Row) -> str:
    """The path of a row; with slashes where it is written with backslashes, as on Windows."""
    path = row.get("path")
    if "\\" not in path or (is_local(row.uri) and os.path.lexists(_locate(row.uri, path))):
        return path
    return path.replace("\\", "/")


def _locate(uri: str, path: str) -> str:
    if "://" in path or os.path.isabs(path):
        return resolve_uri(path)
    place = join(folder_of(uri), path)
    return os.path.normpath(place) if is_local(uri) else place
