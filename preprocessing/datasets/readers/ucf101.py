"""UCF101 with its three official splits.

Source: https://www.crcv.ucf.edu/data/UCF101.php, "train/test splits for action recognition": ``classInd.txt`` with
lines ``1 ApplyEyeMakeup``, ``trainlist01.txt`` with lines ``CLASS/NAME.avi 1``, ``testlist01.txt`` without the number.
"""

import re
from collections.abc import Sequence

from kinebert.preprocessing.datasets.labels import class_index
from kinebert.preprocessing.datasets.list_text import numbered_lines, shown
from kinebert.preprocessing.datasets.listing import (
    Listing,
    Video,
    VideoFolder,
    classes_without_videos,
    expect_folder,
    refuse_twice,
    stem,
)
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import join, list_files

_LIST = re.compile(r"(?P<part>train|test)list(?P<number>\d+)\.txt")
_LINE = re.compile(r"(?P<label>[^/\\]+)[/\\](?P<name>.+?\.\w+)(?:[\s,;]+(?P<number>[0-9]{1,10}))?[\s,;]*")
_GROUP = re.compile(r"_(g\d+)_c\d+$")


@register_reader(
    "ucf101",
    data_set="UCF101",
    paths="VIDEOS LISTS",
    about="videos by class; the folder of classInd.txt, trainlist01.txt, testlist01.txt and so on",
    num_paths=(2, 2),
)
def read_ucf101(paths: Sequence[str]) -> Listing:
    """Read the videos folder (one folder per class) and the folder of list files, in either order."""
    for path in paths:
        expect_folder(path, "a folder of videos by class and a folder with classInd.txt and the lists")
    has_classes = ["classInd.txt" in list_files(path) for path in paths]
    if not any(has_classes):
        raise UserError(
            f"{paths[1]}: classInd.txt is not here; expected classInd.txt, trainlist01.txt and testlist01.txt (and so "
            "on to 03), as in the archive UCF101TrainTestSplits-RecognitionTask.zip (folder ucfTrainTestlist)."
        )
    videos_uri, lists_uri = (paths[0], paths[1]) if has_classes[1] else (paths[1], paths[0])
    labels = _read_classes(join(lists_uri, "classInd.txt"))
    entries = _read_lists(lists_uri, labels)
    folder = VideoFolder(videos_uri, labels)
    videos = []
    for (label, name), splits in entries.items():
        found = folder.find(label, stem(name))
        group = _GROUP.search(stem(name))  # numbered afresh in every class
        videos.append(
            Video(
                video_id=f"{label}/{stem(name)}",
                path=folder.location(found or f"{label}/{name}"),
                label_name=label,
                group=f"{label}/{group[1]}" if group else None,
                splits=splits,
            )
        )
    folder.check_some_found(len(videos), "{}/{}".format(*next(iter(entries))))
    findings = folder.findings + folder.unlisted() + classes_without_videos(labels, videos)
    return Listing(videos=videos, labels=labels, findings=findings)


def _read_classes(uri: str) -> dict[str, int]:
    labels: dict[str, int] = {}
    for i, line in numbered_lines(uri):
        if line.startswith("#"):
            continue
        number, _, name = "\t".join(re.split(r"[\s,;]+", line, maxsplit=1)).partition("\t")
        index = class_index(number)
        if not name or index is None or index < 1:
            raise UserError(f"{uri}: line {i}: expected '1 ApplyEyeMakeup', got {shown(line)}.")
        if name in labels:
            raise UserError(f"{uri}: line {i}: the class {name!r} is there already, as {labels[name] + 1}.")
        labels[name] = index - 1
    if len(set(labels.values())) != len(labels) or not labels:
        raise UserError(f"{uri}: expected one line per class with a number of its own, got {len(labels)} classes.")
    return labels


def _read_lists(uri: str, labels: dict[str, int]) -> dict[tuple[str, str], dict[str, str]]:
    """Read all lists: splits by class and clip."""
    names = [name for name in list_files(uri) if _LIST.fullmatch(name)]
    numbers = sorted({match["number"] for name in names if (match := _LIST.fullmatch(name))})
    wanted = [f"{part}list{number}.txt" for number in numbers or ["01"] for part in ("train", "test")]
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise UserError(f"{uri}: {', '.join(lacking)} not found; every split needs trainlist0N.txt and testlist0N.txt.")
    spellings = {name.casefold(): name for name in labels}
    entries: dict[tuple[str, str], dict[str, str]] = {}
    for number in numbers:
        listed = []
        for part in ("train", "test"):
            where = join(uri, f"{part}list{number}.txt")
            for i, line in numbered_lines(where):
                if line.startswith("#"):
                    continue
                match = _LINE.fullmatch(line)
                if match is None:
                    raise UserError(f"{where}: line {i}: expected 'CLASS/NAME.avi', got {shown(line)}.")
                label = spellings.get(match["label"].casefold())
                if label is None:
                    raise UserError(f"{where}: line {i}: the class {shown(match['label'])} is not in classInd.txt.")
                if match["number"] and int(match["number"]) != labels[label] + 1:
                    raise UserError(
                        f"{where}: line {i}: says class {match['number']}, but classInd.txt says {labels[label] + 1}."
                    )
                listed.append(f"{label}/{match['name']}")
                entries.setdefault((label, match["name"]), {})[f"split{int(number)}"] = part
        refuse_twice(join(uri, f"trainlist{number}.txt and testlist{number}.txt"), listed)
    if not entries:
        raise UserError(f"{uri}: all lists here are empty.")
    return entries
