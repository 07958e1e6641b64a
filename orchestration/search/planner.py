"""What a search does next: asked for work and told what came of it, it decides, and writes everything down.

It runs without a cluster and without MLflow; of Ray it uses the stopping rules alone.

A *leg* is one stretch of one trial: all of it, what is left of it after a restart, or, with pbt, the epochs from one
comparison of the population to the next.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from kinebert.orchestration import cluster  # noqa: F401 - first: it says what Ray reads at its import

# isort: split
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from kinebert.orchestration.search.population import Exchange, exchanges, is_at_stop, next_stop, waits
from kinebert.orchestration.search.records import Record, TakeOver, TrialEpoch, in_order, save_record, score
from kinebert.orchestration.search.space import Space, trial_seed
from kinebert.orchestration.search.suggest import num_trials, suggest
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe

EPOCH = "epoch"


@dataclass(frozen=True, kw_only=True)
class Leg:
    """Work for one process, or one group of them. Plain values only: it travels as JSON."""

    number: int
    """Of the trial."""
    generation: int
    """How often the trial took another's weights over."""
    values: dict[str, Any]
    """What to train with."""
    seed: int
    """Of the training, unless ``values`` has one."""
    heard: int
    """Epochs that the search knows already."""
    until: int | None
    """Epoch to pause after; None trains to the end."""
    asked_at: float
    """When it was decided on, in seconds since 1970."""


@dataclass(frozen=True)
class _Alias:
    """A trial as one of Ray's stopping rules sees it, the same one before and after a restart."""

    trial_id: str


