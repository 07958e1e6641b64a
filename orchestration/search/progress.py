"""How a search goes: a sentence for every trial that has ended, and a line that moves from the very start."""

import time
from collections.abc import Sequence

from kinebert.orchestration.audience import Audience
from kinebert.orchestration.progress import Ticker, duration, time_left
from kinebert.orchestration.reports.formatting import metric_text
from kinebert.orchestration.search.records import Record, ranking
from kinebert.orchestration.search.report import outcome
from kinebert.training.recipe.train import TrainRecipe


class SearchProgress:
    """Tells an audience how a search goes, while its block lasts.

    Args:
        base: The recipe that is searched over.
        num_trials: Trials that the search is to have in all.
        known: Trials of earlier calls.
        audience: Who is told.
    """

    def __init__(self, base: TrainRecipe, num_trials: int, known: Sequence[Record], audience: Audience) -> None:
        assert base.tune is not None, "a search was checked before"
        self._base, self._tune, self._audience = base, base.tune, audience
        self._total = max(num_trials, len(known))
        self._line = audience.line()
        self._ticker: Ticker | None = None
        self._by_number = {record.number: record for record in known}
        self._live: set[int] = set()
        self._begin = time.monotonic()
        self._first_leg: float | None = None
        self._known_work = self._work()
        if known:
            ended = sum(record.ended for record in known)
            audience.say(f"going on: {len(known)} trials were begun, {ended} of them have ended")

    def __enter__(self) -> "SearchProgress":
        self._ticker = Ticker(self._line, self.text)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._ticker is not None
        self._ticker.stop()
        self._live = set()
        self._line.close(self.text())

    @property
    def records(self) -> list[Record]:
        """All trials that are known."""
        return list(self._by_number.values())

    def changed(self, record: Record, live: bool) -> None:
        """Take note of a trial's news, and of whether it is at work."""
        self._first_leg = self._first_leg or time.monotonic()
        self._by_number[record.number] = record
        (self._live.add if live else self._live.discard)(record.number)
        if record.ended:
            self._audience.say(outcome(record, self._tune))

    def text(self) -> str:
        """Return how many trials have ended, which is the best, what is left, and who is at work."""
        records = self.records
        parts = [f"{sum(record.ended for record in records)} of {self._total} trials have ended"]
        if self._live and self._first_leg is not None:  # first, as a narrow terminal shows the beginning
            done = self._work() - self._known_work
            left = time_left(time.monotonic() - self._first_leg, done, self._total - self._work())
            parts.append(f"{left} left")
        ranked = ranking([one for one in records if one.state != "failed"], self._tune.metric, self._tune.sign)
        if ranked and (best := ranked[0].best(self._tune.metric, self._tune.sign)) is not None:
            value = metric_text(self._tune.metric, best[self._tune.metric])
            parts.append(f"best so far: trial {ranked[0].number}, {self._tune.metric} {value}")
        if self._first_leg is None:
            return f"{'; '.join(parts)}; starting: {duration(time.monotonic() - self._begin)}"
        if self._live:
            at_work = [f"{n} (epoch {self._by_number[n].epoch} of {self._epochs(n)})" for n in sorted(self._live)]
            parts.append(f"at work: {', '.join(at_work)}")
        return "; ".join(parts)

    def _epochs(self, number: int) -> int:
        return int(self._by_number[number].present_values.get("epochs", self._base.epochs))

    def _work(self) -> float:
        """Work that is done, in trials: those that have ended, however soon, and parts of the others."""
        return sum(1.0 if one.ended else min(1.0, one.epoch / self._epochs(one.number)) for one in self.records)
