"""A folder with one sub-folder per class, or with parts of a split and classes below each other."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from kinebert.preprocessing.datasets.listing import (
    NO_VIDEOS,
    Finding,
    Listing,
    Video,
    VideoFolder,
    alphabetical,
    stem,
)
from kinebert.preprocessing.datasets.manifest import name_some
from kinebert.preprocessing.datasets.parts import part_of_folder
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.errors import UserError

_PARTS_OUTSIDE = "outermost folder is a part of split1, the folders in it are classes"
_PARTS_INSIDE = "outermost folders are classes, the folders in them parts of split1"
_NO_PART = "folder called like a part of a split, taken for a class"
_NO_DEEPER_PART = "folder called like a part of a split, but in a class beside others; taken for no part"


@register_reader(
    "folder",
    paths="VIDEOS",
    about="one sub-folder per class; or train, val and test (or validation and so on), each with one per class",
    num_paths=(1, 1),
)
def read_folder(paths: Sequence[str]) -> Listing:
    """Read ``VIDEOS/CLASS/NAME.EXT``, ``VIDEOS/PART/CLASS/NAME.EXT`` or ``VIDEOS/CLASS/PART/NAME.EXT``.

    Folders are parts if all on their level are called like parts, ``train`` or ``Validation``, and the classes stand in
    the other level; which was taken is said. Deeper folders belong to the class.
    """
    folder = VideoFolder(paths[0])
    inside = {path: PurePosixPath(path).parts[:-1] for path in folder.files if "/" in path}
    if not inside:
        raise UserError(
            f"{paths[0]}: {len(folder.files)} videos lie directly in this folder, none in a sub-folder. Expected one "
            "sub-folder per class; or describe the videos in a CSV file: kinebert index csv FILE."
        )
    level, said = _level_of_parts(paths[0], list(inside.values()))
    videos = [
        Video(
            video_id=stem(path),
            path=folder.location(path),
            label_name=folders[1 if level == 0 else 0],
            splits={} if level is None else {"split1": part_of_folder(folders[level]) or ""},
        )
        for path, folders in inside.items()
    ]
    labels = alphabetical(video.label_name for video in videos)
    findings = folder.findings + said
    findings += [Finding("video outside the class folders, left out", path) for path in folder.files if "/" not in path]
    others = {PurePosixPath(path).parts[0] for path in folder.others if "/" in path}
    findings += [Finding(NO_VIDEOS, name) for name in sorted(others - {folders[0] for folders in inside.values()})]
    findings += [Finding("file that is not a video by its extension", path) for path in folder.others]
    return Listing(videos=videos, labels=labels, findings=findings)


def _level_of_parts(uri: str, listed: Sequence[tuple[str, ...]]) -> tuple[int | None, list[Finding]]:
    """Which folders are parts: the outermost (0), those in them (1) or none; and what to say of that.

    Raises:
        UserError: If the outermost are all called like parts, but only some have folders of classes.
    """
    outer = sorted({folders[0] for folders in listed})
    inner = sorted({folders[1] for folders in listed if len(folders) > 1})
    if all(map(part_of_folder, outer)):
        flat = sorted({folders[0] for folders in listed if len(folders) == 1})
        if not flat:
            return 0, [Finding(_PARTS_OUTSIDE, f"{name} = {part_of_folder(name)}") for name in outer]
        if inner:
            raise UserError(
                f"{uri}: {name_some(outer)} are called like parts of a split, but videos lie directly in "
                f"{name_some(flat)}, beside folders such as {inner[0]}. Put them into a folder of their class, give "
                "the folders other names if they are classes, or describe all in a list: kinebert index csv FILE."
            )
    if inner and all(map(part_of_folder, inner)) and all(len(folders) > 1 for folders in listed):
        return 1, [Finding(_PARTS_INSIDE, f"{name} = {part_of_folder(name)}") for name in inner]
    said = [Finding(_NO_PART, name) for name in outer if part_of_folder(name)]
    return None, said + [Finding(_NO_DEEPER_PART, name) for name in inner if part_of_folder(name)]