class Planner:
    """Hands out legs and decides who is stopped.

    Args:
        base: The recipe that is searched over.
        space: Its fields that are searched.
        records: Trials of earlier calls; new ones are added.
        output: Folder of the search.
        most: Trials at a time.
        exchange: Does what an :class:`Exchange` says with the states of two trainings.
        changed: Called with every trial that was written down, and with whether a leg of it is under way.
    """

    def __init__(
        self,
        base: TrainRecipe,
        space: Space,
        records: list[Record],
        output: str,
        most: int,
        exchange: Callable[[Exchange], None],
        changed: Callable[[Record, bool], None],
    ) -> None:
        assert base.tune is not None, "a search was checked before"
        self._base, self._tune, self._space, self._output, self._most = base, base.tune, space, output, most
        self._exchange, self._changed = exchange, changed
        self.records = records
        self.total = max(num_trials(self._tune, space), len(records))
        self.live: set[int] = set()
        self._stopped: set[int] = set()
        self._order = 1 + max((int(row["order"]) for _, row in in_order(records)), default=-1)
        self._rule = _rule(self._tune, self._longest())
        self._replay()

    def epochs(self, values: Mapping[str, Any]) -> int:
        """Return how many epochs a trial with these values trains."""
        return int(values.get("epochs", self._base.epochs))

    def _longest(self) -> int:
        dimension = self._space.get("epochs")
        return self._base.epochs if dimension is None else max(int(end) for end in dimension.ends())

    @property
    def done(self) -> bool:
        """Whether every trial of the search has ended."""
        return len(self.records) == self.total and all(record.ended for record in self.records)

    def next_leg(self) -> Leg | None:
        """Return a leg to train, or None if there is none now (or none any more, see :attr:`done`)."""
        if len(self.live) >= self._most:
            return None
        for record in self.records:  # those of an earlier call first, and a population in turn
            if not record.ended and record.number not in self.live and self._may_go_on(record):
                return self._leg(record)
        if len(self.records) == self.total:
            return None
        number = len(self.records)
        values = suggest(self._tune, self._space, number, self.records)
        record = Record(number=number, values=values, seed=trial_seed(self._tune.seed, number))
        self.records.append(record)
        self._rule.on_trial_add(None, _alias(record))
        return self._leg(record)

    def heard(self, number: int, row: Mapping[str, Any], startup_s: float | None) -> bool:
        """Take note of an epoch of a trial; return whether the trial is to stop. A known epoch is passed over."""
        record = self.records[number]
        if record.startup_s is None:
            record.startup_s = startup_s
        if record.ended or row[EPOCH] <= record.epoch:
            return record.ended
        known = {**row, "order": self._order, "generation": record.generation}
        record.rows.append(cast(TrialEpoch, known))
        self._order += 1
        if self._stops(record, record.rows[-1]) and record.epoch < self.epochs(record.values):
            self._end(record, "stopped", f"{self._tune.scheduler}: behind the others after epoch {record.epoch}")
            return True
        self._write(record)
        return False

    def ended(self, number: int, failure: str | None, complete: bool) -> None:
        """Take note that a leg has ended: the training is complete, or it failed, or it waits for others."""
        record = self.records[number]
        if record.ended:
            self.live.discard(number)
            return
        if failure is not None:
            self._end(record, "failed", failure)
            return
        record.settled = record.epoch
        if complete:
            self._end(record, "finished", "")
        else:
            self.live.discard(number)
            self._write(record)

    def lost(self, number: int) -> None:
        """Take note that nobody works on a leg any more, though it has not ended: it is handed out again."""
        self.live.discard(number)
        self._write(self.records[number])

    def _leg(self, record: Record) -> Leg:
        self.live.add(record.number)
        self._write(record)
        until = None
        if self._tune.scheduler == "pbt":
            until = next_stop(record, self._tune, self.epochs(record.values))
        return Leg(
            number=record.number,
            generation=record.generation,
            values=record.present_values,
            seed=record.seed,
            heard=record.epoch,
            until=until,
            asked_at=time.time(),
        )

    def _may_go_on(self, record: Record) -> bool:
        if self._tune.scheduler != "pbt" or not is_at_stop(record, self._tune) or record.settled < record.epoch:
            return True
        if waits(record, self.records, self._tune):
            return False
        for item in exchanges(self.records, record.epoch, self._space, self._tune):
            self._exchange(item)  # the new state first: who is killed between the two does it again
            takeover = TakeOver(epoch=item.taker.epoch, donor=item.donor.number, values=item.values)
            item.taker.takeovers.append(takeover)
            self._write(item.taker)
        return True

    def _stops(self, record: Record, row: TrialEpoch) -> bool:
        """Ask the rule about an epoch; one that was stopped stays stopped, and the rule must not hear of it again.

        Nor is it told of a trial's end: it would count the last epoch twice.
        """
        if record.number not in self._stopped:
            value = self._tune.sign * score(row, self._tune.metric, self._tune.sign)
            told = {EPOCH: row["epoch"], self._tune.metric: value}
            if self._rule.on_trial_result(None, _alias(record), told) == TrialScheduler.STOP:
                self._stopped.add(record.number)
        return record.number in self._stopped

    def _end(self, record: Record, state: Any, reason: str) -> None:
        record.state, record.reason = state, reason
        self.live.discard(record.number)
        self._write(record)

    def _write(self, record: Record) -> None:
        save_record(self._output, record)
        self._changed(record, record.number in self.live)

    def _replay(self) -> None:
        """Let the stopping rule see again what it saw before a restart, in the same order."""
        for record in self.records:
            self._rule.on_trial_add(None, _alias(record))
        for record, row in in_order(self.records):
            self._stops(record, row)


def _alias(record: Record) -> Any:
    return _Alias(f"{record.number:04d}")


def _rule(tune: TuneRecipe, longest: int) -> Any:
    """The stopping rule, one of Ray Tune's own."""
    mode = "max" if tune.sign > 0 else "min"
    common: dict[str, Any] = {"time_attr": EPOCH, "metric": tune.metric, "mode": mode}
    if tune.scheduler == "asha":
        grace = min(tune.grace_epochs, longest)
        return AsyncHyperBandScheduler(max_t=longest, grace_period=grace, reduction_factor=tune.reduction, **common)
    if tune.scheduler == "median":
        # it would give its place to others that wait, and function trainables cannot be paused
        never: Any = float("inf")
        return MedianStoppingRule(grace_period=tune.grace_epochs, min_time_slice=never, **common)
    rule: Any = FIFOScheduler
    return rule()
