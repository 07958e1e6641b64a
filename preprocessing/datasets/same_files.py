"""One file under several ids: found by where it lies on the disk, and by its bytes where that is asked for."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from kinebert.preprocessing.datasets.listing import Finding, Video
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import exists, file_digest, file_size, is_local

Key = Callable[[str], Hashable]
Item = TypeVar("Item", bound=Hashable)


def same_files(videos: Sequence[Video], by_content: bool = False) -> list[list[Video]]:
    """Return the videos of each file that has several, in the order of the list.

    Links to a file, symbolic or hard, are that file. ``by_content`` takes files of equal bytes for one too; only files
    of equal size are read for that.
    """
    found = _alike(videos, _place)
    if by_content:
        found += [same for group in _alike(videos, _size) for same in _alike(group, _digest)]
    by_id = {video.video_id: video for video in videos}
    return [[by_id[name] for name in names] for names in _joined([video.video_id for video in same] for same in found)]


def one_group_each(groups: Mapping[str, str], same: Iterable[Sequence[Video]]) -> dict[str, str]:
    """Return groups by video id in which the videos of one file, and all in their groups, are one group."""
    pairs = [[groups[video.video_id] for video in videos] for videos in same]
    name = {group: min(joined) for joined in _joined(pairs) for group in joined}
    return {video_id: name.get(group, group) for video_id, group in groups.items()}


def file_findings(same: Iterable[Sequence[Video]]) -> list[Finding]:
    """Files of several videos, and those among them of which a split tests what it trains on."""
    findings = []
    for videos in same:
        if len({(video.video_id, video.path) for video in videos}) > 1:
            findings.append(Finding("file with more than one id", videos[0].path))
        for split in sorted({name for video in videos for name in video.splits}):
            parts = {video.splits[split]: video for video in reversed(videos) if split in video.splits}
            if len(parts) > 1:
                of = " and ".join(f"{parts[part].video_id} ({part})" for part in sorted(parts))
                findings.append(Finding(f"WARNING: one file lies in several parts of {split}, which then leak", of))
    return findings


def _alike(videos: Sequence[Video], key: Key) -> list[list[Video]]:
    """Videos whose files have one key; None is no key."""
    by_key: dict[Hashable, list[Video]] = defaultdict(list)
    keys = {path: key(path) for path in dict.fromkeys(video.path for video in videos)}
    for video in videos:
        if keys[video.path] is not None:
            by_key[keys[video.path]].append(video)
    return [alike for alike in by_key.values() if len(alike) > 1]


def _place(path: str) -> Hashable:
    """What tells a file from others on its disk; its path where there is no more to be known."""
    if not is_local(path):
        return path
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def _size(path: str) -> int | None:
    try:
        return (file_size(path) or None) if exists(path) else None
    except (OSError, UserError):
        return None


def _digest(path: str) -> str | None:
    try:
        return file_digest(path)
    except (OSError, UserError):
        return None


def _joined(sets: Iterable[Iterable[Item]]) -> list[list[Item]]:
    """Join sets that share a member, and those that share one with the result; members in the order of coming."""
    at: dict[Item, list[Item]] = {}
    for members in sets:
        whole: list[Item] = []
        for member in members:
            for other in at.get(member, [member]):
                if at.get(other) is not whole:
                    at[other] = whole
                    whole.append(other)
    return list({id(whole): whole for whole in at.values()}.values())
