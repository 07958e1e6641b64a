"""Kinetics (400, 600, 700) from its CSV files.

Source: https://github.com/cvdfoundation/kinetics-dataset. Lines ``label,youtube_id,time_start,time_end,split`` (the
first lists of 2017 end in ``is_cc``; the ones for testing had no label); files are called ``ID_000010_000020.mp4``
after the seconds at which the clip begins and ends, and lie in folders by class, by split, or in one. A video that is
there as a whole, ``ID.mp4``, is cut at those seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kinebert.preprocessing.datasets.labels import is_known
from kinebert.preprocessing.datasets.list_table import Numbered, Row, Table, read_table, split_line
from kinebert.preprocessing.datasets.list_text import shown
from kinebert.preprocessing.datasets.listing import (
    Finding,
    Listing,
    Video,
    VideoFolder,
    alphabetical,
    classes_without_videos,
    expect_folder,
    refuse_twice,
    stem,
)
from kinebert.preprocessing.datasets.parts import PART_WORDS_SAID, part_of, part_of_name, split_columns, unused_columns
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.storage import name_of
from kinebert.preprocessing.video.intervals import Interval

_COLUMNS = {
    "label": ("label", "class_label", "label_name"),
    "youtube_id": ("youtube_id", "youtube_identifier"),
    "time_start": ("time_start", "start_time"),
    "time_end": ("time_end", "end_time"),
    "split": ("split", "subset"),
}


@dataclass(frozen=True)
class Clip:
    """One line of a list; ``part`` is empty where neither the line nor the name of the list tells it."""

    label: str
    youtube_id: str
    name: str
    part: str
    start_s: float
    end_s: float
    list: str
    """Where it stands."""

    def interval(self) -> Interval:
        """Return where it lies in its video.

        Raises:
            UserError: If it ends before it begins.
        """
        try:
            return Interval(self.start_s, self.end_s, "s")
        except ConfigError as error:
            raise UserError(f"{self.list}: {self.youtube_id}: {error}") from None


@register_reader(
    "kinetics",
    data_set="Kinetics 400, 600, 700",
    paths="VIDEOS CSV...",
    about="videos called ID_000010_000020.mp4, or whole ones called ID.mp4; train.csv, val.csv, test.csv",
    num_paths=(2, None),
)
def read_kinetics(paths: Sequence[str]) -> Listing:
    """Read a videos folder and one or more CSV files, in any order."""
    lists = [path for path in paths if path.lower().endswith(".csv")]
    folders = [path for path in paths if path not in lists]
    if not lists or len(folders) != 1:
        raise UserError(
            f"expected: kinebert index kinetics VIDEOS CSV [CSV ...], one folder and the lists (train.csv, val.csv, "
            f"test.csv); got {len(folders)} folders and {len(lists)} files that end in .csv."
        )
    expect_folder(folders[0], "the folder of videos")
    tables = [_read_list(uri) for uri in lists]
    clips = [_clip(row, part_of_name(name_of(table.uri)) or "") for table in tables for row in table.rows]
    refuse_twice(", ".join(map(name_of, lists)), [clip.name for clip in clips])
    folder = VideoFolder(folders[0])
    videos = []
    for clip in clips:
        found = folder.find_unique(clip.label, clip.name)
        whole = None if found else folder.find_unique(clip.label, clip.youtube_id)
        videos.append(
            Video(
                video_id=str(PurePosixPath(whole).parent / clip.name) if whole else stem(found or clip.name),
                path=folder.location(found or whole or f"{clip.name}.mp4"),
                interval=clip.interval() if whole else None,
                label_name=clip.label,
                group=clip.youtube_id,
                splits={"split1": clip.part} if clip.part else {},
            )
        )
    folder.check_some_found(len(videos), f"{clips[0].name}.mp4")
    labels = alphabetical(clip.label for clip in clips)
    findings = [finding for table in tables for finding in table.findings] + _strange_columns(tables)
    findings += folder.findings + folder.unlisted() + classes_without_videos(labels, videos)
    findings += [Finding("clip without a split", clip.name) for clip in clips if not clip.part]
    findings += [Finding("clip without a label", clip.name) for clip in clips if not clip.label]
    return Listing(videos=videos, labels=labels, findings=findings)


def _strange_columns(tables: Sequence[Table]) -> list[Finding]:
    """Columns that are not used; one that tells parts by another name than Kinetics gives it is refused."""
    splits, unused = split_columns(tables, [name for names in _COLUMNS.values() for name in names])
    for column in splits:
        where = next(table.uri for table in tables if column in table.columns)
        raise UserError(f"{where}: the column {column!r} tells parts; it must be called split, or be removed.")
    return unused_columns(tables, unused)


def _read_list(uri: str) -> Table:
    known = [name for names in _COLUMNS.values() for name in names]
    table = read_table(uri, known, lambda names: not names.isdisjoint(_COLUMNS["youtube_id"]), _guess_columns)
    if not all(set(_COLUMNS[key]) & set(table.columns) for key in ("youtube_id", "time_start", "time_end")):
        raise UserError(
            f"{uri}: expected the columns youtube_id, time_start and time_end; got {', '.join(table.columns)}."
        )
    if not table.rows:
        raise UserError(f"{uri}: this list is empty.")
    return table


def _guess_columns(uri: str, lines: Sequence[tuple[int, str]]) -> tuple[Sequence[str], list[Numbered]]:
    """Columns of a list without a header: with a label in front, or without one as in the lists for testing."""
    first = lines[0][1] if lines else ""
    delimiter = max(",;\t", key=first.count)
    fields = [(number, split_line(f"{uri}: line {number}", line, delimiter)) for number, line in lines]
    line = fields[0][1] if fields else []
    orders: tuple[tuple[str, ...], ...] = (
        ("label", "youtube_id", "time_start", "time_end", "split", "is_cc"),
        ("youtube_id", "time_start", "time_end", "split", "is_cc"),
    )
    for order in orders:
        start = order.index("time_start")
        if len(line) > start + 1 and _is_time(line[start]) and _is_time(line[start + 1]):
            return order[: len(line)], fields
    raise UserError(
        f"{uri}: expected lines like 'label,youtube_id,time_start,time_end,split', got {shown(first or 'nothing')}."
    )


def _is_time(cell: str) -> bool:
    try:
        return 0 <= float(cell) < 1e6
    except ValueError:
        return False


def _clip(row: Row, by_name: str) -> Clip:
    cells = {key: next(filter(None, map(row.get, names)), "") for key, names in _COLUMNS.items()}
    name, start, end = (cells[key] for key in ("youtube_id", "time_start", "time_end"))
    if not name or not _is_time(start) or not _is_time(end):
        raise UserError(
            f"{row.where}: expected a YouTube id and two times in seconds, got "
            f"{shown(','.join(row.cells.values()).rstrip(','))}."
        )
    part = part_of(cells["split"])
    if part is None:
        raise UserError(f"{row.where}: {name}: unknown split {shown(cells['split'])}; expected {PART_WORDS_SAID}.")
    clip = f"{name}_{int(float(start)):06d}_{int(float(end)):06d}"
    label = cells["label"] if is_known(cells["label"]) else ""
    return Clip(label, name, clip, part or by_name, float(start), float(end), row.where)
