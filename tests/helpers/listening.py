"""Whoever hears a job, and remembers: an audience, and what takes its numbers."""

from collections.abc import Callable, Mapping

from kinebert.orchestration.audience import Audience, Line
from kinebert.orchestration.watched_metrics import Exporter, WatchedMetric


class Heard(Audience):
    """What was said, warned of, and shown of progress, in their order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.shown: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def line(self) -> Line:
        return _Shown(self.shown)


class _Shown:
    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def show(self, text: Callable[[], str]) -> None:
        self._texts.append(text())

    def close(self, text: str) -> None:
        self._texts.append(text)


class Sums(Exporter):
    """Adds what is counted, and keeps the last of the other numbers."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output, self.values = output, dict[WatchedMetric, float]()

    def __call__(self, values: Mapping[WatchedMetric, float]) -> None:
        for metric, value in values.items():
            self.values[metric] = value + (self.values.get(metric, 0) if metric.counts else 0)
