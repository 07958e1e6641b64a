"""What a search remembers: one file for the search, one per trial. Whoever is killed goes on from them.

A trial's file is written whole after every epoch, together with the decision that followed from it; the numbers in
``order`` put the epochs of all trials back into the order in which the search heard of them.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Required

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import as_document, parse_json, read_document, refused
from kinebert.preprocessing.checked.values import Count, shown
from kinebert.preprocessing.config import differences
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.tune import Metric
from kinebert.training.run_folder import EpochRow, rank

SEARCH_FILE, TRIAL_FILE, TRIALS = "search.json", "trial.json", "trials"
_TRIAL, _ELSEWHERE = "the record of a trial", "Start the search in another folder."
_FAR = 1e30
"""Finite, since the stopping rules interpolate between scores."""

State = Literal["running", "finished", "stopped", "failed"]


class TrialEpoch(EpochRow, total=False):
    """Numbers of an epoch of a trial, with its place in the search."""

    order: Required[int]
    """Epochs of all trials that the search had heard of before."""
    generation: Required[int]
    """Times that the trial had taken another's weights over."""


@dataclass(frozen=True, kw_only=True)
class TakeOver:
    """After which epoch, from whom, and with which values a trial went on from another's weights."""

    epoch: Count
    """After which."""
    donor: Count
    """Number of the trial whose weights they were."""
    values: dict[str, Any]
    """What it went on with."""


@dataclass(kw_only=True)
class Record:
    """A trial, as far as it has come. The planner changes it and writes it."""

    number: Count
    """From 0."""
    values: dict[str, Any]
    """What the trial began with, by field."""
    seed: int
    """Of its training."""
    state: State = "running"
    """running: to go on; finished: trained to its last epoch; stopped: ended early; failed: see ``reason``."""
    reason: str = ""
    """Why it was stopped, or failed."""
    rows: list[TrialEpoch] = field(default_factory=list)
    """Its epochs."""
    settled: Count = 0
    """Epoch at which its last leg had ended, its state written; an epoch is heard of before that."""
    takeovers: list[TakeOver] = field(default_factory=list)
    """With pbt: whose weights it went on from."""
    startup_s: float | None = None
    """Seconds from the decision to start its process to its first step."""

    @property
    def ended(self) -> bool:
        """Whether the trial is finished, stopped or failed, so that nothing is left to do."""
        return self.state != "running"

    @property
    def epoch(self) -> int:
        """How many epochs of the trial were heard of."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def generation(self) -> int:
        """How often the trial took another's weights over."""
        return len(self.takeovers)

    @property
    def present_values(self) -> dict[str, Any]:
        """The values that the trial trains with now, by field."""
        return self.takeovers[-1].values if self.takeovers else self.values

    def values_at(self, generation: int) -> dict[str, Any]:
        """Return the values, by field, that the trial trained with after so many take-overs."""
        return self.takeovers[generation - 1].values if generation else self.values

    def best(self, metric: Metric, sign: float) -> TrialEpoch | None:
        """Return the epoch with the best ``metric``, of equal ones the one that a training keeps; None before any."""
        return max(self.rows, key=lambda row: (score(row, metric, sign), rank(row)), default=None)

    def kept(self, generation: int, until: int | None = None) -> TrialEpoch:
        """Return the epoch whose weights a generation's folder has as the best: those of best top-1, then loss.

        Args:
            generation: Times that the trial had taken another's weights over.
            until: The last epoch that is looked at; by default the last that is known.
        """
        rows = (row for row in self.rows if row["generation"] == generation)
        return max((row for row in rows if until is None or row["epoch"] <= until), key=rank)

    def at(self, epoch: int) -> TrialEpoch | None:
        """Return the numbers of one epoch (from 1) of the trial."""
        return next((row for row in self.rows if row["epoch"] == epoch), None)


