"""A folder with one sub-folder per class."""

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
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.errors import UserError


@register_reader(
    "folder",
    paths="VIDEOS",
    about="one sub-folder per class",
    num_paths=(1, 1),
)
def read_folder(paths: Sequence[str]) -> Listing:
    """Read ``VIDEOS/CLASS/NAME.EXT``; deeper folders belong to the class of the outermost."""
    folder = VideoFolder(paths[0])
    findings = list(folder.findings)
    videos = []
    for path in folder.files:
        parts = PurePosixPath(path).parts
        if len(parts) == 1:
            findings.append(Finding("video outside the class folders, left out", path))
        else:
            videos.append(Video(video_id=stem(path), path=folder.location(path), label_name=parts[0]))
    if not videos:
        raise UserError(
            f"{paths[0]}: {len(folder.files)} videos lie directly in this folder, none in a sub-folder. Expected one "
            "sub-folder per class; or describe the videos in a CSV file: kinebert index csv FILE."
        )
    labels = alphabetical(video.label_name for video in videos)
    others = {PurePosixPath(path).parts[0] for path in folder.others if "/" in path}
    findings += [Finding(NO_VIDEOS, name) for name in sorted(others - labels.keys())]
    findings += [Finding("file that is not a video by its extension", path) for path in folder.others]
    return Listing(videos=videos, labels=labels, findings=findings)
