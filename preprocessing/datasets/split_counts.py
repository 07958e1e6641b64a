"""What each part of a split holds, and what speaks against learning from it or measuring by it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kinebert.preprocessing.datasets.manifest import PARTS, ManifestRow, name_some

FEW_VIDEOS = 93
"""Below it, the 95 % interval of an accuracy (Wilson's, half of the videos right) reaches more than 10 points to either
side: epochs of a training seldom differ by more."""
LOPSIDED = 2.0
"""Factor between a class's share of a part and its share of the whole split from which on it is named."""
EXPECTED = 5
"""Videos of a class that a part should have, by the whole split, for that factor to say anything."""
_NAMED = 3

Kind = Literal["missing class", "divided group", "few videos", "lopsided", "majority", "sizes"]


@dataclass(frozen=True, kw_only=True)
class PartCounts:
    """The videos of one part of a split that can be used and whose class is known."""

    split: str
    part: str
    classes: Mapping[str, int]
    """How many are of each class, 0 for those that the part lacks; in the order of the labels."""
    num_groups: int | None = None
    """Recordings that they were cut from; None where that is not known."""

    @property
    def where(self) -> str:
        """Split and part as messages have them: ``split1/val``."""
        return f"{self.split}/{self.part}"

    @property
    def num_videos(self) -> int:
        """How many videos there are."""
        return sum(self.classes.values())

    @property
    def majority(self) -> tuple[str, float]:
        """The class with the most videos (of equal ones the first), and its share of them, 0 to 1."""
        name = max(self.classes, key=lambda name: self.classes[name])
        return name, self.classes[name] / self.num_videos


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something that makes a result on a split worth less than it seems."""

    kind: Kind
    split: str
    part: str = ""
    """Empty where it is not one part that is concerned."""
    text: str
    """A sentence for people."""


def count_parts(rows: Iterable[ManifestRow]) -> list[PartCounts]:
    """Count the videos of every part that has some, by split, in the order train, val, test."""
    usable = [row for row in rows if row.problem is None and row.label >= 0]
    names = [name for _, name in sorted({(row.label, row.label_name) for row in usable})]
    found: dict[tuple[str, str], list[ManifestRow]] = defaultdict(list)
    for row in usable:
        for split, part in row.splits.items():
            found[split, part].append(row)
    counts = []
    for split, part in sorted(found, key=lambda key: (key[0], PARTS.index(key[1]))):
        inside = found[split, part]
        of_class = Counter(row.label_name for row in inside)
        groups = len({row.group for row in inside})
        classes = {name: of_class[name] for name in names}
        counts.append(PartCounts(split=split, part=part, classes=classes, num_groups=groups))
    return counts


def divided_groups(rows: Iterable[ManifestRow]) -> list[Caution]:
    """Say of each split which groups it divides: what is learnt from a recording is known again in its other clips."""
    parts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        if row.problem is None and row.label >= 0:
            for split, part in row.splits.items():
                parts[split][row.group].add(part)
    found = []
    for split, groups in sorted(parts.items()):
        divided = {name: some for name, some in sorted(groups.items()) if len(some) > 1}
        if divided:
            told = [f"{name} ({', '.join(sorted(some, key=PARTS.index))})" for name, some in divided.items()]
            text = (
                f"{split}: {len(divided)} of {len(groups)} groups are in several parts: {name_some(told, _NAMED)}. "
                "What was learnt from is known again there, and the accuracy too good; --split-name NAME makes a split "
                "that divides none"
            )
            found.append(Caution(kind="divided group", split=split, text=text))
    return found


def cautions(parts: Sequence[PartCounts], choosing: str = "val") -> list[Caution]:
    """Say what speaks against splits: parts without some class, too few videos, classes out of proportion.

    Args:
        parts: Of one split or of several, each with all that are to be looked at.
        choosing: Part that chooses the epoch whose weights are kept.
    """
    by_split: dict[str, list[PartCounts]] = defaultdict(list)
    for counts in parts:
        by_split[counts.split].append(counts)
    found = []
    for split, some in by_split.items():
        in_all = {name: sum(counts.classes[name] for counts in some) for name in some[0].classes}
        for counts in some:
            told: dict[Kind, str | None] = {
                "missing class": _missing(counts),
                "few videos": _few(counts) if counts.part == choosing else None,
                "lopsided": _lopsided(counts, in_all),
                "majority": _majority(counts),
            }
            found += [
                Caution(kind=kind, split=split, part=counts.part, text=f"{counts.where}: {text}")
                for kind, text in told.items()
                if text
            ]
        sizes = {counts.part: counts.num_videos for counts in some}
        larger = [part for part, num in sizes.items() if num > sizes.get("train", num)]
        if larger:
            text = (
                f"{split}: train has {sizes['train']} videos, {larger[0]} {sizes[larger[0]]}: most are not learnt from"
            )
            found.append(Caution(kind="sizes", split=split, part="train", text=text))
    return found


def half_width(num_videos: int) -> float:
    """How far the 95 % interval of an accuracy reaches to either side if half of the videos are right, 0 to 1."""
    from scipy.stats import binomtest  # slow to import, and seldom needed

    between = binomtest(num_videos // 2, num_videos).proportion_ci(method="wilson")
    return float(between.high - between.low) / 2


def _missing(counts: PartCounts) -> str | None:
    lacking = [name for name, num in counts.classes.items() if not num]
    return f"no video of {len(lacking)} of {len(counts.classes)} classes: {name_some(lacking)}" if lacking else None


def _few(counts: PartCounts) -> str | None:
    num, groups = counts.num_videos, counts.num_groups
    if num >= FEW_VIDEOS:
        return None
    of_groups = "" if groups in (None, num) else f" of {groups} group{'s'[: groups != 1]}"
    return (
        f"{num} videos{of_groups} are too few to choose an epoch by: chance alone moves their accuracy by "
        f"up to {100 * half_width(num):.0f} points either way, in 19 of 20 such parts ({FEW_VIDEOS} videos: 10 "
        "points). Believe the test, not the best epoch"
    )


def _lopsided(counts: PartCounts, in_all: Mapping[str, int]) -> str | None:
    total, num = sum(in_all.values()), counts.num_videos
    expected = {name: in_all[name] * num / total for name in counts.classes}
    found = [
        f"{name} {of} ({expected[name]:.0f} expected)"
        for name, of in counts.classes.items()
        if expected[name] >= EXPECTED and of and not 1 / LOPSIDED < of / expected[name] < LOPSIDED
    ]
    return f"classes have another share than in the whole split: {name_some(found)}" if found else None


def _majority(counts: PartCounts) -> str | None:
    """Say so if a class has more than half of the videos; of two classes, if it has more than three quarters."""
    name, share = counts.majority
    if share <= max(0.5, 1.5 / len(counts.classes)):
        return None
    return (
        f"{share:.1%} of the videos are {name}: always answering that is right so often, and the mean over the classes "
        "says more than top-1"
    )
