"""A comparison as one HTML page that needs nothing else: styles and pictures are in it, and no script.

The page is written in ``templates/``; everything that it is given is escaped, and what would hide in it is spelt out.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kinebert.orchestration.comparing.figures import colours
from kinebert.orchestration.comparing.tables import verdict_of
from kinebert.orchestration.comparing.verdict import ClassChange, Verdict, class_changes, pair_changes
from kinebert.orchestration.reports import formatting
from kinebert.preprocessing.plain_text import visible
from kinebert.training.evaluation.metrics import telling_tops
from kinebert.training.evaluation.significance import ALPHA, Interval

MOST_PAIRS = 12
MOST_IN_MATRIX = 12
"""Runs up to which the p-values of all pairs are shown."""
_LONGEST_VALUE = 84


def render(title: str, verdict: Verdict, pictures: Mapping[str, bytes]) -> str:
    """Return a comparison as an HTML page.

    Args:
        title: What is compared.
        verdict: The comparison.
        pictures: PNG files by the names that :func:`.figures.draw_all` gives them.
    """
    leaders = _leaders(verdict)
    further = telling_tops(max((len(one.scores.classes) for one in verdict.standings), default=0))[1:]
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            verdict=verdict,
            pictures={name: base64.b64encode(picture).decode() for name, picture in pictures.items()},
            leaders=leaders,
            equals=_within_chance(verdict, leaders),
            further=further,
            further_heads=[f"top-{k}" for k in further],
            colours=colours([run.name for run in verdict.runs]),
            p_value_of=partial(_p_value, verdict),
            only_right=partial(_only_right, verdict),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent=formatting.percent,
        percents=formatting.percents,
        points=formatting.points,
        between_points=formatting.between_points,
        p_text=formatting.p_text,
        cut_middle=formatting.cut_middle,
        listed=_listed,
        most_changed=_most_changed,
    )
    environment.globals.update(
        alpha=ALPHA,
        unknown=formatting.UNKNOWN,
        most_pairs=MOST_PAIRS,
        most_in_matrix=MOST_IN_MATRIX,
        longest_value=_LONGEST_VALUE,
        class_changes=class_changes,
        pair_changes=pair_changes,
        verdict_of=verdict_of,
        ends=_ends,
    )
    return environment


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _leaders(verdict: Verdict) -> list[str]:
    """Names of the runs that share the highest top-1."""
    tops = {standing.run.name: standing.metrics.top[1] for standing in verdict.standings}
    return [name for name, top in tops.items() if top == max(tops.values())]


def _within_chance(verdict: Verdict, leaders: Sequence[str]) -> list[str]:
    """Names of the runs behind the leaders that chance may have put there."""
    if not verdict.ranked:
        return []
    behind = [standing.run.name for standing in verdict.standings[len(leaders) :]]
    return [name for name in behind if _p_value(verdict, leaders[0], name) >= ALPHA]


def _p_value(verdict: Verdict, one: str, other: str) -> float:
    return verdict.p_values[(one, other) if (one, other) in verdict.pairs else (other, one)]


def _only_right(verdict: Verdict, one: str, other: str) -> tuple[int, int]:
    """How many videos only the first of two runs has right, and only the second."""
    if (one, other) in verdict.pairs:
        found = verdict.pairs[one, other]
        return found.only_first, found.only_second
    found = verdict.pairs[other, one]
    return found.only_second, found.only_first


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _most_changed(classes: Iterable[ClassChange]) -> list[ClassChange]:
    return sorted(classes, key=lambda row: (-abs(row.change), row.name))


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{len(names)} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
