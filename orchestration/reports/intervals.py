"""Intervals of a table of scores, computed once for all tables and pictures of a report."""

from weakref import WeakKeyDictionary

from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.significance import Interval, intervals

_known: WeakKeyDictionary[VideoScores, dict[str, Interval]] = WeakKeyDictionary()


def known_intervals(scores: VideoScores) -> dict[str, Interval]:
    """Return the 95 % interval of every metric of a table, by the metric's name."""
    if scores not in _known:
        _known[scores] = intervals(scores)
    return _known[scores]
