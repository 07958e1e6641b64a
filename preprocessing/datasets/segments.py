"""Segments in lists: which columns say where a video lies in its file, and how such videos are called and grouped."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import PurePosixPath
from typing import Literal

from kinebert.preprocessing.datasets.list_table import Row, column_name
from kinebert.preprocessing.datasets.listing import Video, stem
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.video.intervals import Interval

_PAIRS: dict[Literal["s", "ms", "frames"], tuple[str, ...]] = {
    "s": (
        "start end",
        "start stop",
        "begin end",
        "start_time end_time",
        "start_time stop_time",
        "begin_time end_time",
        "time_start time_end",
        "t_start t_end",
        "start_t end_t",
        "start_s end_s",
        "start_sec end_sec",
        "start_second end_second",
        "start_seconds end_seconds",
        "start_timestamp end_timestamp",
        "start_timestamp stop_timestamp",
        "segment_start segment_end",
        "clip_start clip_end",
    ),
    "ms": ("start_ms end_ms",),
    "frames": (
        "start_frame end_frame",
        "start_frame stop_frame",
        "begin_frame end_frame",
        "frame_start frame_end",
        "start_f end_f",
    ),
}
_PAIR_OF = {tuple(pair.split()): unit for unit, pairs in _PAIRS.items() for pair in pairs}
_UNCLEAR = {"first_frame", "last_frame"}
"""Names of which nobody can tell whether the last frame is in the segment."""
_MOMENTS = {"middle_frame_timestamp", "keyframe", "key_frame", "keyframe_timestamp", "frame_timestamp"}
"""Names of columns that say a moment, as AVA's lists do for boxes with several actions each."""
_DAY_S = 86400
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d*)?)")
_CUT_NAME = re.compile(r"_(\d{6})_(\d{6})$")


@dataclass(frozen=True)
class SegmentColumns:
    """The two columns of a list that say where each of its videos lies in its file."""

    start: str
    end: str
    unit: Literal["s", "ms", "frames"]

    @property
    def names(self) -> tuple[str, str]:
        """Both, as the list spells them."""
        return self.start, self.end

    def interval(self, cells: Mapping[str, str], where: str) -> Interval | None:
        """Return the segment of a row; None where both cells are empty, which is the whole file.

        One empty cell stands for the beginning or the end of the file.

        Args:
            cells: Text by column.
            where: File and line, named in errors.

        Raises:
            UserError: If a cell is no time or no frame, or the segment is empty or begins before the file.
        """
        start, end = ((cells.get(name) or "").strip() for name in self.names)
        if not start and not end:
            return None
        begins = self._number(start, where) if start else 0.0
        ends = self._number(end, where) if end else None
        try:
            return Interval(begins, ends, "frames" if self.unit == "frames" else "s")
        except ConfigError as error:
            raise UserError(f"{where}: {self.start} {start!r}, {self.end} {end!r}: {error}") from None

    def _number(self, text: str, where: str) -> float:
        number = number_of(text)
        if number is None or (self.unit == "frames" and ":" in text):
            kinds = {"s": "seconds, such as 12.5 or 00:01:02.5", "ms": "milliseconds", "frames": "numbers of frames"}
            raise UserError(f"{where}: {text!r} in {self.start} and {self.end}; expected {kinds[self.unit]}.")
        return float(number / 1000 if self.unit == "ms" else number)


