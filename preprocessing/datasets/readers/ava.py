"""AVA and AVA-Kinetics: keyframes with boxes of persons and their actions.

Source: https://research.google.com/ava/download.html. A line of ``ava_train_v2.2.csv`` is an action of a person,
``video_id,timestamp,x1,y1,x2,y2,action_id,person_id`` without a header, with seconds of the original video and corners
from 0 to 1; a keyframe has a line for each of them. Version 1 had no ``person_id``; a keyframe without labels has
nothing after its timestamp. The paper (arXiv:1705.08421) labels segments of 3 seconds by their middle frames.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath

from kinebert.preprocessing.datasets.labels import class_index
from kinebert.preprocessing.datasets.list_table import Numbered, Row, Table, read_table, split_line
from kinebert.preprocessing.datasets.list_text import read_text, shown
from kinebert.preprocessing.datasets.listing import (
    Finding,
    Listing,
    Video,
    VideoFolder,
    classes_without_videos,
    expect_folder,
    stem,
)
from kinebert.preprocessing.datasets.manifest import name_some
from kinebert.preprocessing.datasets.parts import parts_by_name, unused_columns
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.datasets.segments import number_of, times_of_cut
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import explained, folder_of, join, list_files, name_of
from kinebert.preprocessing.video.intervals import Interval

_HALF_S = Decimal("1.5")
_COLUMNS = ("video_id", "timestamp", "x1", "y1", "x2", "y2", "action_id", "person_id")
_BOX = _COLUMNS[2:6]
_SEVERAL = "keyframe with several actions, left out (kinebert index csv takes path,label,start,end)"
_OF_LIST = re.compile(r"(?P<name>.+?)(?P<version>_v[\d.]+)?\.csv", re.IGNORECASE)
_ACTION = re.compile(r'\s*(?:label|item)\s*:?\s*\{((?:[^{}"]|"[^"\n]*")*)\}\s*')
_NAME = re.compile(r'\bname\s*:\s*"([^"\n]+)"')
_ID = re.compile(r"\b(?:label_)?id\s*:\s*(\d{1,9})\b")

Keyframe = tuple[str, Decimal]
"""A video, and seconds from its beginning."""


@dataclass(frozen=True)
class _Shown:
    """What lists say of a keyframe: its first line, and the actions of its persons."""

    row: Row
    actions: dict[int, Row]


@register_reader(
    "ava",
    data_set="AVA, AVA-Kinetics",
    paths="VIDEOS LIST...",
    about=(
        "whole videos called ID.mp4, or Kinetics' ID_000010_000020.mp4; ava_train_v2.2.csv, ava_val_v2.2.csv or "
        "kinetics_train_v1.0.csv and so on; ava_action_list_v2.2.pbtxt and ava_train_excluded_timestamps_v2.2.csv are "
        "found beside them or named. The 3 s around a keyframe are a video if all its persons do one thing"
    ),
    num_paths=(2, None),
)
def read_ava(paths: Sequence[str]) -> Listing:
    """Read a videos folder, lists of keyframes, and those of actions and of excluded keyframes, in any order.

    A video has one label: a keyframe in which several persons do the same is one, one with several actions is none.
    """
    named = [path for path in paths if path.lower().endswith(".pbtxt")]
    tables = [path for path in paths if path.lower().endswith(".csv")]
    folders = [path for path in paths if path not in (*named, *tables)]
    lists = [path for path in tables if "excluded" not in name_of(path).casefold()]
    if not lists or len(folders) != 1 or len(named) > 1:
        raise UserError(
            "expected: kinebert index ava VIDEOS LIST [LIST ...], one folder, lists that end in .csv, and at most one "
            f"list of actions (.pbtxt); got {len(folders)} folders, {len(lists)} lists and {len(named)} of actions."
        )
    expect_folder(folders[0], "the folder of videos")
    parts = parts_by_name(lists)
    read = [_read_list(uri) for uri in lists]
    keyframes = _keyframes(read)
    excluded = {
        key for uri in [path for path in tables if path not in lists] + _beside(lists) for key in _excluded(uri)
    }
    kept, findings = _single(keyframes, excluded)
    names, source = _class_names(named or _action_lists(lists), keyframes.values())
    if not kept:
        raise UserError(
            f"{name_some(lists)}: none of the {len(keyframes)} keyframes has one action and no other, and a video has "
            "one label. Give `kinebert index csv` lists with path, label, start and end instead."
        )
    folder = VideoFolder(folders[0])
    find = _Files(folder)
    videos = [
        _video(find, keyframe, names[action], {"split1": parts[seen.row.uri]} if parts else {})
        for keyframe, seen in kept.items()
        for action in seen.actions
    ]
    folder.check_some_found(len(videos), f"{next(iter(kept))[0]}.mp4")
    labels = {name: i for i, name in enumerate(names.values())}
    findings += [finding for table in read for finding in table.findings] + [source] + find.findings
    findings += [Finding("boxes are not used; a label means the whole picture", ", ".join(map(name_of, lists)))]
    findings += unused_columns(read, [name for table in read for name in table.columns if name not in _COLUMNS])
    findings += folder.findings + folder.unlisted() + classes_without_videos(labels, videos)
    return Listing(videos=videos, labels=labels, findings=findings)


class _Files:
    """The files of videos: whole ones, or those cut as Kinetics' are.

    Attributes:
        findings: Segments that are shorter than 3 seconds.
    """

    def __init__(self, folder: VideoFolder) -> None:
        self.folder = folder
        self.findings: list[Finding] = []
        self._cut: dict[str, list[tuple[int, int, str]]] = {}
        for path in folder.files:
            if times := times_of_cut(path):
                name = PurePosixPath(stem(path)).name
                self._cut.setdefault(name[: -len("_000010_000020")], []).append((*times, name))

    def segment(self, name: str, middle_s: Decimal) -> tuple[str, Interval]:
        """Return a file, relative to the folder, and the segment around ``middle_s`` of the original in it."""
        path, begins = self.folder.find_unique("", name), 0
        for start, end, cut in self._cut.get(name, []) if path is None else []:
            if start <= middle_s <= end:
                path, begins = self.folder.find_unique("", cut), start
                break
        middle = middle_s - begins
        if middle < _HALF_S:
            self.findings.append(
                Finding("keyframe near the beginning of its file; less than 3 s", f"{name} {middle_s}")
            )
        interval = Interval(float(max(middle - _HALF_S, Decimal(0))), float(middle + _HALF_S), "s")
        return path or f"{name}.mp4", interval


def _video(find: _Files, keyframe: Keyframe, label: str, splits: Mapping[str, str]) -> Video:
    path, interval = find.segment(*keyframe)
    return Video(
        video_id=f"{stem(path)}_{interval.suffix()}",
        path=find.folder.location(path),
        label_name=label,
        group=keyframe[0],
        splits=splits,
        interval=interval,
    )


def _read_list(uri: str) -> Table:
    table = read_table(uri, _COLUMNS, lambda names: {"video_id", "timestamp", "action_id"} <= names, _columns)
    if not table.rows:
        raise UserError(f"{uri}: this list is empty.")
    return table


def _columns(uri: str, lines: Sequence[tuple[int, str]]) -> tuple[Sequence[str], list[Numbered]]:
    """Columns of a list without a header, as all of AVA's are; one of excluded keyframes has the first two."""
    fields = [(number, split_line(f"{uri}: line {number}", line, ",")) for number, line in lines]
    width = max((len(cells) for _, cells in fields), default=0)
    if width not in (2, 7, 8):
        raise UserError(f"{uri}: expected lines like {shown(','.join(_COLUMNS))}, got {width} fields.")
    return _COLUMNS[:width], fields


