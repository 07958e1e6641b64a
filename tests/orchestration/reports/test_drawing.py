"""How every picture of ours is drawn."""

import subprocess
import sys
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from kinebert.orchestration.reports import drawing
from kinebert.orchestration.reports.drawing import LONGEST, class_name, class_names, new_figure, style, to_png
from kinebert.orchestration.reports.figures import draw_confusion, draw_per_class
from kinebert.preprocessing import fonts

MATH = r"$\undefined{ a_$"


def drawn(text: str) -> bytes:
    with style():
        figure = new_figure(3, 2)
        figure.subplots().set_title(text)
    return to_png(figure)


def test_the_same_values_give_the_same_bytes() -> None:
    first = drawn("wave")
    assert first.startswith(b"\x89PNG")
    assert drawn("wave") == first
    assert drawn("clap") != first
    assert b"Software" not in first  # the version of matplotlib would change them


def test_a_dollar_in_a_name_starts_no_formula() -> None:
    assert drawn(MATH) != drawn("")  # as a formula it would be an error


def test_settings_are_those_of_before_after_the_block() -> None:
    before = dict(mpl.rcParams)
    with style():
        assert mpl.rcParams["axes.spines.top"] is False
    assert dict(mpl.rcParams) == before
    with pytest.raises(ZeroDivisionError), style():
        raise ZeroDivisionError
    assert dict(mpl.rcParams) == before


def test_names_are_cut_where_a_picture_has_no_room() -> None:
    assert class_name("x" * LONGEST) == "x" * LONGEST
    assert class_name("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"


def test_no_window_and_no_display_is_asked_for() -> None:
    program = (
        "import sys; from kinebert.orchestration.reports.drawing import new_figure, to_png; "
        "to_png(new_figure(1, 1)); print('matplotlib.pyplot' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


HIEROGLYPHS = "\U00013080\U00013081"


@pytest.fixture
def without_hieroglyphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    own = [entry for entry in fontManager.ttflist if "mpl-data" in str(entry.fname)]
    monkeypatch.setattr(fontManager, "ttflist", own)
    monkeypatch.setattr(drawing, "_told", [])
    for function in (fonts._installed, fonts._covering):
        function.cache_clear()
    yield
    for function in (fonts._installed, fonts._covering):
        function.cache_clear()


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("without_hieroglyphs")
def test_classes_that_no_font_can_write_are_numbers_and_that_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    classes = ["wave", HIEROGLYPHS, "مرحبا", "😀", "$x$", "_private", "gnp\u202eexe"]
    shown = class_names(classes)
    assert shown == ["wave", "class 1", "مرحبا", "😀", "$x$", " _private", "gnp\\u202eexe"]
    confusion = np.eye(len(classes), dtype=int)
    figure = draw_confusion(confusion, classes, f"{HIEROGLYPHS}: confusion")
    to_png(figure)
    to_png(draw_per_class({HIEROGLYPHS: np.ones(len(classes))}, classes))
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert "class 1" in texts
    assert r"\U00013080\U00013081: confusion" in texts
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "U+13080" in told[0]


def test_a_name_that_begins_like_a_hidden_one_is_in_the_legend() -> None:
    figure = draw_per_class({"_rgb": np.ones(2)}, ["a", "b"])
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_rgb (mean 100.0%)"]