def number_of(text: str) -> Decimal | None:
    """Seconds or frames that a cell says, ``12.5`` or ``01:02.5``; None if it says neither."""
    clock = _CLOCK.fullmatch(text)
    try:
        if clock:
            hours, minutes, seconds = (Decimal(part or 0) for part in clock.groups())
            return 3600 * hours + 60 * minutes + seconds
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def segment_columns(columns: Sequence[str], where: str) -> SegmentColumns | None:
    """Find the columns of a list that say where its videos lie in their files; None if it has none.

    Capitals do not matter, nor whether words are joined by spaces, hyphens or underscores.

    Raises:
        UserError: If only one of two is there, two pairs are, one says a moment, or it is not clear what one means.
    """
    by_name = {re.sub(r"[ -]+", "_", column.strip().lower()): column for column in columns}
    unclear = sorted(_UNCLEAR & by_name.keys())
    if unclear:
        raise UserError(
            f"{where}: is the frame that the column {by_name[unclear[-1]]} names in the segment or not? Use "
            "start_frame, which is in it, and end_frame, which is not."
        )
    moments = sorted(_MOMENTS & by_name.keys())
    if moments:
        raise UserError(
            f"{where}: the column {by_name[moments[0]]} says a moment, as in AVA's lists of boxes. Those are read by "
            "`kinebert index ava`; in a list of your own say with start and end which segment has the label of the row."
        )
    pairs = [pair for pair in _PAIR_OF if set(pair) <= by_name.keys()]
    if len(pairs) > 1:
        said = " and ".join(f"{by_name[start]}, {by_name[end]}" for start, end in pairs)
        raise UserError(f"{where}: the columns {said} all say where a segment lies. Leave one start and one end.")
    halves = sorted({name for pair in _PAIR_OF for name in pair} & by_name.keys() - {n for pair in pairs for n in pair})
    if halves:
        lonely = "is no end" if any(pair[0] == halves[0] for pair in _PAIR_OF) else "is no start"
        raise UserError(
            f"{where}: there {lonely} beside the column {by_name[halves[0]]}. A segment needs both, such as start and "
            "end (seconds) or start_frame and end_frame; whole videos need neither."
        )
    if not pairs:
        return None
    (start, end) = pairs[0]
    return SegmentColumns(by_name[start], by_name[end], _PAIR_OF[start, end])


def refuse_moments(rows: Sequence[Row]) -> None:
    """Refuse a list whose column ``timestamp`` says moments of videos, where no columns say segments.

    Seconds of less than a day are moments; dates and the like are not looked at.

    Raises:
        UserError: It names file and line, and what to do.
    """
    for row in rows:
        for column in row.cells:
            moment = number_of(row.get(column)) if column_name(column) == "timestamp" else None
            if moment is not None and 0 <= moment < _DAY_S:
                raise UserError(
                    f"{row.where}: {column} {row.get(column)!r} says a moment, and no column a segment. Say with start "
                    "and end which segment has the label of the row, or rename or remove the column; AVA's lists of "
                    "boxes are read by `kinebert index ava`."
                )


def is_cut_already(path: str, interval: Interval | None) -> bool:
    """Whether a file was cut at these seconds by its name, as Kinetics' ``ID_000010_000020.mp4``."""
    if interval is None or interval.unit != "s" or interval.end is None:
        return False
    return times_of_cut(path) == (int(interval.start), int(interval.end))


def times_of_cut(path: str) -> tuple[int, int] | None:
    """Return the seconds of the original at which a file was cut by its name, as ``ID_000010_000020.mp4``, or None."""
    named = _CUT_NAME.search(stem(PurePosixPath(path).name))
    return (int(named[1]), int(named[2])) if named else None


def name_segments(videos: Sequence[Video], own_ids: Sequence[bool]) -> list[Video]:
    """Give segments ids of their own, and the segments of a file its id as their group, unless they have one.

    An id ends in where the segment lies, ``film_s0.5-2`` or ``film_f30-90``, unless the list gave one that no other
    video has: a list in which an id comes twice means the file by it.

    Args:
        videos: As a list has them; the id of a segment is that of its file.
        own_ids: Whether the list itself gave a video's id, for each of them.
    """
    counts = Counter(video.video_id for video in videos)
    means_files = any(
        counts[video.video_id] > 1 for video, own in zip(videos, own_ids, strict=True) if own and video.interval
    )
    named = []
    for video, own in zip(videos, own_ids, strict=True):
        if video.interval is not None:
            keeps = own and not means_files
            video_id = video.video_id if keeps else f"{video.video_id}_{video.interval.suffix()}"
            group = video.group or (None if keeps else video.video_id)
            video = replace(video, video_id=video_id, group=group)
        named.append(video)
    return named
