"""Something-Something v2 from its JSON files.

Source: https://www.qualcomm.com/developer/software/something-something-v-2-dataset. ``labels.json`` maps the text of a
class to its number (as a string); ``train.json`` and ``validation.json`` are lists of objects with ``id`` and
``template``, which is that text with its placeholders in brackets; ``test.json`` has ids only, ``test-answers.csv``
lines ``ID;TEXT`` with their classes. The first release put ``something-something-v2-`` before each name. Videos are
``ID.webm``.
"""

from collections.abc import Sequence

from kinebert.preprocessing.datasets.labels import class_index
from kinebert.preprocessing.datasets.list_text import numbered_lines, read_json, shown
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
_FILES = {f"{kind}.json": kind for kind in ("labels", *_PARTS)} | {"test-answers.csv": "answers"}


@register_reader(
    "ssv2",
    data_set="Something-Something v2",
    paths="VIDEOS LABELS",
    about=(
        "videos called ID.webm; the folder of something-something-v2-labels.json, -train.json and so on (or "
        "labels.json, train.json and so on), with test-answers.csv if you have it"
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
    answers = _read_answers(lists["answers"], labels) if "answers" in lists else {}
    for kind, part in _PARTS.items():
        if kind not in lists and not (kind == "test" and answers):
            findings.append(Finding("list that is not there", f"{_PREFIX}{kind}.json"))
            continue
        if kind == "test":
            entries = _read_entries(lists[kind], labels, False) if kind in lists else list(answers.items())
            entries = [(name, _agreed(lists, name, label, answers)) for name, label in entries]
            unasked = answers.keys() - {name for name, _ in entries}
            findings += [Finding("answer for a video that test.json lacks", name) for name in sorted(unasked)]
        else:
            entries = _read_entries(lists[kind], labels, True)
        for name, label in entries:
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
        files = [path] if path.lower().endswith((".json", ".csv")) else []
        if not files:
            if not is_folder(path):
                raise UserError(f"{path}: there is no such folder; expected the videos, or the JSON files.")
            files = [join(path, name) for name in list_files(path)]
        names = {name_of(file).removeprefix(_PREFIX): file for file in files}
        known = {kind: names[name] for name, kind in _FILES.items() if name in names}
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


def _read_labels(uri: str) -> dict[str, int]:
    plain = read_json(uri)
    if not isinstance(plain, dict) or not all(type(number) in (str, int) for number in plain.values()):
        raise UserError(f'{uri}: expected an object like {{"Holding something": "0"}}.')
    labels = {}
    for name, number in plain.items():
        label = class_index(str(number))
        if label is None or label < 0:
            raise UserError(f"{uri}: {shown(name)} has the number {shown(str(number))}; expected 0, 1, 2, ...")
        labels[name] = label
    if not labels or len(set(labels.values())) != len(labels):
        raise UserError(f"{uri}: expected a number of its own for every class, from 0; got {len(labels)} classes.")
    return labels


def _read_answers(uri: str, labels: dict[str, int]) -> dict[str, str]:
    """Class by the name of the video, from lines ``ID;TEXT``; a class may also be told by its number."""
    names: dict[int | None, str] = {number: name for name, number in labels.items()}
    answers: list[tuple[str, str]] = []
    for i, line in numbered_lines(uri):
        name, _, text = (word.strip().strip('"') for word in line.partition(_separator(line)))
        label = text.replace("[", "").replace("]", "")
        if label not in labels:
            label = names.get(class_index(label), label)
        if label in labels and name:
            answers.append((name, label))
        elif answers or name.casefold() not in ("id", "video_id"):  # else it is a header
            raise UserError(f"{uri}: line {i}: expected 'ID;CLASS' with a class of labels.json, got {shown(line)}.")
    refuse_twice(uri, [name for name, _ in answers])
    return dict(answers)


def _separator(line: str) -> str:
    """What stands between an id and its class: a text of a class may hold commas, but neither of the others."""
    return next((mark for mark in ";\t," if mark in line), ";")


def _agreed(lists: dict[str, str], name: str, label: str, answers: dict[str, str]) -> str:
    """Class of a test video, whichever list tells it."""
    answer = answers.get(name, label)
    if label and answer != label:
        raise UserError(f"{lists['answers']}: {name} is {answer!r} here, but {label!r} in {lists['test']}.")
    return answer


def _read_entries(uri: str, labels: dict[str, int], has_labels: bool) -> list[tuple[str, str]]:
    """Names of videos with their class; an empty one in a list for testing, which has none."""
    entries = []
    unknown = []
    plain = read_json(uri)
    if not isinstance(plain, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), (str, int)) for entry in plain
    ):
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
