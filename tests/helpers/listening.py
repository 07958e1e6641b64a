"""An audience that remembers what a job said."""

from collections.abc import Callable

from kinebert.orchestration.audience import Audience, Line


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
