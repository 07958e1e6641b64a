"""JSON that was edited, cut or damaged: refused in one line that names the file, the place in it, and the way out."""

import dataclasses
import json
import random
from dataclasses import dataclass, field
from typing import Annotated, Any, Required, TypedDict

import pytest

from kinebert.preprocessing.checked.documents import document_text, parse_document
from kinebert.preprocessing.checked.values import Between, Count, check_depth, typed
from kinebert.preprocessing.config import parse_toml
from kinebert.preprocessing.errors import ConfigError


class Row(TypedDict, total=False):
    epoch: Required[int]
    loss: float


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    size: Count


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: list[Part]
    totals: dict[str, Count]
    rows: list[Row]
    label: Annotated[int, Between(-1, 9)]
    share: float
    about: dict[str, Any] = field(default_factory=dict)
    note: str | None = None


GOOD = Whole(
    parts=[Part(name="a", size=3)],
    totals={"all": 3},
    rows=[{"epoch": 1, "loss": 0.5}],
    label=-1,
    share=0.25,
    about={"deep": [1, {"x": None}]},
)


def read(text: str | bytes, cls: Any = Whole, **options: Any) -> Any:
    return parse_document(cls, text, "/d/file.json", "a whole", "Make another.", **options)


def edited(**changes: Any) -> str:
    return json.dumps({**dataclasses.asdict(GOOD), **changes})


def test_what_is_written_is_read() -> None:
    for indent in (None, 2):
        assert read(document_text(GOOD, indent=indent)) == GOOD
    assert read(edited(share=1)).share == 1.0


def test_keys_of_later_versions_are_let_be_at_every_depth() -> None:
    text = edited(later=1, parts=[{"name": "a", "size": 3, "later": []}], rows=[{"epoch": 1, "loss": 0.5, "grad": 2.5}])
    found = read(text)
    assert found.parts == GOOD.parts
    assert found.rows == [{"epoch": 1, "loss": 0.5, "grad": 2.5}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty."),
        (b" \n", "it is empty."),
        (b"\xff\xfe{}", "it is no text in UTF-8."),
        ("[" * 100_000, "it is nested too deeply."),
        (edited(about=json.loads("[" * 60 + "]" * 60)), "it is nested too deeply."),
        (edited()[:-1], "Expecting "),
        ("[]", r"expected Whole, got \[\]"),
        ("null", "expected Whole, got None"),
        ('{"label": 1, "label": 2}', "the key 'label' occurs twice."),
        (edited(share=float("nan")), "NaN is no number."),
        (edited().replace("0.25", "1e999"), "the number 1e999 is too large."),
        (edited().replace("0.25", "1" + "0" * 400), "share: 1000.* is too large."),
        (edited(label=int("9" * 30)), "label: 9+ is too large."),
        (edited().replace("0.25", "1" * 5000), "Exceeds the limit"),
        (edited(label=10), "label: expected a number from -1 to 9, got 10."),
        (edited(label=True), "label: expected int, got True."),
        (edited(totals={"all": -1}), "totals: all: expected a number from 0 to .*, got -1."),
        (edited(totals=[]), r"totals: expected dict, got \[\]."),
        (edited(parts=[{"name": "a"}]), r"parts\[0\]: the key 'size' of Part is required"),
        (edited(parts=["a"]), r"parts\[0\]: expected Part, got 'a'."),
        (edited(parts={"name": "a"}), "parts: expected list, got {'name': 'a'}."),
        (edited(rows=[{"loss": 1.0}]), r"rows\[0\]: the key 'epoch' is required"),
        (edited(rows=[{"epoch": "one"}]), r"rows\[0\]: epoch: expected int, got 'one'."),
        (edited(rows=[7]), r"rows\[0\]: expected Row, got 7."),
        (edited(note=1), "note: expected str or nothing, got 1."),
    ],
)
def test_what_is_wrong_is_named_in_one_short_line(text: str | bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^/d/file\.json: not a whole\. Make another\. Reason: {reason}") as said:
        read(text)
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 400


def test_every_missing_key_is_named() -> None:
    required = {one.name for one in dataclasses.fields(Whole)} - {"about", "note"}
    for name in dataclasses.asdict(GOOD):
        plain = {key: value for key, value in dataclasses.asdict(GOOD).items() if key != name}
        if name in required:
            with pytest.raises(ConfigError, match=f"the key '{name}' of Whole is required"):
                read(json.dumps(plain))
        else:
            read(json.dumps(plain))


def test_nan_is_read_where_it_was_written() -> None:
    assert read('[{"epoch": 1, "loss": NaN}]', list[Row], nan=True)[0]["loss"] != 0


def test_flipped_bits_are_read_or_refused() -> None:
    data, rng = document_text(GOOD, indent=1).encode(), random.Random(3)
    lines = []
    for _ in range(400):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            read(bytes(damaged))
        except ConfigError as error:
            lines.append(str(error))
    assert 100 < len(lines) < 400
    assert not any("\n" in line for line in lines)


def test_depth_is_measured_without_recursion_and_ends_in_circles() -> None:
    circle: list[Any] = []
    circle += [circle, circle]
    for value in (circle, json.loads("[" * 50 + "]" * 50)):
        with pytest.raises(RecursionError):
            check_depth(value, 40)
    check_depth({"a": [[[1]]], "b": 3}, 4)
    check_depth("text", 0)


@pytest.mark.parametrize(
    "text", [b"x = " + b"[" * 5000, b"x = " + b"[" * 50 + b"]" * 50, b"\xff = 1", b"x = 1" + b"0" * 5000]
)
def test_toml_that_is_none_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.toml: cannot be read as TOML: .*") as said:
        parse_toml(text, "recipe.toml")
    assert "\n" not in str(said.value)


def test_a_value_without_a_place_is_named_by_its_type() -> None:
    with pytest.raises(ConfigError, match=r"^expected Part, got 3\.$"):
        typed(Part, 3, "")
