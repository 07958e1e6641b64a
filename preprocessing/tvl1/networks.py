"""Median filters as networks of minima and maxima: no branches, so that a whole vector of pixels goes through at once.

A window is sorted column by column first (neighbouring windows share their columns), then row by row as far as the
median needs it, and the few candidates that are left are compared across rows.
"""

from typing import NamedTuple

_SORT = {3: ((0, 1), (1, 2), (0, 1)), 5: ((0, 1), (3, 4), (2, 4), (2, 3), (0, 3), (0, 2), (1, 4), (1, 3), (1, 2))}
# (row, column) of the wire that receives the smaller value, then of the other; the median ends on the last wire
_ACROSS_ROWS = {
    3: (((0, 2), (1, 1)), ((1, 1), (2, 0)), ((0, 2), (1, 1))),
    5: (
        ((4, 1), (1, 3)), ((4, 1), (2, 1)), ((2, 3), (4, 0)), ((3, 2), (2, 1)), ((2, 2), (2, 3)),
        ((0, 4), (3, 1)), ((0, 4), (2, 2)), ((3, 2), (3, 0)), ((2, 2), (0, 3)), ((1, 2), (0, 3)),
        ((3, 1), (2, 3)), ((1, 4), (3, 1)), ((0, 3), (1, 4)), ((3, 0), (0, 3)), ((0, 3), (1, 4)),
    ),
}  # fmt: skip
_MEDIAN = {3: (1, 1), 5: (0, 3)}


class Comparator(NamedTuple):
    """Put the smaller of two values on wire ``low`` and the larger on wire ``high``; an unused result is not kept."""

    low: int
    high: int
    keep_low: bool = True
    keep_high: bool = True


class MedianNetwork(NamedTuple):
    """The median of a ``side x side`` window in two steps."""

    column: tuple[Comparator, ...]
    """Sorts the ``side`` values of one column."""
    window: tuple[Comparator, ...]
    """Finds the median of sorted columns; the wire of row r (0 the smallest) and column c is ``r * side + c``."""
    median: int
    """The wire on which the median ends."""


def median_network(side: int) -> MedianNetwork:
    """Return the network for windows of ``side`` (3 or 5) pixels."""
    wires = [(r * side + low, r * side + high) for r in range(side) for low, high in _SORT[side]]
    wires += [(a[0] * side + a[1], b[0] * side + b[1]) for a, b in _ACROSS_ROWS[side]]
    row, column = _MEDIAN[side]
    median = row * side + column
    return MedianNetwork(tuple(Comparator(*pair) for pair in _SORT[side]), _pruned(wires, median), median)


def _pruned(wires: list[tuple[int, int]], output: int) -> tuple[Comparator, ...]:
    """Drop every result that ``output`` does not depend on."""
    needed, kept = {output}, []
    for low, high in reversed(wires):
        if low in needed or high in needed:
            kept.append(Comparator(low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))
