"""Names in any script on pictures: with a font that has them, or spelt out."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from kinebert.preprocessing import fonts

LAUGH = "\u7b11\u3046"
NOWHERE = "\U00013080\U00013081"  # hieroglyphs, which the fonts of few machines have


def forget() -> None:
    for function in (fonts._installed, fonts._covering):
        function.cache_clear()


@pytest.fixture
def no_other_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the fonts that matplotlib brings along."""
    own = [entry for entry in fontManager.ttflist if "mpl-data" in str(entry.fname)]
    monkeypatch.setattr(fontManager, "ttflist", own)
    forget()
    yield
    forget()


@pytest.fixture
def laughing(tmp_path: Path, no_other_font: None) -> str:
    """Install a font that has two signs, which are squares."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", "laugh", "u"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(LAUGH[0]): "laugh", ord(LAUGH[1]): "u"})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Laughing", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "laughing.ttf")
    fontManager.addfont(tmp_path / "laughing.ttf")
    forget()
    return "Laughing"


def test_a_font_that_has_the_signs_is_found(laughing: str) -> None:
    assert fonts.families("wave")[1:] == []
    assert fonts.families(f"wave {LAUGH}")[1:] == [laughing]
    assert fonts.lacking(LAUGH) == set()
    assert fonts.writable(f"a{LAUGH}") == f"a{LAUGH}"


@pytest.mark.usefixtures("no_other_font")
def test_what_no_font_has_is_spelt_out() -> None:
    assert fonts.lacking(f"a{LAUGH}") == set(LAUGH)
    assert fonts.writable(f"a{LAUGH}\u202e\n") == r"a\u7b11\u3046\u202e\n"
    assert fonts.writable("naïve Жук مرحبا") == "naïve Жук مرحبا"


@pytest.mark.filterwarnings("error")
def test_lines_are_written_into_pictures(laughing: str) -> None:
    del laughing
    blank, laugh = fonts.line_image("", 80, 20, 13), fonts.line_image(LAUGH, 80, 20, 13)
    assert blank.shape == laugh.shape == (20, 80, 3)
    assert (blank == 255).all()
    assert (laugh < 128).sum() > 300, "two squares of about ten pixels"
    long = fonts.line_image("$" + LAUGH * 50, 80, 20, 13)
    assert long.shape == (20, 80, 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("no_other_font")
def test_what_no_font_has_is_written_all_the_same() -> None:
    assert np.array_equal(fonts.line_image(NOWHERE[0], 160, 20, 13), fonts.line_image(r"\U00013080", 160, 20, 13))


def test_matplotlib_is_imported_when_something_is_written() -> None:
    program = "import sys, kinebert.preprocessing.sets.contact_sheet; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