def _keyframes(tables: Iterable[Table]) -> dict[Keyframe, _Shown]:
    found: dict[Keyframe, _Shown] = {}
    for table in tables:
        for row in table.rows:
            keyframe, action = _keyframe(row), _action(row)
            seen = found.setdefault(keyframe, _Shown(row, {}))
            if seen.row.uri != row.uri:
                raise UserError(
                    f"{row.where}: the keyframe {' '.join(map(str, keyframe))} is in {name_of(seen.row.uri)} line "
                    f"{seen.row.line} too. A keyframe belongs to one list."
                )
            if action is not None:
                seen.actions.setdefault(action, row)
    return found


def _keyframe(row: Row) -> Keyframe:
    seconds = number_of(row.get("timestamp"))
    if not row.get("video_id") or seconds is None or seconds < 0:
        raise UserError(
            f"{row.where}: expected a video and the seconds of a keyframe, got "
            f"{shown(','.join(list(row.cells.values())[:2]))}."
        )
    return row.get("video_id"), seconds


def _action(row: Row) -> int | None:
    """The action of a line; None for a keyframe without a label."""
    text, box = row.get("action_id"), [row.get(corner) for corner in _BOX]
    corners = [number_of(corner) for corner in box if corner]
    if any(corner is None or not 0 <= corner <= 1 for corner in corners) or len(corners) not in (0, 4):
        raise UserError(f"{row.where}: expected four corners of a box, 0 to 1, got {shown(','.join(box))}.")
    person = row.get("person_id")
    if person and class_index(person) is None:
        raise UserError(f"{row.where}: person_id {shown(person)}; expected a number.")
    action = class_index(text) if text else None
    if text and (action is None or action < 0):
        raise UserError(f"{row.where}: action_id {shown(text)}; expected a number from 0.")
    return action