def score(row: TrialEpoch, metric: Metric, sign: float) -> float:
    """Return how good an epoch is, more being better; one whose metric is no number is worse than all that are."""
    value = sign * float(row[metric])
    return value if math.isfinite(value) else -_FAR


def trial_folder(output: str, number: int, generation: int = 0) -> str:
    """Return the folder in which a trial trains: another one after each take-over, so that no late writer meets it."""
    return storage.join(output, TRIALS, f"{number:04d}" + (f"-{generation}" if generation else ""))


def save_record(output: str, record: Record) -> None:
    """Write the file of a trial into the folder ``output`` of its search."""
    folder = trial_folder(output, record.number)
    storage.make_folder(folder)
    text = json.dumps(dataclasses.asdict(record), indent=1) + "\n"
    storage.write_bytes(storage.join(folder, TRIAL_FILE), text.encode())


def load_records(output: str) -> list[Record]:
    """Read the files of all trials, in order of number.

    Raises:
        UserError: If one is damaged.
    """
    found: list[Record] = []
    while storage.exists(storage.join(trial_folder(output, len(found)), TRIAL_FILE)):
        found.append(load_record(output, len(found)))
    return found


def load_record(output: str, number: int) -> Record:
    """Read the file of a trial.

    Raises:
        UserError: If it is damaged.
    """
    path = storage.join(trial_folder(output, number), TRIAL_FILE)
    with storage.explained(path, "read the record of a trial"):
        plain = parse_json(storage.read_bytes(path), path, _TRIAL, _ELSEWHERE, nan=True)
    if isinstance(plain, dict) and (strange := plain.keys() - {one.name for one in dataclasses.fields(Record)}):
        raise refused(path, _TRIAL, _ELSEWHERE, f"unknown key {shown(min(strange))}.")
    record = as_document(Record, plain, path, _TRIAL, _ELSEWHERE)
    if record.number != number:
        raise refused(path, _TRIAL, _ELSEWHERE, f"it is of trial {record.number}, expected {number}.")
    if "settled" not in plain:  # an earlier version wrote it: a leg that does nothing will find out
        record.settled = record.takeovers[-1].epoch if record.takeovers else 0
    return record


def in_order(records: Sequence[Record]) -> list[tuple[Record, TrialEpoch]]:
    """Return every epoch of every trial in the order in which the search heard of it."""
    pairs = [(record, row) for record in records for row in record.rows]
    return sorted(pairs, key=lambda pair: int(pair[1]["order"]))


def ranking(records: Sequence[Record], metric: Metric, sign: float) -> list[Record]:
    """Return the trials that came to something, the best first; of equal ones that with the lower number."""
    scored = [
        (score(row, metric, sign), record) for record in records if (row := record.best(metric, sign)) is not None
    ]
    return [record for _, record in sorted(scored, key=lambda pair: (-pair[0], pair[1].number))]


def claim(output: str, about: Mapping[str, Any]) -> None:
    """Make ``output`` the folder of the search that ``about`` (plain values) describes, or make sure that it is.

    Raises:
        UserError: If another search lives there; it names every difference.
    """
    path = storage.join(output, SEARCH_FILE)
    with storage.explained(path, "look for a search"):
        known = storage.exists(path)
    if not known:
        storage.write_bytes(path, (json.dumps(about, indent=1) + "\n").encode())
        return
    check_same(output, about)


def check_same(output: str, about: Mapping[str, Any]) -> None:
    """Refuse a folder with another search than ``about``; fine if there is none."""
    path = storage.join(output, SEARCH_FILE)
    with storage.explained(path, "look for a search"):
        if not storage.exists(path):
            return
    with storage.explained(path, "read the description of a search"):
        before = read_document(
            dict[str, Any], path, "the description of a search", "Choose another output folder.", nan=True
        )
    found = differences(before, about)
    if found:
        raise UserError(
            f"{output}: holds another search (there != here): {'; '.join(found)}. Choose another output folder, or go "
            "back to its settings."
        )
