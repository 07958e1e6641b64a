"""Workers that do not run at all are seen by their silence, killed, and told of in a line.

A process that a signal has stopped, or that waits in the kernel for a disk that is gone, cannot say so, and Ray would
wait for it for ever. So the workers of a job give signs of life from a thread beside their work, however slow that is.
One that gives none is killed; what comes of its work is the same as for any worker that is killed.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import
from kinebert.orchestration.printing import warn
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.machine import process_started

# isort: split
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

SILENCE = "KINEBERT_SILENCE_S"
"""Environment variable of the driver: seconds of silence after which a worker is killed; 0 waits for ever."""
_SILENCE_S = 300.0
"""Unless that is set. A thread is kept from running by libraries that are loaded from slow storage, say."""
_ASK_S, _SIGN_S = 0.5, 2.0
_ANSWER_S, _DIES_S = 60.0, 10.0


Who = TypeVar("Who")


@dataclass(frozen=True)
class Worker:
    """A process of a cluster."""

    node: str
    """Id of its node."""
    host: str
    pid: int
    started: str | None
    """When, see :func:`.process_started`: ids are given again."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Signs(Generic[Who]):
    """Signs of life, as whoever waits for them counts: in questions, so that nobody was silent while all was suspended.

    Args:
        silence_s: Seconds without a sign after which somebody is silent; 0 waits for ever.
        ask_s: Seconds between two questions.
    """

    def __init__(self, silence_s: float, ask_s: float) -> None:
        self._most = silence_s / ask_s or math.inf
        self._asked = 0
        self._heard: dict[Who, tuple[int, Any]] = {}

    def take(self, who: Who, actor: Any) -> None:
        """Take a sign of somebody, who may be an ``actor``."""
        self._heard[who] = self._asked, actor

    def actor(self, who: Who) -> Any:
        """Return the actor that somebody is; None if nobody is expected under that name."""
        return self._heard.get(who, (0, None))[1]

    def forget(self, who: Who) -> None:
        """Expect no more signs of somebody."""
        self._heard.pop(who, None)

    def ask(self) -> list[tuple[Who, Any]]:
        """Return who has given no sign for too long, with the actors that they are."""
        self._asked += 1
        return [(who, actor) for who, (at, actor) in self._heard.items() if self._asked - at > self._most]


class Roll:
    """An actor that keeps who gives signs of life. It holds no CPU."""

    def __init__(self, silence_s: float) -> None:
        self._signs = Signs[Worker](silence_s, _ASK_S)
        self._open = True

    def lives(self, worker: Worker, actor: Any = None) -> bool:
        """Take a sign of life of a worker, which may be an ``actor``; return whether more are wanted."""
        self._signs.take(worker, actor)
        return self._open

    def silent(self) -> list[tuple[Worker, Any]]:
        """Return who has given no sign for too long."""
        return self._signs.ask()

    def forget(self, worker: Worker) -> None:
        """Expect no more signs of a worker."""
        self._signs.forget(worker)

    def close(self) -> None:
        """Ask for no more signs."""
        self._open = False


class Watch:
    """Of one job over its workers: ``roll`` is for :func:`give_signs`; None if silence is allowed."""

    def __init__(self, roll: Any, say: Callable[[str], None], silence_s: float) -> None:
        self.roll, self._say, self._silence_s = roll, say, silence_s
        self._stays = ""

    def check(self) -> None:
        """Raise where waiting is in vain.

        Raises:
            UserError: If a worker could not be killed, and Ray has no way to do without it.
        """
        if self._stays:
            raise UserError(self._stays)

    def look(self) -> None:
        """End who has been silent for too long."""
        for worker, actor in ray.get(self.roll.silent.remote()):
            ended = _end(worker)
            self.roll.forget.remote(worker)
            silence = f"{worker} gave no sign of life for {self._silence_s:g} s"
            if ended is None:
                continue
            if not ended and actor is not None:
                ray.kill(actor)  # Ray then does without it, dead or not
            elif not ended:
                self._stays = (
                    f"{silence} and cannot be killed: it waits, perhaps, for a disk that is gone. What is finished is "
                    "kept. Restart that machine, or do without it, and run the same command again."
                )
                continue
            self._say(f"{silence}: stopped, perhaps, by a signal. It was killed, and its work is done again")


@contextmanager
def watched(say: Callable[[str], None] = warn) -> Iterator[Watch]:
    """Watch over workers in a block, inside one of :func:`.cluster`.

    Raises:
        ConfigError: If the time that is allowed for silence is no number.
    """
    silence_s = allowed_silence_s()
    if not silence_s:
        yield Watch(None, say, 0.0)
        return
    roll: Any = ray.remote(num_cpus=0)(Roll).options(**_cluster.beside_us()).remote(silence_s)
    watch, over = Watch(roll, say, silence_s), threading.Event()

    def look() -> None:
        with suppress(SystemExit):  # Ray's word for being shut down
            while not over.wait(_ASK_S):
                with suppress(Exception):  # of any class where the cluster is going; the job will say so
                    watch.look()

    thread = threading.Thread(target=look, name="silent workers", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join(_ANSWER_S / 10)  # who is to be asked may not answer, and is not waited for
        with suppress(Exception):
            roll.close.remote()


def allowed_silence_s() -> float:
    """Return the seconds for which a worker may be silent; 0 for ever.

    Raises:
        ConfigError: If what the environment says is no such number.
    """
    given = os.environ.get(SILENCE, str(_SILENCE_S))
    with suppress(ValueError):
        if 0 <= float(given) < float("inf"):
            return float(given)
    raise ConfigError(f"{SILENCE}={given}: expected seconds of silence after which a worker is killed, or 0 for never.")


_speaking: set[str] = set()
"""Rolls that this process gives signs to."""


def give_signs(roll: Any, actor: Any = None) -> None:
    """Let this process, a worker, give signs of life for as long as they are wanted. May be called again.

    Args:
        roll: Of :class:`Watch`.
        actor: That this process is, if it may be replaced by whoever has made it.
    """
    if roll is None or str(roll) in _speaking:
        return
    _speaking.add(str(roll))
    me = Worker(ray.get_runtime_context().get_node_id(), os.uname().nodename, os.getpid(), process_started(os.getpid()))

    def speak() -> None:
        with suppress(Exception):  # nobody is there any more
            while True:
                wanted = roll.lives.remote(me, actor).future()  # ray.get would give back the CPUs of the task
                time.sleep(_SIGN_S)
                if wanted.done() and not wanted.result():
                    break
        _speaking.discard(str(roll))

    threading.Thread(target=speak, name="signs of life", daemon=True).start()


def _end(worker: Worker) -> bool | None:
    """Kill a worker, from its node; return whether it has died, None if it was gone already, by itself or its node.

    Raises:
        GetTimeoutError: If the node does not answer.
    """
    there: Any = ray.remote(num_cpus=0)(kill).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(worker.node, soft=False)
    )
    try:
        ended: bool | None = ray.get(there.remote(worker.pid, worker.started), timeout=_ANSWER_S)
    except ray.exceptions.GetTimeoutError:
        raise
    except ray.exceptions.RayError:
        return None
    return ended


def kill(pid: int, since: str | None) -> bool | None:
    """Kill a process of this machine that started at ``since``; return as :func:`_end` does."""
    try:
        if not since or process_started(pid) != since:
            return None
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return None
    give_up = time.monotonic() + _DIES_S
    while process_started(pid) == since:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True
