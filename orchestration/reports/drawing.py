"""How every picture of ours is drawn: on a figure of its own, without pyplot, in one style.

So no display is needed, no global state is touched and no window stays open. The same values give the same bytes.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kinebert.orchestration.reports.formatting import cut_end

COLOURS = {"rgb": "#0072B2", "flow": "#D55E00", "fused": "#333333"}
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # with COLOURS: Okabe and Ito's, told apart by the colour-blind
INK, FAINT = "#222222", "#d9d9d9"
MANY = 25
"""From this many classes on a figure shows rows of dots and bare cells, not bars and numbers."""
LONGEST = 28
"""Characters of a class name that are shown."""


def to_png(figure: Figure) -> bytes:
    """Draw a figure; return it as a PNG file."""
    buffer = io.BytesIO()
    with style():
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


def class_name(name: str) -> str:
    """Return a name as pictures show it: in at most :data:`LONGEST` characters."""
    return cut_end(name, LONGEST)
