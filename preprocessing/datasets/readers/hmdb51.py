"""HMDB51 with its three official splits.

Source: https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/, "three splits for the HMDB51":
one file per class and split, ``CLASS_test_split1.txt``, with lines ``NAME.avi 1``; 0 is a clip that the split does not
use, 1 training, 2 testing.
"""

import re
from collections.abc import Sequence

from kinebert.preprocessing.datasets.list_table import COMMENT
from kinebert.preprocessing.datasets.list_text import numbered_lines, shown
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
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import join, list_files

_LIST = re.compile(r"(?P<label>.+)_test_split(?P<number>\d+)\.txt")
_PARTS = {"0": None, "1": "train", "2": "test"}
# visible body part, camera motion, number of people, viewpoint, quality, number of the clip
_TAIL = re.compile(r"_[a-z]_[cn]m_np\d+_[a-z]{2}_[a-z]{3}_\d+$")


@register_reader(
    "hmdb51",
    data_set="HMDB51",
    paths="VIDEOS LISTS",
    about="videos by class; the folder of the lists brush_hair_test_split1.txt and so on",
    num_paths=(2, 2),
)
def read_hmdb51(paths: Sequence[str]) -> Listing:
    """Read the videos folder (one folder per class) and the folder of list files, in either order."""
    for path in paths:
        expect_folder(path, "a folder of videos by class and a folder of *_test_split1.txt lists")
    lists = [[name for name in list_files(path) if _LIST.fullmatch(name)] for path in paths]
    if not any(lists):
        raise UserError(
            f"{paths[1]}: no list of HMDB51 is here; expected files like brush_hair_test_split1.txt, as in the archive "
            "test_train_splits.rar (folder testTrainMulti_7030_splits)."
        )
    videos_uri, lists_uri = (paths[0], paths[1]) if lists[1] else (paths[1], paths[0])
    entries, findings = _read_lists(lists_uri, lists[1] or lists[0])
    labels = alphabetical(label for label, _ in entries)
    folder = VideoFolder(videos_uri, labels)
    videos = []
    for (label, name), splits in entries.items():
        found = folder.find(label, stem(name))
        videos.append(
            Video(
                video_id=f"{label}/{stem(name)}",
                path=folder.location(found or f"{label}/{name}"),
                label_name=label,
                group=movie(stem(name), label),
                splits=splits,
            )
        )
    folder.check_some_found(len(videos), "{}/{}".format(*next(iter(entries))))
    findings += folder.findings + folder.unlisted() + classes_without_videos(labels, videos)
    return Listing(videos=videos, labels=labels, findings=findings)


def movie(name: str, label: str) -> str:
    """Name of the film that a clip was cut from: what stands before the action and its tags."""
    return _TAIL.sub("", name).removesuffix(f"_{label}")


def _read_lists(uri: str, names: Sequence[str]) -> tuple[dict[tuple[str, str], dict[str, str]], list[Finding]]:
    """Read all lists: splits by class and clip, and which lists are lacking."""
    entries: dict[tuple[str, str], dict[str, str]] = {}
    findings: list[Finding] = []
    classes, numbers = set(), set()
    for list_name in sorted(names):
        match = _LIST.fullmatch(list_name)
        assert match is not None
        label, number = match["label"], int(match["number"])
        classes.add(label)
        numbers.add(number)
        listed = []
        for i, line in numbered_lines(join(uri, list_name)):
            name, _, code = "\t".join(line.rsplit(None, 1)).rpartition("\t")
            if code not in _PARTS or not name:
                if line.startswith("#"):  # names begin so too, but end in a number
                    findings.append(Finding(COMMENT, f"{list_name} line {i}"))
                    continue
                raise UserError(f"{join(uri, list_name)}: line {i}: expected 'NAME.avi 0', 1 or 2; got {shown(line)}.")
            listed.append(name)
            splits = entries.setdefault((label, name), {})
            part = _PARTS[code]
            if part is not None:
                splits[f"split{number}"] = part
        refuse_twice(join(uri, list_name), listed)
    if not entries:
        raise UserError(f"{uri}: all lists here are empty.")
    lacking = [f"{label}_test_split{number}.txt" for label in sorted(classes) for number in sorted(numbers)]
    return entries, findings + [Finding("list that is not there", name) for name in lacking if name not in names]
