"""How every picture of ours is drawn."""

import subprocess
import sys

import matplotlib as mpl
import pytest

from kinebert.orchestration.reports.drawing import LONGEST, class_name, new_figure, style, to_png

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
