"""Whether runs may be ranked, and how they come out.

Axes: R runs, K classes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinebert.orchestration.comparing.differences import Difference, differences
from kinebert.orchestration.comparing.runs import Run, abouts_of, recipes_of
from kinebert.preprocessing.config import digest
from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.metrics import Metrics, label_ranks, predictions
from kinebert.training.evaluation.per_class import class_table
from kinebert.training.evaluation.significance import (
    Comparison,
    Interval,
    compare_all,
    holm,
    intervals,
    mcnemar,
    on_same_videos,
)
from kinebert.training.run_folder import best_epoch

SHARED = 0.99
"""Share of the videos of any run that all runs must have scored, or they are not ranked."""
_SAME: Sequence[tuple[str, Callable[[VideoScores], str]]] = (
    ("classes", lambda scores: f"{len(scores.classes)}, {digest(list(scores.classes))}"),
    ("tested parts", lambda scores: scores.tested_part),
    ("views", lambda scores: scores.views),
)
"""What must be the same, or the numbers of two tables do not mean the same."""
MOST_SHOWN = 4
"""Runs whose classes the page shows; those of all are in the tables."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """How one run came out on the videos that all have scored."""

    run: Run
    scores: VideoScores
    metrics: Metrics
    intervals: Mapping[str, Interval]
    """Of every metric, by bootstrap."""


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """One class under the baseline and under another run."""

    name: str
    num_videos: int
    before: float
    """Share that is right under the baseline."""
    after: float
    only_before: int
    """Videos that the baseline alone has right."""
    only_after: int
    p_value: float
    """McNemar's test on the class, with Holm's allowance for all classes."""

    @property
    def change(self) -> float:
        """By how much the share that is right grows, -1 to 1."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class PairChange:
    """Videos of a class that are taken for another one."""

    name: str
    taken_for: str
    before: int
    after: int
    p_value: float
    """McNemar's test of the videos that only one of the two takes for it, with Holm's allowance for all such pairs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """A comparison, ready to be shown."""

    runs: Sequence[Run]
    """Those that are compared, as they were given; the first is the baseline."""
    differences: Sequence[Difference]
    num_same: int
    """Values of recipes that are the same in all."""
    obstacles: Sequence[str]
    """Why the runs may not be ranked."""
    ranked: bool
    """Whether they are: there are no obstacles, or it was told to rank them all the same."""
    standings: Sequence[Standing]
    """Of the runs with scores, best top-1 first if they are ranked, else in the order of the runs."""
    pairs: Mapping[tuple[str, str], Comparison]
    """By the names of two runs, the earlier one of the runs first; empty if they are not ranked."""
    p_values: Mapping[tuple[str, str], float]
    """McNemar's test of each pair, with Holm's allowance for all pairs."""
    notes: Sequence[str]

    @property
    def baseline(self) -> Standing:
        """How the first run that has scores came out: the one that others are compared with."""
        named = {standing.run.name: standing for standing in self.standings}
        return next(named[run.name] for run in self.runs if run.name in named)

    @property
    def others(self) -> list[Standing]:
        """How all runs but the baseline came out, in their order; empty if they are not ranked."""
        named = {standing.run.name: standing for standing in self.standings}
        order = [named[run.name] for run in self.runs if run.name in named]
        return order[1:] if self.ranked else []

    @property
    def shown(self) -> list[Standing]:
        """The best of the runs beside the baseline, whose classes are shown, in the order of the runs."""
        best = sorted(self.others, key=lambda standing: -standing.metrics.top[1])[:MOST_SHOWN]
        return [standing for standing in self.others if standing in best]


def judge(runs: Sequence[Run], anyway: bool = False, notes: Sequence[str] = ()) -> Verdict:
    """Compare runs whose evaluations are chosen.

    Args:
        runs: At least two, with different names. One without an evaluation is left out and noted, if two others have
            one.
        anyway: Rank them whatever the obstacles.
        notes: Said with the result.

    Raises:
        UserError: If they are to be ranked all the same, and no video or not the classes are in all tables.
    """
    scored = [run for run in runs if run.scores is not None]
    if len(scored) > 1:
        notes, runs = [*notes, *_left_out(runs)], scored
    lines, num_same = differences(runs)
    against = obstacles(runs)
    ranked = len(scored) > 1 and (anyway or not against)
    tables = [run.scores for run in scored if run.scores is not None]
    notes = [*notes, *_notes(runs)]
    if ranked:
        total = len({video for scores in tables for video in scores.video_ids})
        tables = on_same_videos(tables)
        if len(tables[0].video_ids) < total:
            notes.append(
                f"{total - len(tables[0].video_ids)} of {total} videos have no score in some run; they are in no number"
            )
    standings = [
        Standing(run=run, scores=scores, metrics=scores.metrics(), intervals=intervals(scores))
        for run, scores in zip(scored, tables, strict=True)
    ]
    by_place = compare_all(tables) if ranked else {}
    pairs = {(scored[i].name, scored[j].name): found for (i, j), found in by_place.items()}
    p_values = dict(zip(pairs, holm([found.p_value for found in pairs.values()]), strict=True))
    if ranked:
        standings.sort(key=lambda standing: -standing.metrics.top[1])
    return Verdict(
        runs=runs,
        differences=lines,
        num_same=num_same,
        obstacles=against,
        ranked=ranked,
        standings=standings,
        pairs=pairs,
        p_values=p_values,
        notes=notes,
    )


def obstacles(runs: Sequence[Run]) -> list[str]:
    """Say in sentences why runs may not be ranked: their numbers do not mean the same."""
    without = [run.name for run in runs if run.scores is None]
    found = []
    if without:
        found.append(f"no scores of {', '.join(without)}: kinebert evaluate CHECKPOINT makes them")
    having = [(run, run.scores) for run in runs if run.scores is not None]
    if len(having) < 2:
        return found
    for what, value in _SAME:
        values = {run.name: value(scores) for run, scores in having}
        if len(set(values.values())) > 1:
            found.append(f"{what} differ ({', '.join(f'{name}: {text}' for name, text in values.items())})")
    return found + _about_videos(having) + [sentence for run, scores in having for sentence in _leaks(run, scores)]


def _left_out(runs: Sequence[Run]) -> list[str]:
    """Say which runs have nothing to be ranked by, and what would help."""
    out = [run for run in runs if run.scores is None]
    untested = [run.name for run in out if not run.tables]
    made = ", ".join(untested)
    notes = [f"left out, without an evaluation: {made} (kinebert evaluate CHECKPOINT makes one)"] if untested else []
    otherwise = [f"{run.name} has {', '.join(run.tables)}" for run in out if run.tables]
    return notes + ([f"left out, tested in other ways: {'; '.join(otherwise)}"] if otherwise else [])


def _about_videos(having: Sequence[tuple[Run, VideoScores]]) -> list[str]:
    sets = [set(scores.video_ids) for _, scores in having]
    shared, total = len(set.intersection(*sets)), len(set.union(*sets))
    if shared < SHARED * total:
        counts = ", ".join(f"{run.name}: {len(scores.video_ids)}" for run, scores in having)
        return [f"only {shared} of {total} videos were scored in all ({counts})"]
    labels: dict[str, tuple[str, str]] = {}
    for run, scores in having:
        for video, label in zip(scores.video_ids, scores.labels, strict=True):
            name = scores.classes[label]
            known, whose = labels.setdefault(video, (name, run.name))
            if known != name:
                return [f"different labels: {video} is {known!r} to {whose} and {name!r} to {run.name}"]
    return []


def _leaks(run: Run, scores: VideoScores) -> list[str]:
    """Say so if a run, or a stream of it, may know the videos that it is tested on."""
    split, part = scores.about.get("split"), scores.about.get("part")
    found = []
    for stream, recipe in recipes_of(run).items():
        name = f"{run.name}, {stream}" if stream else run.name
        trained, learnt = recipe.get("data.split"), recipe.get("data.train_part")
        if trained is None or split is None:
            continue
        if split != trained:
            found.append(f"{name} learnt from {trained} and is tested on {split}, whose test videos it may have seen")
        elif part == learnt:
            found.append(f"{name} is tested on the videos that it learnt from")
    return found


def _notes(runs: Sequence[Run]) -> list[str]:
    notes = []
    for run in runs:
        scores = run.scores
        if scores is None:
            continue
        best = best_epoch(run.history)
        same = (run.recipe.get("data.split"), run.recipe.get("data.val_part")) == (
            scores.about.get("split"),
            scores.about.get("part"),
        )
        if same and best is not None and scores.about.get("epoch") == best["epoch"] < run.history[-1]["epoch"]:
            notes.append(f"{run.name}: these videos chose epoch {best['epoch']}; its numbers are too good")
    contents: dict[tuple[Any, Any], set[Any]] = {}
    for about in (about for run in runs for about in abouts_of(run).values()):
        if about.get("content"):
            contents.setdefault((about.get("modality"), about.get("shards")), set()).add(about["content"])
    notes += [
        f"the {modality} sets of recipe {digest} are not the same bytes in all runs"
        for (modality, digest), found in contents.items()
        if len(found) > 1
    ]
    return notes


def class_changes(before: Standing, after: Standing) -> list[ClassChange]:
    """Return how every class fares under two runs, in the order of the labels; classes without videos are left out."""
    labels = before.scores.labels
    right = [label_ranks(standing.scores.scores, labels) < 1 for standing in (before, after)]
    num = len(before.scores.classes)
    only = [np.bincount(labels[mine & ~other], minlength=num) for mine, other in (right, right[::-1])]
    tables = [class_table(standing.metrics.confusion, standing.scores.classes) for standing in (before, after)]
    kept = [k for k in range(num) if tables[0][k].num_videos]
    p_values = holm([mcnemar(int(only[0][k]), int(only[1][k])) for k in kept])
    return [
        ClassChange(
            name=tables[0][k].name,
            num_videos=tables[0][k].num_videos,
            before=tables[0][k].accuracy,
            after=tables[1][k].accuracy,
            only_before=int(only[0][k]),
            only_after=int(only[1][k]),
            p_value=p_value,
        )
        for k, p_value in zip(kept, p_values, strict=True)
    ]


def pair_changes(before: Standing, after: Standing) -> list[PairChange]:
    """Return the pairs of classes that are confused more or less often, largest change first."""
    classes, labels = before.scores.classes, before.scores.labels
    counts = [standing.metrics.confusion for standing in (before, after)]
    change_KK = counts[1] - counts[0]
    pairs = [(i, j) for i, j in np.argwhere(change_KK != 0).tolist() if i != j]
    pairs.sort(key=lambda pair: (-abs(change_KK[pair]), pair))
    taken = [predictions(standing.scores.scores) for standing in (before, after)]
    moved = [Counter(zip(labels[at], of[at], strict=True)) for at in [taken[0] != taken[1]] for of in taken]
    p_values = holm([mcnemar(moved[0][pair], moved[1][pair]) for pair in pairs])
    return [
        PairChange(
            name=classes[i],
            taken_for=classes[j],
            before=int(counts[0][i, j]),
            after=int(counts[1][i, j]),
            p_value=p_value,
        )
        for (i, j), p_value in zip(pairs, p_values, strict=True)
    ]


def shared_evaluations(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return which runs have an evaluation that some, but not all, of them share, by its name."""
    names = dict.fromkeys(name for run in runs for name in run.tables)
    having = {name: [run.name for run in runs if name in run.tables] for name in names}
    return {name: of for name, of in having.items() if 1 < len(of) < len(runs)}


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise a UserError if there are not two runs."""
    if len(runs) < 2:
        raise UserError(f"a comparison takes two or more runs, got {len(runs)}.")
