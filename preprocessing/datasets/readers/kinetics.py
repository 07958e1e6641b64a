"""Kinetics (400, 600, 700) from its CSV files.

Source: https://github.com/cvdfoundation/kinetics-dataset. Lines ``label,youtube_id,time_start,time_end,split`` (the
first lists of 2017 end in ``is_cc``; the ones for testing had no label); files are called ``ID_000010_000020.mp4``
after the seconds at which the clip begins and ends, and lie in folders by class, by split, or in one. A video that is
there as a whole, ``ID.mp4``, is cut at those seconds.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kinebert.preprocessing.datasets.list_text import read_text
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
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.storage import name_of
from kinebert.preprocessing.video.intervals import Interval

_COLUMNS = {
    "label": ("label", "class label", "label_name"),
    "youtube_id": ("youtube_id", "youtube identifier"),
    "time_start": ("time_start", "start time"),
    "time_end": ("time_end", "end time"),
    "split": ("split", "subset"),
}
_PARTS = {
    "train": "train",
    "val": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "holdout_test": "test",
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
    clips = [clip for uri in lists for clip in _read_list(uri)]
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
    findings = folder.findings + folder.unlisted() + classes_without_videos(labels, videos)
    findings += [Finding("clip without a split", clip.name) for clip in clips if not clip.part]
    findings += [Finding("clip without a label", clip.name) for clip in clips if not clip.label]
    return Listing(videos=videos, labels=labels, findings=findings)


def _read_list(uri: str) -> list[Clip]:
    lines = [line for line in csv.reader(io.StringIO(read_text(uri), newline="")) if any(cell.strip() for cell in line)]
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    columns = {key: header.index(name) for key, names in _COLUMNS.items() for name in names if name in header}
    if "youtube_id" in columns:
        if not {"time_start", "time_end"} <= columns.keys():
            raise UserError(
                f"{uri}: expected the columns youtube_id, time_start and time_end; got {', '.join(header)}."
            )
        lines = lines[1:]
    else:
        columns = _guess_columns(uri, lines)
    if not lines:
        raise UserError(f"{uri}: this list is empty.")
    by_name = next((part for word, part in _PARTS.items() if word in name_of(uri).lower()), "")
    return [_clip(uri, line, columns, by_name) for line in lines]


def _guess_columns(uri: str, lines: Sequence[Sequence[str]]) -> dict[str, int]:
    """Columns of a list without a header: with a label in front, or without one as in the lists for testing."""
    line = lines[0] if lines else []
    orders: tuple[tuple[str, ...], ...] = (
        ("label", "youtube_id", "time_start", "time_end", "split"),
        ("youtube_id", "time_start", "time_end", "split"),
    )
    for order in orders:
        start = order.index("time_start")
        if len(line) > start + 1 and _is_time(line[start]) and _is_time(line[start + 1]):
            return {key: i for i, key in enumerate(order) if i < len(line)}
    raise UserError(
        f"{uri}: expected lines like 'label,youtube_id,time_start,time_end,split', got {','.join(line) or 'nothing'!r}."
    )


def _is_time(cell: str) -> bool:
    try:
        return float(cell) >= 0
    except ValueError:
        return False


def _clip(uri: str, line: Sequence[str], columns: Mapping[str, int], by_name: str) -> Clip:
    cells = {key: line[i].strip() if i < len(line) else "" for key, i in columns.items()}
    start, end = cells["time_start"], cells["time_end"]
    if not cells["youtube_id"] or not _is_time(start) or not _is_time(end):
        raise UserError(f"{uri}: expected a YouTube id and two times in seconds, got {','.join(line)!r}.")
    word = cells.get("split", "").lower()
    if word and word not in _PARTS:
        raise UserError(f"{uri}: {cells['youtube_id']}: unknown split {word!r}; expected {', '.join(_PARTS)}.")
    name = f"{cells['youtube_id']}_{int(float(start)):06d}_{int(float(end)):06d}"
    part = _PARTS[word] if word else by_name
    return Clip(cells.get("label", ""), cells["youtube_id"], name, part, float(start), float(end), uri)
