"""Something-Something v2 from its JSON files.

Source: https://www.qualcomm.com/developer/software/something-something-v-2-dataset. ``labels.json`` maps the text of a
class to its number (as a string); ``train.json`` and ``validation.json`` are lists of objects with ``id`` and
``template``, which is that text with its placeholders in brackets; ``test.json`` has ids only. The first release put
``something-something-v2-`` before each name. Videos are ``ID.webm``.
"""

import json
from collections.abc import Sequence
from typing import Any

from kinebert.preprocessing.datasets.list_text import read_text
from kinebert.preprocessing.datasets.listing import (
    Finding,
    Listing,
    Video,
    VideoFolder,
    classes_without_videos,
    refuse_twice,
    stem,
)
from kinebert.preprocessing.datasets.manifest import name_some
from kinebert.preprocessing.datasets.registry import register_reader
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import is_folder, join, list_files, name_of

_PREFIX = "something-something-v2-"
_PARTS = {"train": "train", "validation": "val", "test": "test"}


@register_reader(
    "ssv2",
    data_set="Something-Something v2",
    paths="VIDEOS LABELS",
    about=(
        "videos called ID.webm; the folder of something-something-v2-labels.json, -train.json and so on (or "
        "labels.json, train.json and so on)"
    ),
    num_paths=(2, None),
)
def read_ssv2(paths: Sequence[str]) -> Listing:
    """Read the videos folder and the JSON files (or the folder that has them), in any order."""
    videos_uri, lists = _find_lists(paths)
    labels = _read_labels(lists["labels"])
    folder = VideoFolder(videos_uri)
    videos = []
    findings = list(folder.findings)
    for kind, part in _PARTS.items():
        if kind not in lists:
            findings.append(Finding("list that is not there", f"{_PREFIX}{kind}.json"))
            continue
        for name, label in _read_entries(lists[kind], labels, has_labels=kind != "test"):
            found = folder.find_unique("", name)
            videos.append(
                Video(
                    video_id=stem(found or name),
                    path=folder.location(found or f"{name}.webm"),
                    label_name=label,
                    splits={"split1": part},
                )
            )
            if not label:
                findings.append(Finding("video without a label", name))
    refuse_twice(videos_uri, [video.video_id for video in videos])
    if not videos:
        raise UserError(f"{', '.join(lists.values())}: these lists name no video.")
    folder.check_some_found(len(videos), f"{videos[0].video_id}.webm")
    findings += folder.unlisted() + classes_without_videos(labels, videos)
    return Listing(videos=videos, labels=labels, findings=findings)


def _find_lists(paths: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The videos folder, and the location of each JSON file by what it is."""
    lists: dict[str, str] = {}
    folders = []
    for path in paths:
        files = [path] if path.lower().endswith(".json") else []
        if not files:
            if not is_folder(path):
                raise UserError(f"{path}: there is no such folder; expected the videos, or the JSON files.")
            files = [join(path, name) for name in list_files(path) if name.endswith(".json")]
        known = {name_of(file).removeprefix(_PREFIX).removesuffix(".json"): file for file in files}
        known = {kind: file for kind, file in known.items() if kind in ("labels", *_PARTS)}
        lists |= known
        if not known:
            folders.append(path)
    lacking = [f"{_PREFIX}{kind}.json" for kind in ("labels", "train") if kind not in lists]
    if lacking:
        raise UserError(
            f"{paths[-1]}: {' and '.join(lacking)} not found; expected {_PREFIX}labels.json, {_PREFIX}train.json, "
            f"{_PREFIX}validation.json and {_PREFIX}test.json (or these names without {_PREFIX!r})."
        )
    if len(folders) != 1:
        raise UserError(f"expected: kinebert index ssv2 VIDEOS LABELS; got {len(folders)} folders without JSON files.")
    return folders[0], lists


def _read_json(uri: str) -> Any:
    try:
        return json.loads(read_text(uri))
    except json.JSONDecodeError as error:
        raise UserError(f"{uri}: this is not JSON: {error}.") from None


def _read_labels(uri: str) -> dict[str, int]:
    plain = _read_json(uri)
    try:
        labels = {str(name): int(number) for name, number in plain.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f'{uri}: expected an object like {{"Holding something": "0"}}.') from None
    if not labels or len(set(labels.values())) != len(labels) or min(labels.values()) < 0:
        raise UserError(f"{uri}: expected a number of its own for every class, from 0; got {len(labels)} classes.")
    return labels


def _read_entries(uri: str, labels: dict[str, int], has_labels: bool) -> list[tuple[str, str]]:
    """Names of videos with their class; an empty one in a list for testing, which has none."""
    entries = []
    unknown = []
    plain = _read_json(uri)
    if not isinstance(plain, list) or not all(isinstance(entry, dict) and "id" in entry for entry in plain):
        raise UserError(f'{uri}: expected a list of objects with an "id".')
    for entry in plain:
        label = str(entry.get("template", "")).replace("[", "").replace("]", "")
        if label not in labels and (label or has_labels):
            unknown.append(f"{entry['id']} ({label!r})")
        entries.append((str(entry["id"]), label))
    if unknown:
        raise UserError(
            f"{uri}: {len(unknown)} videos have a template that labels.json lacks: {name_some(unknown, 3)}."
        )
    refuse_twice(uri, [name for name, _ in entries])
    return entries
