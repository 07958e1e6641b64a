"""The part of ``kinebert demo --distill`` that is its own: one teacher, students alone and taught, three seeds each."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kinebert.orchestration.printing import Table, say

SEEDS = (0, 1, 2)
KINDS = {"alone": "RGB, resnet18 with tsm + tgap", "taught": "the same, taught by the flow stream"}
TEACHER = "flow, resnet18 + bert: the teacher"
HALVES = ("all", "direction", "order")

Train = Callable[[str, Sequence[str], str], None]
"""Trains a recipe with changes in the folder of a name, and tests it."""


def teach(train: Train, epochs: int, seed: int) -> None:
    """Train and test the teacher, and every student of :data:`SEEDS` alone and with it.

    Args:
        train: Runs the programs.
        epochs: Of every student.
        seed: Of the teacher; is added to those of the students.
    """
    train("demo/flow_bert", [f"seed={seed}"], "flow_bert")
    for number in SEEDS:
        changes = [f"epochs={epochs}", f"seed={seed + number}"]
        train("demo/tsm", changes, f"alone_{number}")
        train("demo/distill", changes, f"taught_{number}")


def told(found: Mapping[str, tuple[float, ...]]) -> tuple[Table, list[str], bool]:
    """Put together what was measured.

    Args:
        found: Accuracies of all videos and of both halves, by the name of the run.

    Returns:
        A table of means and spreads; what it says in sentences; and whether a half is better by more than all seeds'
        spread: every taught student above every one alone.
    """
    rows, scores = [[TEACHER, *(_percent([value]) for value in found["flow_bert"])]], {}
    for kind, about in KINDS.items():
        scores[kind] = np.array([found[f"{kind}_{number}"] for number in SEEDS])
        rows.append([about, *(_percent(column) for column in scores[kind].T)])
    gains = 100 * (scores["taught"].mean(0) - scores["alone"].mean(0))
    rows.append(["gain, in points", *(f"{gain:+.1f}" for gain in gains)])
    table = Table(header=["top-1 in percent, mean (lowest to highest of 3 seeds)", *HALVES], rows=rows)
    words, shown = [], False
    for half, gain, taught, alone in zip(
        HALVES[1:], gains[1:], scores["taught"].T[1:], scores["alone"].T[1:], strict=True
    ):
        clear = bool(taught.min() > alone.max())
        shown |= clear
        how = "every taught student is above every one alone" if clear else "the seeds' ranges overlap"
        if taught.max() < alone.min():
            how = "every taught student is below every one alone"
        words.append(f"{half}: {gain:+.1f} points by the teacher; {how}")
    return table, words, shown


def say_verdict(found: Mapping[str, tuple[float, ...]]) -> bool:
    """Print what was measured on the held-out videos, and return whether the teacher improved a half."""
    table, words, shown = told(found)
    say("", "== result: top-1 on the held-out videos", table, "", f"{'shown' if shown else 'NOT shown'}:")
    say(*(f"  {line}" for line in words))
    return shown


def _percent(values: Sequence[float] | np.ndarray) -> str:
    mean = f"{100 * float(np.mean(values)):.1f}"
    return mean if len(values) == 1 else f"{mean} ({100 * min(values):.1f} to {100 * max(values):.1f})"
