"""Seeded train/val/test splits that never divide a group and keep the shares of every class."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinebert.preprocessing.errors import ConfigError

_SWEEPS = 20
"""Most passes of improvement; two or three are enough in practice."""


@dataclass(frozen=True)
class Unit:
    """A group of videos that stay together."""

    name: str
    counts: Mapping[str, int]


def make_split(
    labels: Mapping[str, str], groups: Mapping[str, str], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Give every video one of the parts of ``shares``.

    A group goes to one part as a whole. Within that, every part gets its share of the videos of every class as nearly
    as the groups allow: groups are placed from the largest to the smallest where they fit best, and then moved for as
    long as a move improves the fit. Groups of one size come in an order that depends on the seed and their names, so
    the result does not depend on the order of the videos. No part stays empty, however small its share.

    Args:
        labels: Class of each video.
        groups: Group of each video; one that is not there is its own group.
        shares: Share of each part, 0 to 1; they sum to 1.
        seed: Another seed gives another split.

    Raises:
        ConfigError: If a share is out of range, or there are fewer groups than parts.
    """
    if any(not 0 <= share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ConfigError(f"the shares of a split lie between 0 and 1 and sum to 1, got {_spell(shares)}.")
    units = _units(labels, groups, seed)
    wanted = {part: share for part, share in shares.items() if share > 0}
    if len(units) < len(wanted):
        raise ConfigError(
            f"{len(labels)} videos in {len(units)} group{'s'[: len(units) != 1]} cannot be split into "
            f"{_spell(shares)}: every part needs a group. Add videos, or ask for fewer parts."
        )
    placed = _place(units, Counter(labels.values()), wanted)
    return {video_id: placed[groups.get(video_id, video_id)] for video_id in labels}


def _spell(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {share:g}" for part, share in shares.items())


def _units(labels: Mapping[str, str], groups: Mapping[str, str], seed: int) -> list[Unit]:
    """Groups from the largest to the smallest; those of one size in an order drawn from the seed."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for video_id, label in labels.items():
        counts[groups.get(video_id, video_id)][label] += 1

    def order(name: str) -> tuple[int, str]:
        return -counts[name].total(), hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()

    return [Unit(name, dict(sorted(counts[name].items()))) for name in sorted(counts, key=order)]


def _place(units: Sequence[Unit], totals: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, str]:
    fit = _Fit(totals, shares)
    placed = {}
    for unit in units:
        placed[unit.name] = fit.best(unit)
        fit.add(unit, placed[unit.name], 1)
    for _ in range(_SWEEPS):
        moved = 0
        for unit in units:
            here = placed[unit.name]
            fit.add(unit, here, -1)
            best = fit.best(unit)
            if fit.cost(unit, best) < fit.cost(unit, here) - 1e-9:
                placed[unit.name], moved = best, moved + 1
            fit.add(unit, placed[unit.name], 1)
        if not moved:
            break
    for part in shares:
        if part not in placed.values():
            sizes = Counter(placed.values())
            spare = [unit for unit in units if sizes[placed[unit.name]] > 1]
            costs = [fit.cost_of_move(unit, placed[unit.name], part) for unit in spare]
            unit = spare[costs.index(min(costs))]
            fit.add(unit, placed[unit.name], -1)
            fit.add(unit, part, 1)
            placed[unit.name] = part
    return placed


class _Fit:
    """How far the parts are from their shares: squared distances of each class, and of all videos together."""

    def __init__(self, totals: Mapping[str, int], shares: Mapping[str, float]) -> None:
        self.totals, self.shares = totals, shares
        self.num_videos = sum(totals.values())
        self.placed: dict[str, Counter[str]] = {part: Counter() for part in shares}
        self.sizes = dict.fromkeys(shares, 0)

    def cost(self, unit: Unit, part: str) -> float:
        """Return what the sum of squared distances would grow by with ``unit`` in ``part``."""
        share, placed = self.shares[part], self.placed[part]
        cost = 0.0
        size = 0
        for label, count in unit.counts.items():
            total = self.totals[label]
            cost += count * (2 * (placed[label] - share * total) + count) / total
            size += count
        return cost + size * (2 * (self.sizes[part] - share * self.num_videos) + size) / self.num_videos

    def best(self, unit: Unit) -> str:
        """Return the part in which ``unit`` lets the sum of squared distances grow least."""
        return min(self.shares, key=lambda part: self.cost(unit, part))

    def cost_of_move(self, unit: Unit, here: str, part: str) -> float:
        """Return what the sum of squared distances would grow by if ``unit`` moved from ``here`` to ``part``."""
        self.add(unit, here, -1)
        cost = self.cost(unit, part) - self.cost(unit, here)
        self.add(unit, here, 1)
        return cost

    def add(self, unit: Unit, part: str, sign: int) -> None:
        """Put ``unit`` into ``part``, or take it out with a ``sign`` of -1."""
        for label, count in unit.counts.items():
            self.placed[part][label] += sign * count
            self.sizes[part] += sign * count
