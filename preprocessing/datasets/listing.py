"""What every reader of a data set ends in, and how its lists and video files are found on disk."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow.fs as pafs

from kinebert.preprocessing.datasets.manifest import is_plain, name_some
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import explained, is_folder, is_local, join, open_filesystem
from kinebert.preprocessing.video.intervals import Interval

VIDEO_SUFFIXES = frozenset(
    """.264 .3gp .asf .avi .divx .flv .gif .h264 .hevc .m2ts .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf
    .ogg .ogv .rm .rmvb .ts .vob .webm .wmv .y4m""".split()  # noqa: SIM905 (a list of 30 lines is no easier to read)
)

UNLISTED = "video that no list names"
NO_VIDEOS = "class without videos"


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video as its data set names it."""

    video_id: str
    path: str
    label_name: str
    """Empty where the class is not known."""
    group: str | None = None
    """Recording that it was cut from, where the data set tells."""
    splits: Mapping[str, str] = field(default_factory=dict)
    interval: Interval | None = None
    """Segment of the file that it is; None for all of the file."""


@dataclass(frozen=True)
class Finding:
    """Something that a user should know of, though the videos can be indexed without it."""

    kind: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a data set's own lists say. Paths may be missing on disk; ids may occur twice."""

    videos: list[Video]
    labels: dict[str, int]
    """Class index by name."""
    findings: list[Finding] = field(default_factory=list)
    other_columns: tuple[str, ...] = ()
    """Columns of lists that are not used; no split that we make takes the name of one."""


class VideoFolder:
    """The video files below a folder, found by the names that lists give them.

    A list's extension, its spelling of capitals (UCF101's HandStandPushups) and its way of writing an accent may differ
    from the disk's; an exact match comes first. Files may lie in a folder of their class, deeper, or all in one folder.

    Args:
        uri: The folder.
        classes: Names of all classes, by which folders of classes are known from others.

    Attributes:
        files: Relative paths of all videos, sorted.
        findings: File names that cannot be used.
    """

    def __init__(self, uri: str, classes: Iterable[str] = ()) -> None:
        self.uri = uri
        self._classes = set(map(_loose_class, classes))
        paths, self.findings = _walk(uri)
        self.files = [path for path in paths if PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES]
        self.others = [path for path in paths if PurePosixPath(path).suffix.lower() not in VIDEO_SUFFIXES]
        if not self.files:
            raise UserError(f"{uri}: there is no video in this folder{_what_else(self.others)}.")
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.files:
            self._by_name[_loose(PurePosixPath(stem(path)).name)].append(path)
        self._used: set[str] = set()

    def find(self, class_name: str, name: str) -> str | None:
        """Return the relative path of the video that a list calls ``name`` (without extension), or None."""
        candidates = self._by_name.get(_loose(name), [])
        inside = [path for path in candidates if _is_inside(path, class_name)]
        # a file in another class's folder is another video, which may have the same name
        nearest = inside or [path for path in candidates if not self._classes & _folders(path)]
        best = [path for path in nearest if PurePosixPath(stem(path)).name == name] or nearest
        if not best or (not inside and len(best) > 1):  # two folders have one, and whose it is cannot be told
            return None
        self._used.add(best[0])
        return best[0]

    def find_unique(self, class_name: str, name: str) -> str | None:
        """Return the relative path of the video called exactly ``name``, or None; the folder of its class comes first.

        For data sets whose names are unique: the same name is the same video, in whatever folder it lies.
        """
        same = [path for path in self._by_name.get(_loose(name), []) if PurePosixPath(stem(path)).name == name]
        best = [path for path in same if _is_inside(path, class_name)] or same
        if not best:
            return None
        self._used.add(best[0])
        return best[0]

    def location(self, path: str) -> str:
        """Return the absolute location of a path relative to the folder."""
        return join(self.uri, path)

    def unlisted(self) -> list[Finding]:
        """Return one finding for every video of the folder that no list has named."""
        return [Finding(UNLISTED, path) for path in self.files if path not in self._used]

    def check_some_found(self, num_listed: int, example: str) -> None:
        """Refuse a folder in which no listed video was found: it is the wrong one."""
        if not self._used:
            raise UserError(
                f"{self.uri}: none of the {num_listed} videos that the lists name is here; expected, for example, "
                f"{example}, found {name_some(self.files, 2)}. Is this the right folder?"
            )


def stem(path: str) -> str:
    """``path`` without its extension, if that is one of a video; a dot elsewhere in the name stays."""
    suffix = PurePosixPath(path).suffix
    return path[: -len(suffix)] if suffix.lower() in VIDEO_SUFFIXES else path


def alphabetical(names: Iterable[str]) -> dict[str, int]:
    """Number class names from 0 in the order of their characters."""
    return {name: i for i, name in enumerate(sorted(set(names) - {""}))}


def classes_without_videos(labels: Mapping[str, int], videos: Iterable[Video]) -> list[Finding]:
    """One finding for each class that no video has."""
    used = {video.label_name for video in videos}
    return [Finding(NO_VIDEOS, name) for name in sorted(labels, key=lambda name: labels[name]) if name not in used]


def refuse_twice(where: str, names: Iterable[str]) -> None:
    """Refuse a list that names a video more than once.

    Raises:
        UserError: Names the first few, and counts them all.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UserError(
            f"{where}: {len(twice)} video{'s'[: len(twice) != 1]} named more than once: {name_some(twice)}. "
            "Remove the lines that are too many."
        )


def expect_folder(uri: str, what: str) -> None:
    """Refuse what is not a folder."""
    with explained(uri, "look into this folder"):
        if not is_folder(uri):
            raise UserError(f"{uri}: there is no such folder; expected {what}.")


def _loose(name: str) -> str:
    """A spelling that hides capitals and ways to write an accent."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_inside(path: str, class_name: str) -> bool:
    """Whether a folder above ``path`` is called like the class; spaces may be written as underscores."""
    return _loose_class(class_name) in _folders(path)


def _loose_class(name: str) -> str:
    return _loose(name).replace("_", " ")


def _folders(path: str) -> set[str]:
    return set(map(_loose_class, PurePosixPath(path).parts[:-1]))


def _what_else(others: Sequence[str]) -> str:
    if not others:
        return "; it is empty"
    kinds = Counter(PurePosixPath(path).suffix.lower() or "no extension" for path in others)
    return " (it has " + name_some(f"{count} files with {kind}" for kind, count in kinds.most_common()) + ")"


def _walk(uri: str) -> tuple[list[str], list[Finding]]:
    """Relative paths of all files below a folder, sorted; hidden ones (and __MACOSX) are passed over."""
    expect_folder(uri, "a folder of videos")
    with explained(uri, "list this folder"):
        found = _walk_local(uri) if is_local(uri) else _walk_remote(uri)
        paths = [path for path in found if not any(p.startswith(".") or p == "__MACOSX" for p in path.split("/"))]
    kind = "file name with control characters or not in UTF-8, left out"
    strange = [Finding(kind, repr(path)) for path in sorted(paths) if not is_plain(path)]
    return sorted(path for path in paths if is_plain(path)), strange


def _walk_local(root: str) -> list[str]:
    paths = []
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back into the folder
            folders.clear()
            continue
        seen.add(real)
        below = os.path.relpath(folder, root)
        paths += [name if below == "." else f"{below}/{name}" for name in names]
    return paths


def _raise(error: OSError) -> None:
    raise error


def _walk_remote(uri: str) -> list[str]:
    fs, root = open_filesystem(uri)
    infos = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    return [os.path.relpath(info.path, root) for info in infos if info.type == pafs.FileType.File]
