"""Numbers and long words as people read them: in tables, reports, pages and pictures.

A share is a number from 0 to 1.
"""

import math
from collections.abc import Iterable
from typing import Any

UNKNOWN = "–"


def percent(share: float) -> str:
    """Return a share in percent, without the sign: ``62.5``, and a dash for no number."""
    return UNKNOWN if math.isnan(share) else f"{100 * share:.1f}"


def metric_text(name: str, value: float) -> str:
    """Return a metric of an epoch, by its name in the history: a loss as it is, any other, a share, as ``62.5%``."""
    return value_text(value) if name.endswith("loss") else f"{percent(value)}%"


def points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign: ``+1.5``."""
    return f"{100 * share:+.1f}"


def whole_points(share: float) -> str:
    """Return a difference of shares in whole percentage points, with its sign: ``-12``."""
    return f"{100 * share:+.0f}"


def percents(shares: Iterable[float]) -> str:
    """Return the ends of an interval of shares in percent: ``60.1 to 64.8``."""
    return " to ".join(map(percent, shares))


def between_points(differences: Iterable[float]) -> str:
    """Return the ends of an interval of differences in percentage points: ``-0.5 to +2.0``."""
    return " to ".join(map(points, differences))


def p_text(p_value: float) -> str:
    """Return a p-value with two digits that count."""
    return f"{p_value:.2g}"


def value_text(value: Any, digits: int = 4) -> str:
    """Return a setting or a number, which is given with so many digits that count if it is no integer."""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def cut_end(text: str, longest: int) -> str:
    """Return a text in at most ``longest`` characters: its beginning, and that it goes on."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def cut_middle(text: str, longest: int) -> str:
    """Return a text of more than ``longest`` characters in about as many, of which the last ones often tell most."""
    return text if len(text) <= longest else f"{text[: longest // 2 - 2]} … {text[-longest // 2 :]}"
