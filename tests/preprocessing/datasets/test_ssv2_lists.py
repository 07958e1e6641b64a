"""Something-Something v2: answers of its test videos, and lists that are not its own."""

import json
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.errors import UserError
from tests.helpers.lists import by_id, findings, touch, write

LABELS = {"Putting something on, then off": "1", "Holding something": "0"}
FILES = {
    "labels.json": json.dumps(LABELS),
    "train.json": json.dumps([{"id": "1", "template": "Holding [something]"}]),
    "validation.json": json.dumps([{"id": "2", "template": "Putting [something] on, then off"}]),
    "test.json": json.dumps([{"id": "3"}, {"id": 4}, {"id": "5"}]),
}
ANSWERS = "3;Holding something\r\n4;Putting something on, then off\r\n"


@pytest.fixture
def videos(tmp_path: Path) -> str:
    return touch(tmp_path / "videos", [f"{i}.webm" for i in range(1, 6)])


def labels_of(videos: str, lists: str) -> dict[str, tuple[str, str]]:
    return {
        name: (video.label_name, video.splits["split1"])
        for name, video in by_id(READERS["ssv2"]([videos, lists])).items()
    }


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
@pytest.mark.parametrize(
    "answers",
    [
        ANSWERS,
        "id;label\n" + ANSWERS,
        '"3";"Holding [something]"\n"4";"Putting [something] on, then off"\n',
        "3\tHolding something\n\n4\tPutting something on, then off\n",
        "3,Holding something\n4,Putting something on, then off\n",
        "3;0\n4;1\n",
        "\ufeff" + ANSWERS,
    ],
)
def test_answers_are_the_classes_of_test_videos(tmp_path: Path, videos: str, prefix: str, answers: str) -> None:
    files = FILES | {"test-answers.csv": answers + "9;Holding something\n"}
    lists = write(tmp_path / "lists", {prefix + name: text for name, text in files.items()})
    listing = READERS["ssv2"]([videos, lists])
    assert labels_of(videos, lists) == {
        "1": ("Holding something", "train"),
        "2": ("Putting something on, then off", "val"),
        "3": ("Holding something", "test"),
        "4": ("Putting something on, then off", "test"),
        "5": ("", "test"),
    }
    assert findings(listing) == {
        "video without a label": ["5"],
        "answer for a video that test.json lacks": ["9"],
    }


def test_answers_alone_name_the_test_videos(tmp_path: Path, videos: str) -> None:
    files = {name: text for name, text in FILES.items() if name != "test.json"} | {"test-answers.csv": ANSWERS}
    lists = write(tmp_path / "lists", files)
    assert labels_of(videos, lists)["4"] == ("Putting something on, then off", "test")
    paths = [f"{lists}/{name}" for name in files]
    assert READERS["ssv2"]([videos, *paths]) == READERS["ssv2"]([videos, lists])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "test-answers.csv",
            "3;Holding something\n4;Holding nothing\n",
            r"line 2: expected 'ID;CLASS' .*Holding nothing",
        ),
        ("test-answers.csv", "3;7\n", r"test-answers.csv: line 1: expected 'ID;CLASS'"),
        ("test-answers.csv", ";Holding something\n", r"test-answers.csv: line 1: expected 'ID;CLASS'"),
        ("test-answers.csv", "3;0\n3;1\n", r"test-answers.csv: 1 video named more than once: 3"),
        (
            "test.json",
            json.dumps([{"id": "3", "template": "Putting [something] on, then off"}]),
            r"3 is 'Holding .*test.json",
        ),
        (
            "labels.json",
            json.dumps({"Holding something": "99999999999"}),
            r"has the number '99999999999'; expected 0, 1",
        ),
        ("labels.json", json.dumps({"Holding something": 1.5}), "expected an object like"),
        ("labels.json", json.dumps({"Holding something": True}), "expected an object like"),
        ("labels.json", json.dumps({"Holding something": "-1"}), r"has the number '-1'"),
        ("labels.json", '{"Holding something": ' + "9" * 5000 + "}", "labels.json: this is not JSON"),
        ("labels.json", json.dumps({"Holding something": "9" * 5000}), r"has the number '9999.*\(5000 characters\)"),
        ("train.json", "[" * 100_000, r"train.json: this is no list: its brackets are nested too deeply"),
        (
            "train.json",
            json.dumps([{"id": ["1"], "template": "x"}]),
            r'train.json: expected a list of objects with an "id"',
        ),
    ],
)
def test_lists_that_are_wrong_are_refused_in_one_line(
    tmp_path: Path, videos: str, name: str, text: str, message: str
) -> None:
    lists = write(tmp_path / "lists", FILES | {"test-answers.csv": ANSWERS} | {name: text})
    with pytest.raises(UserError, match=message) as caught:
        READERS["ssv2"]([videos, lists])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
