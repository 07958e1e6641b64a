"""ActivityNet and HACS: segments of untrimmed videos.

Sources: http://activity-net.org/download.html and https://github.com/hangzhaomit/HACS-dataset. ActivityNet and HACS
Segments are JSON, ``{"database": {ID: {"subset": "training", "annotations": [{"label": ..., "segment": [1.5, 9]}]}}}``
with seconds; HACS Clips is CSV, ``classname,youtube_id,subset,start,end,label``, whose label says whether the clip
shows the class (1) or does not (-1). Videos are called ``v_ID.mp4`` or ``ID.mp4``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinebert.preprocessing.datasets.list_table import Numbered, Row, read_table
from kinebert.preprocessing.datasets.list_text import read_json, shown
from kinebert.preprocessing.datasets.listing import (
    Finding,
    Listing,
    Video,
    VideoFolder,
    alphabetical,
    expect_folder,
    stem,
)
from kinebert.preprocessing.datasets.manifest import name_some
from kinebert.preprocessing.datasets.parts import part_of
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.datasets.segments import number_of
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.video.intervals import Interval

_CLIP_COLUMNS = ("classname", "youtube_id", "subset", "start", "end", "label")


@dataclass(frozen=True)
class _Segment:
    """One annotation; ``interval`` is None where a video has none."""

    name: str
    part: str
    label: str
    interval: Interval | None


@register_reader(
    "activitynet",
    data_set="ActivityNet, HACS",
    paths="VIDEOS LIST...",
    about=(
        "whole videos called v_ID.mp4 or ID.mp4; activity_net.v1-3.min.json or HACS_segments_v1.1.1.json, or "
        "HACS_clips_v1.1.1.csv. Each annotated segment is a video"
    ),
    num_paths=(2, None),
)
def read_activitynet(paths: Sequence[str]) -> Listing:
    """Read a videos folder and one or more lists, in any order."""
    lists = [path for path in paths if path.lower().endswith((".json", ".csv"))]
    folders = [path for path in paths if path not in lists]
    if not lists or len(folders) != 1:
        raise UserError(
            "expected: kinebert index activitynet VIDEOS LIST [LIST ...], one folder and lists that end in .json or "
            f".csv; got {len(folders)} folders and {len(lists)} lists."
        )
    expect_folder(folders[0], "the folder of videos")
    findings: list[Finding] = []
    segments = [segment for uri in lists for segment in _read(uri, findings)]
    folder = VideoFolder(folders[0])
    videos = [_video(folder, segment) for segment in segments if segment.interval is not None]
    if not videos:
        raise UserError(f"{name_some(lists)}: no video has an annotated segment here.")
    folder.check_some_found(len(videos), f"v_{segments[0].name}.mp4")
    findings += [
        Finding("video without an annotated segment, left out", segment.name)
        for segment in segments
        if segment.interval is None
    ]
    labels = alphabetical(video.label_name for video in videos)
    return Listing(videos=videos, labels=labels, findings=folder.findings + folder.unlisted() + findings)


def _video(folder: VideoFolder, segment: _Segment) -> Video:
    found = folder.find_unique(segment.label, f"v_{segment.name}") or folder.find_unique(segment.label, segment.name)
    path = found or f"v_{segment.name}.mp4"
    assert segment.interval is not None
    return Video(
        video_id=f"{stem(path)}_{segment.interval.suffix()}",
        path=folder.location(path),
        label_name=segment.label,
        group=segment.name,
        splits={"split1": segment.part},
        interval=segment.interval,
    )


def _read(uri: str, findings: list[Finding]) -> list[_Segment]:
    return _read_clips(uri, findings) if uri.lower().endswith(".csv") else _read_database(uri)


def _read_database(uri: str) -> list[_Segment]:
    try:
        database = read_json(uri)["database"]
        entries = [(name, entry["subset"], entry.get("annotations") or []) for name, entry in database.items()]
        said = [(name, subset, [(a["label"], a["segment"]) for a in found]) for name, subset, found in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f'{uri}: expected {{"database": {{ID: {{"subset": ..., "annotations": [{{"label": ..., "segment": [start, '
            "end]}]}}}."
        ) from None
    segments = []
    for name, subset, annotations in said:
        part = _part(subset, f"{uri}: {name}")
        segments += [
            _Segment(name, part, _label(label, f"{uri}: {name}"), _interval(times, f"{uri}: {name}"))
            for label, times in annotations
        ] or [_Segment(name, part, "", None)]
    return segments


def _read_clips(uri: str, findings: list[Finding]) -> list[_Segment]:
    table = read_table(uri, _CLIP_COLUMNS, lambda names: names >= set(_CLIP_COLUMNS), _no_columns)
    findings += table.findings
    segments = []
    for row in table.rows:
        segment, shows = _clip(row)
        if shows:
            segments.append(segment)
        else:
            findings.append(Finding("clip that does not show its class (label -1), left out", segment.name))
    return segments


def _no_columns(uri: str, lines: Sequence[tuple[int, str]]) -> tuple[Sequence[str], list[Numbered]]:
    """Refuse a list without the header that all of HACS have."""
    first = lines[0][1] if lines else "nothing"
    raise UserError(f"{uri}: expected the columns {', '.join(_CLIP_COLUMNS)}; got {shown(first)}.")


def _clip(row: Row) -> tuple[_Segment, bool]:
    """One line, and whether the clip shows its class; lists for testing have no class and no times."""
    cells, where = row.cells, row.where
    name, part, label = cells["youtube_id"], _part(cells["subset"], where), cells["classname"]
    if not name:
        raise UserError(f"{where}: there is no youtube_id.")
    if not label and not cells["start"]:
        return _Segment(name, part, "", None), True
    if cells["label"] not in ("1", "1.0", "-1", "-1.0"):
        raise UserError(f"{where}: label {cells['label']!r}; expected 1 or -1.")
    times = [number if (number := number_of(cells[key])) is not None else cells[key] for key in ("start", "end")]
    segment = _Segment(name, part, _label(label, where), _interval(times, where))
    return segment, not cells["label"].startswith("-")


def _part(subset: Any, where: str) -> str:
    part = part_of(str(subset))
    if not part:
        raise UserError(f"{where}: unknown subset {subset!r}; expected training, validation or testing.")
    return part


def _label(label: Any, where: str) -> str:
    if not isinstance(label, str) or not label.strip():
        raise UserError(f"{where}: the label {label!r} is no name of a class.")
    return label.strip()


def _interval(times: Any, where: str) -> Interval:
    try:
        start, end = times
        return Interval(float(start), float(end), "s")
    except (TypeError, ValueError):
        raise UserError(f"{where}: the segment {times!r} is no pair of seconds.") from None
    except ConfigError as error:
        raise UserError(f"{where}: {error}") from None
