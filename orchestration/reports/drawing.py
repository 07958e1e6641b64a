"""How every picture of ours is drawn: on a figure of its own, without pyplot, in one style.

So no display is needed, no global state is touched and no window stays open. The same values give the same bytes.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from kinebert.orchestration.printing import warn
from kinebert.orchestration.reports.formatting import cut_end
from kinebert.preprocessing import fonts
from kinebert.preprocessing.plain_text import visible

COLOURS = {"rgb": "#0072B2", "flow": "#D55E00", "fused": "#333333"}
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # with COLOURS: Okabe and Ito's, told apart by the colour-blind
INK, FAINT = "#222222", "#d9d9d9"
MANY = 25
"""From this many classes on a figure shows rows of dots and bare cells, not bars and numbers."""
LONGEST = 28
"""Characters of a class name that are shown."""


def to_png(figure: Figure) -> bytes:
    """Draw a figure; return it as a PNG file. Its texts get fonts that can write them, see :func:`fit_fonts`."""
    buffer = io.BytesIO()
    with style():
        fit_fonts(figure)
        # without the version of matplotlib in the metadata the same values give the same bytes
        figure.savefig(
            buffer, format="png", dpi=figure.dpi, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None}
        )
    return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Make what is drawn in this block look like ours: class names as written ($ starts no formula), few lines."""
    settings: dict[str, Any] = {
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#888888",
        "text.color": INK,
        "axes.labelcolor": INK,
        "font.size": 9,
    }
    with mpl.rc_context(settings):  # type: ignore[arg-type,unused-ignore]  # its keys are literals in newer versions
        yield


def new_figure(width: float, height: float, dpi: int = 110) -> Figure:
    """Return an empty figure of so many inches."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def fit_fonts(figure: Figure) -> None:
    """Give the texts of a figure fonts that can write them; what none can is spelt out, and said once."""
    for text in figure.findobj(Text):
        words = text.get_text()
        if words.isascii():
            continue
        if lines := fonts.lacking(words):
            _say_once(min(lines))
            words = "\n".join(map(fonts.writable, words.split("\n")))
            text.set_text(words)
        text.set_fontfamily(fonts.families(words))


def class_name(name: str, longest: int = LONGEST) -> str:
    """Return a name as pictures show it: in at most ``longest`` characters, all of which can be seen."""
    shown = cut_end(visible(name), longest)
    return f" {shown}" if shown.startswith("_") else shown  # or matplotlib would leave it out of legends


def class_names(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Return the names of classes as pictures show them, by label; one that no font can write is ``class 7``."""
    shown = []
    for label, name in enumerate(names):
        missing = fonts.lacking(visible(name))
        if missing:
            _say_once(min(missing))
        shown.append(f"class {label}" if missing else class_name(name, longest))
    return shown


_told: list[str] = []
"""The sign that a line was said about."""


def _say_once(sign: str) -> None:
    if not _told:
        _told.append(sign)
        warn(
            f"note: no font of this machine can write {visible(sign)} (U+{ord(sign):04X}): pictures show the numbers "
            "of such classes, or spell them out. Install one that can, such as those of Noto."
        )