def _excluded(uri: str) -> set[Keyframe]:
    table = read_table(uri, _COLUMNS, lambda names: {"video_id", "timestamp"} <= names, _columns)
    return {_keyframe(row) for row in table.rows}


def _beside(lists: Iterable[str]) -> list[str]:
    """Lists of excluded keyframes that lie beside ``lists`` under the names that AVA gives them."""
    found = []
    for uri in lists:
        name = _OF_LIST.fullmatch(name_of(uri))
        wanted = f"{name['name']}_excluded_timestamps{name['version'] or ''}.csv" if name else ""
        found += [join(folder_of(uri), wanted)] * (wanted in _files_beside(uri))
    return found


def _single(
    keyframes: Mapping[Keyframe, _Shown], excluded: Collection[Keyframe]
) -> tuple[dict[Keyframe, _Shown], list[Finding]]:
    """Keyframes with one action, and what is left out."""
    kept, findings = {}, []
    for keyframe, seen in keyframes.items():
        if keyframe in excluded:
            kind = "excluded keyframe, left out"
        elif len(seen.actions) == 1:
            kept[keyframe] = seen
            continue
        else:
            kind = _SEVERAL if seen.actions else "keyframe without an action, left out"
        findings.append(Finding(kind, " ".join(map(str, keyframe))))
    return kept, findings


def _action_lists(lists: Sequence[str]) -> list[str]:
    """The one list of actions that lies beside ``lists``; those of a challenge's 60 actions do not count.

    Raises:
        UserError: If there are several.
    """
    found = dict.fromkeys(
        join(folder_of(uri), name)
        for uri in lists
        for name in _files_beside(uri)
        if re.fullmatch(r"ava_action_list(_v[\d.]+)?\.pbtxt", name, re.IGNORECASE)
    )
    if len(found) > 1:
        raise UserError(f"{name_some(found)}: several lists of actions. Name one of them in the command.")
    return list(found)


def _class_names(lists: Sequence[str], keyframes: Iterable[_Shown]) -> tuple[dict[int, str], Finding]:
    """Names by action, in the order of classes, and where they are from."""
    used: dict[int, Row] = {}
    for seen in keyframes:
        for action, row in seen.actions.items():
            used.setdefault(action, row)
    if not lists:
        names = {action: str(action) for action in sorted(used)}
        return names, Finding(
            "no list of actions (ava_action_list_*.pbtxt); classes are called by numbers", name_some(names.values())
        )
    names = _read_actions(lists[0])
    for action, row in used.items():
        if action not in names:
            raise UserError(
                f"{row.where}: action_id {action} is not in {lists[0]}. Name the list of actions that has it."
            )
    return names, Finding("names of classes", name_of(lists[0]))


def _read_actions(uri: str) -> dict[int, str]:
    """Names by number, in the order of numbers."""
    text, at, names = re.sub(r"(?m)^\s*#.*$", "", read_text(uri)), 0, dict[int, str]()
    while at < len(text):
        block = _ACTION.match(text, at)
        name, number = (pattern.findall(block[1]) if block else [] for pattern in (_NAME, _ID))
        line = text.count("\n", 0, at + len(text[at:]) - len(text[at:].lstrip())) + 1
        if block is None or len(name) != 1 or len(number) != 1:
            raise UserError(
                f'{uri}: line {line}: expected label {{ name: "..." label_id: 1 }}, as in AVA\'s list of actions.'
            )
        if int(number[0]) in names or name[0] in names.values():
            raise UserError(f"{uri}: line {line}: the action {number[0]} ({shown(name[0])}) is named twice.")
        names[int(number[0])], at = name[0], block.end()
    if not names:
        raise UserError(f"{uri}: this list names no action.")
    return dict(sorted(names.items()))


def _files_beside(uri: str) -> list[str]:
    with explained(uri, "look for lists beside this one"):
        return list_files(folder_of(uri))
