"""Words of users where they leave the program: seen, and taken for nothing else."""

import csv
import io
import json
import random
import tomllib
import unicodedata

import pytest

from kinebert.preprocessing.plain_text import csv_text, json_text, markdown, toml_string, visible, without_passwords
from tests.helpers.paths import ROOT

HOSTILE = [
    "\x1b[31mred\x1b]0;title\x07",
    "\x9b2Jgone",
    "gnp\u202e.exe\u2066\u2069",
    "zero\u200bwidth\ufeff\u00ad",
    "two\nlines\r\u2028\u0085\ttab",
    "half\udc80",
    "blank\u3164",
    "tag\U000e0041",
    "\x7f",
]
KEPT = ["笑う", "مرحبا", "नृत्य", "😀", "naïve", "ideographic\u3000space", "[red]stop[/red]", ":smile:", "a b", "$x_1$"]
_RANDOM = random.Random(11)
_SIGNS = "=+-@;|`[]*_~<>$\\#&\"' \t\r\n0123456789.e" + "".join(HOSTILE)
ANY = [
    "".join(
        _RANDOM.choice(_SIGNS)
        if _RANDOM.random() < 0.5
        else chr(_RANDOM.randrange(_RANDOM.choice((0x250, 0x3200, 0x110000))))
        for _ in range(_RANDOM.randrange(25))
    )
    for _ in range(2000)
]


def hides(text: str) -> list[str]:
    return [one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_cannot_be_seen_is_spelt_out(text: str) -> None:
    assert not hides(visible(text))
    assert visible(text).encode().decode("unicode_escape", "surrogatepass") == text


@pytest.mark.parametrize("text", KEPT)
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible(text) == text


def test_no_text_hides_anything_or_is_more_than_a_line() -> None:
    for text in ANY:
        for made in (visible(text), markdown(text), toml_string(text), json_text(text)):
            assert not hides(made)
            made.encode()


def test_what_was_made_visible_stays_as_it_is() -> None:
    for text in ANY:
        assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a|b", r"a\|b"),
        ("[x](javascript:1) ![y](z)", r"\[x\](javascript:1) !\[y\](z)"),
        ("`code` *bold* ~no~ __init__", r"\`code\` \*bold\* \~no\~ \_\_init\_\_"),
        ("https://evil.example www.evil.example", "https&#58;//evil.example www&#46;evil.example"),
        ("$\\frac{1}$ &amp; # x", r"$\\frac\{1\}$ &amp;amp; \# x"),
        ("two\n\n# lines", r"two \# lines"),
        ("back\\|slash", r"back\\\|slash"),
        ("12:30, 50 %", "12:30, 50 %"),
    ],
)
def test_markdown_shows_what_was_written(text: str, expected: str) -> None:
    assert markdown(text) == expected


def test_markdown_has_no_sign_of_html_or_of_a_cell_that_is_not_escaped() -> None:
    for text in ANY:
        made = markdown(text)
        assert not set(made) & set("<>")
        bare = made.replace("\\\\", "")
        assert all(bare[i - 1 : i] == "\\" for i, sign in enumerate(bare) if sign in "|`[]*_~")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("  =1+1", "'  =1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\t=1+1", "\\t=1+1"),
        ("\r=1+1", "\\r=1+1"),
        ("wave;=1+1", "wave;'=1+1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+3", "+3"),
        ("-inf", "-inf"),
        ("-", "-"),
        ("jump-rope", "jump-rope"),
        (-1.5, "-1.5"),
        (3, "3"),
        ("two\nlines\x1b", "two\nlines\\x1b"),
        ("\n=1+1", "'\n=1+1"),
    ],
)
def test_a_spreadsheet_computes_nothing(cell: object, expected: str) -> None:
    assert next(csv.reader(io.StringIO(csv_text([[cell]])))) == [expected]


def test_cells_of_csv_begin_no_formula_and_every_row_stays_one() -> None:
    text = csv_text([[one] for one in ANY])
    cells = [row[0] for row in csv.reader(io.StringIO(text, newline=""))]
    assert len(cells) == len(ANY)
    for cell in cells:
        starts = cell.lstrip()[:1] in tuple("=+-@") and len(cell.strip()) > 1
        assert not starts or cell.replace("%", "").strip()[1:2] in tuple("0123456789.iInN")
        if starts:
            float(cell.rstrip("%"))


def test_json_is_read_as_it_was() -> None:
    for text in ANY:
        value = {"names": [text, "x"], text: 1.5}
        assert json.loads(json_text(value, indent=1)) == value
        assert not hides(json_text(value))


def test_toml_is_read_as_it_was() -> None:
    for text in ANY:
        if not any("\ud800" <= one <= "\udfff" for one in text):
            assert tomllib.loads(f"x = {toml_string(text)}") == {"x": text}


def test_half_a_sign_in_toml_is_spelt_out() -> None:
    assert tomllib.loads(f"x = {toml_string('a' + chr(0xDC80))}") == {"x": r"a\udc80"}


@pytest.mark.parametrize("call", ["csv.writer(", "csv.DictWriter(", "ensure_ascii=False", "Console("])
def test_each_way_out_has_one_function(call: str) -> None:
    homes = {"preprocessing/plain_text.py", "preprocessing/config.py", "orchestration/printing.py"}
    homes |= {"preprocessing/sets/writer.py"}  # in the footer of a Parquet file, which nothing shows
    folders = ("preprocessing", "training", "orchestration", "pipelines")
    found = {path for folder in folders for path in (ROOT / folder).rglob("*.py") if call in path.read_text()}
    assert {path.relative_to(ROOT).as_posix() for path in found} <= homes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://me:secret@host:5000/x", "http://***@host:5000/x"),
        (
            "postgresql://u:p%40ss@db/mlflow and s3://KEY:SECRET@bucket/a",
            "postgresql://***@db/mlflow and s3://***@bucket/a",
        ),
        ("abfss://box@account/x?sas_token=abc&region=eu", "abfss://box@account/x?sas_token=***&region=eu"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("me:secret@host", "me:secret@host"),
    ],
)
def test_passwords_are_shown_to_nobody(text: str, expected: str) -> None:
    assert without_passwords(text) == visible(text) == expected
    assert "secret@" not in markdown(text) or "://" not in text
