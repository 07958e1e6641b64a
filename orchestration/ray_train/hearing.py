"""How the driver of a training hears what rank 0 says: an actor that keeps events, and a thread that passes them on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kinebert.orchestration import cluster as _cluster  # noqa: F401 - first: it says what Ray reads at its import
from kinebert.orchestration.printing import warn
from kinebert.orchestration.silent_workers import Signs

# isort: split
import ray

from kinebert.preprocessing.errors import UserError
from kinebert.training.distributed.watchdog import Standstill
from kinebert.training.loop.events import Event, Note, StepDone

_POLL_S = 0.5


class StoppedError(UserError):
    """Raised by whoever hears a training, to end it; ``fit`` raises it when the workers are gone."""


class Ear:
    """An actor that keeps what rank 0 says until the driver asks. It holds no CPU.

    A process that does not run at all cannot say that it hangs. So all give signs of life, and whoever gives none
    while the driver asks for ``silence_s`` (in seconds; 0 waits for ever) is ended, see :class:`.Signs`.
    """

    def __init__(self, silence_s: float = 0.0) -> None:
        self._signs = Signs[int](silence_s, _POLL_S)
        self._silent: list[int] = []
        self._events: list[Event] = []
        self._refusal: UserError | None = None
        self._standstills: dict[int, Standstill] = {}

    def hear(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)

    def lives(self, rank: int, worker: Any) -> bool:
        """Take a sign of life of a rank, which is the actor ``worker``; return whether any rank stands still."""
        self._signs.take(rank, worker)
        return bool(self._standstills)

    def leaves(self, rank: int) -> None:
        """Expect no more signs of a rank."""
        self._signs.forget(rank)

    def silent(self) -> list[int]:
        """Return the ranks that were ended because they gave no sign of life."""
        return self._silent

    def stop(self, error: UserError) -> None:
        """End the training with ``error``: kill rank 0."""
        self.refuse(error)
        if (first := self._signs.actor(0)) is not None:
            ray.kill(first)  # and Ray Train ends the others; it has no way to be asked for that

    def refuse(self, error: UserError) -> None:
        """Keep the first reason for which a worker will not train."""
        self._refusal = self._refusal or error

    def refusal(self) -> UserError | None:
        """That reason, if there is one."""
        return self._refusal

    def stand_still(self, found: Standstill) -> None:
        """Keep what the watchdog of a rank has found."""
        self._standstills[found.rank] = found

    def standstills(self) -> dict[int, Standstill]:
        """What watchdogs have found, by rank."""
        return self._standstills

    def take(self) -> list[Event]:
        """Hand over the events that came since the last call, and end who has been silent for too long."""
        silent = self._signs.ask()
        if not self._silent:  # Ray Train ends the others
            self._silent = [rank for rank, _ in silent]
            for _, worker in silent:
                ray.kill(worker)
        events, self._events = self._events, []
        return events


class Listener:
    """Calls ``hear`` with the events of an ear, from a thread of its own.

    Whoever hears may fail (a terminal that was closed, say); training goes on, and the failure is said once.
    """

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self._hear = hear
        self._failed = False
        self._stopped: StoppedError | None = None
        self._said: set[str] = set()
        self.furthest = -1
        """Largest step that was heard of."""

    @contextmanager
    def to(self, ear: Any) -> Iterator[None]:
        """Listen to ``ear`` until the block ends."""
        done = threading.Event()

        def run() -> None:
            while not done.wait(_POLL_S):
                self._drain(ear)
            self._drain(ear)

        thread = threading.Thread(target=run, name="events", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def note(self, text: str, once: bool = False) -> None:
        """Say a sentence, and ``once`` not again."""
        if not (once and text in self._said):
            self.tell(Note(text=text))
        self._said.add(text)

    def tell(self, event: Event) -> None:
        """Pass one event on."""
        if isinstance(event, StepDone):
            self.furthest = max(self.furthest, event.global_step)
        try:
            self._hear(event)
        except StoppedError as error:
            self._stopped = error
        except Exception as error:  # a training is worth more than what is said about it
            if not self._failed:
                self._failed = True
                with suppress(OSError):
                    warn(f"progress is no longer shown or recorded in full: {error!r}")

    def _drain(self, ear: Any) -> None:
        try:
            events = ray.get(ear.take.remote())
        except ray.exceptions.RayError:  # the cluster is going; fit() will say so
            return
        for event in events:
            self.tell(event)
        if self._stopped is not None:
            ear.stop.remote(self._stopped)
