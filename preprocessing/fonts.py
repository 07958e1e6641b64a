"""Fonts of this machine by what they can write, so that names in any script can be read on pictures.

matplotlib, which finds the fonts, is imported when something is to be written. Its own font (DejaVu Sans) has Latin,
Greek, Cyrillic, Arabic and some more; for what it lacks the installed ones are looked through.
"""

import logging
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.plain_text import visible

_FIRST = ("Noto Sans", "Source Han Sans", "WenQuanYi", "Droid Sans", "IPA", "Nanum", "Lohit", "Symbola", "Free")
"""Beginnings of the names of families that are complete and look alike; others come after them."""
_NOT_FOR_WORDS = ("Last Resort", "cm", "STIXNonUnicode")
"""Draw the same box for every sign, or signs of formulas under the codes of others."""


def families(text: str) -> list[str]:
    """Return the families to give matplotlib for a text: its own, and then those that have what it lacks."""
    import matplotlib as mpl

    usual = list(mpl.rcParams["font.family"])
    return [*usual, *_covering(frozenset(text) - _usual())[0]]


def lacking(text: str) -> set[str]:
    """Return the signs of a text that no installed font can write."""
    return set(_covering(frozenset(text) - _usual())[1])


def writable(text: str) -> str:
    r"""Return a text of one line that the installed fonts can write; other signs are spelt out, as ``\u7b11``."""
    plain = visible(text)
    missing = lacking(plain)
    return "".join(one.encode("unicode_escape").decode() if one in missing else one for one in plain)


def line_image(text: str, width: int, height: int, size: float) -> NDArray[np.uint8]:
    """Write one line, black on white, from the left edge of a picture ``(height, width, 3)``.

    Args:
        text: What is to be written.
        width: Of the picture, pixels; what is longer is cut.
        height: Of the picture, pixels.
        size: Of the letters, pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dpi = 100
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    figure.text(0, 0.5, writable(text), va="center", size=72 * size / dpi, family=families(text), parse_math=False)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba(), np.uint8)[:height, :width, :3])


@cache
def _usual() -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont

    return _signs(findfont(FontProperties())) | {"\n"}


@cache
def _covering(signs: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that have some of these signs, as few as need be, and the signs that none has."""
    chosen: list[str] = []
    left = set(signs)
    for family, path in _installed() if left else ():
        has = left & _signs(path)
        if has and _draws(path, has):
            chosen.append(family)
            left -= has
        if not left:
            break
    return tuple(chosen), frozenset(left)


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Every family with its usual face, the most complete families first."""
    from matplotlib.font_manager import fontManager

    def rank(name: str) -> tuple[int, str]:
        return next((i for i, first in enumerate(_FIRST) if name.startswith(first)), len(_FIRST)), name

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # families without a face of usual weight
    plainest = sorted(
        fontManager.ttflist, key=lambda entry: (entry.style != "normal", entry.weight != 400, entry.fname)
    )
    faces: dict[str, str] = {}
    for entry in plainest:
        if not entry.name.startswith(_NOT_FOR_WORDS):
            faces.setdefault(entry.name, entry.fname)
    return tuple((name, faces[name]) for name in sorted(faces, key=rank))


@cache
def _signs(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):  # damaged, or of a kind that matplotlib does not read
        return frozenset()


def _draws(path: str, signs: Iterable[str]) -> bool:
    """Whether matplotlib can draw a font that has these signs; fonts of coloured pictures it cannot."""
    from matplotlib.ft2font import FT2Font

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            font = FT2Font(path)
            font.set_size(10, 72)
            for sign in signs:
                font.load_char(ord(sign))
    except (OSError, RuntimeError, ValueError, Warning):
        return False
    return True
