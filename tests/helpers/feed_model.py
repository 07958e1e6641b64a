"""A model of a training's feed: requests to a store, loader processes on cores, GPUs that take steps together.

Events happen one after the other on a clock of their own; nothing is measured, and nothing waits. Seconds and bytes.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.helpers.feed_parts import Outcome, Site, Store, Work


def simulate(
    work: Work, store: Store, site: Site, near: Store | None = None, rounds: float = 1.0, seed: int = 0
) -> Outcome:
    """Let a training run for a while.

    Args:
        work: Of a clip and a step.
        store: Where the shards lie.
        site: The machines.
        near: Where a node's cache lies, for the share ``work.hits`` of the clips.
        rounds: Length of what is measured, in times that the batches that are made ahead are all taken.
        seed: Of latencies and of what the cache has.
    """
    turn = site.loaders  # of so many batches, or steps, every loader makes as many as any other
    ahead = turn * math.ceil((site.prefetch + 1) / site.micro_batches)
    run = _Run(work, store, near or Store(), site, seed)
    return run.measure(warm=ahead + turn, steps=turn * math.ceil(max(rounds * ahead, 12) / turn))


@dataclass
class _Line:
    """Something that serves one after the other."""

    per_s: float
    free_at: float = 0.0
    busy_s: float = 0.0

    def serve(self, now: float, amount: float) -> float:
        """Return when it has served ``amount``, after all that were before."""
        took = amount / self.per_s
        self.free_at = max(self.free_at, now) + took
        self.busy_s += took
        return self.free_at


@dataclass
class _Node:
    link: _Line
    disk: _Line
    cores: list[float]
    """When each is free again."""
    busy_s: float = 0.0

    def compute(self, now: float, seconds: float) -> float:
        """Return when a core has done it."""
        end = max(heapq.heappop(self.cores), now) + seconds
        heapq.heappush(self.cores, end)
        self.busy_s += seconds
        return end


class _Run:
    """One simulation. What happens next stands first in a heap, by time."""

    def __init__(self, work: Work, store: Store, near: Store, site: Site, seed: int) -> None:
        self.work, self.store, self.near, self.site = work, store, near, site
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.rng = random.Random(seed)
        self.requests, self.server = _Line(store.all_requests_per_s), _Line(store.all_bytes_per_s)
        self.nodes = [
            _Node(_Line(store.node_bytes_per_s), _Line(near.node_bytes_per_s), [0.0] * site.cores)
            for _ in range(site.nodes)
        ]
        self.ranks = [_Rank(self, node) for node in self.nodes for _ in range(site.gpus)]
        self.filled_bytes = 0.0
        self._arrived = self.steps = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Let something happen then."""
        heapq.heappush(self._events, (time, next(self._count), action))

    def arrive(self) -> None:
        """Count a rank that has done its part of the step; when all have, the next begins."""
        self._arrived += 1
        if self._arrived == len(self.ranks):
            self._arrived = 0
            self.at(self.now + self.work.exchange_s, self._next_step)

    def _next_step(self) -> None:
        self.steps += 1
        for rank in self.ranks:
            rank.begin_step()

    def measure(self, warm: int, steps: int) -> Outcome:
        """Take ``warm`` steps and then ``steps``, and say what happened in these."""
        for rank in self.ranks:
            rank.start()
        self._until(warm)
        began, before, empty = self.now, self._busy_s(), self.filled_bytes
        self._until(warm + steps)
        elapsed = self.now - began
        busy = {name: (after - before[name]) / elapsed for name, after in self._busy_s().items()}
        loaders = self.site.gpus * self.site.loaders
        busy["CPU"] /= self.site.nodes * min(loaders, self.site.cores)
        busy["GPU"] /= len(self.ranks)
        busy["gradients"] = steps * self.work.exchange_s / elapsed
        clips = steps * self.site.micro_batches * self.site.micro_batch
        return Outcome(
            clips_per_s=clips / elapsed,
            waiting=1 - busy["GPU"] - busy["gradients"],
            busy=busy,
            filled_bytes_per_s=(self.filled_bytes - empty) / elapsed / self.site.nodes,
        )

    def _until(self, steps: int) -> None:
        while self.steps < steps:
            self.now, _, action = heapq.heappop(self._events)
            action()

    def _busy_s(self) -> dict[str, float]:
        return {
            "GPU": sum(rank.busy_s for rank in self.ranks),
            "CPU": sum(node.busy_s for node in self.nodes),
            "link": max(node.link.busy_s for node in self.nodes),
            "disk": max(node.disk.busy_s for node in self.nodes),
            "server": self.server.busy_s,
            "requests": self.requests.busy_s,
        }

    def fetch_clip(self, node: _Node) -> float:
        """Return when a clip that is asked for now has come."""
        much, near = self.work.clip_bytes, self.near
        if self.rng.random() >= self.work.hits:
            return self.fetch(node, much)
        begun = self.now + near.latency_s
        return max(begun + much / near.stream_bytes_per_s, node.disk.serve(begun, much))

    def fetch(self, node: _Node, much: float) -> float:
        """Return when bytes that the store is asked for now have come."""
        store = self.store
        latency = store.latency_s * (self.rng.lognormvariate(0.0, store.spread) if store.spread else 1.0)
        begun = self.requests.serve(self.now, 1.0) + latency
        served = max(node.link.serve(begun, much), self.server.serve(begun, much))
        return max(begun + much / store.stream_bytes_per_s, served)


class _Rank:
    """A GPU, the process that feeds it, and that one's loader processes."""

    def __init__(self, run: _Run, node: _Node) -> None:
        self._run, self.busy_s = run, 0.0
        self._loaders = [_Loader(run, node, self) for _ in range(run.site.loaders)]
        self._ready: set[int] = set()
        self._next = self._left = 0
        self._is_waiting = False

    def start(self) -> None:
        """Ask for the first batches, in turn, and for the first step."""
        for number in range(self._run.site.prefetch * len(self._loaders)):
            self._loaders[number % len(self._loaders)].ask(number)
        if self._run.work.block_bytes:
            for loader in self._loaders:
                loader.fill()
        self.begin_step()

    def begin_step(self) -> None:
        """Take as many micro-batches as a step has."""
        self._left = self._run.site.micro_batches
        self._take()

    def ready(self, number: int) -> None:
        """Have a batch; it is taken when its turn comes."""
        self._ready.add(number)
        if self._is_waiting:
            self._take()

    def _take(self) -> None:
        self._is_waiting = self._next not in self._ready
        if self._is_waiting:
            return
        self._ready.remove(self._next)
        loaders, site = self._loaders, self._run.site
        loaders[self._next % len(loaders)].ask(self._next + site.prefetch * len(loaders))
        self._next += 1
        took = site.micro_batch / self._run.work.gpu_clips_per_s
        self.busy_s += took
        self._run.at(self._run.now + took, self._computed)

    def _computed(self) -> None:
        self._left -= 1
        if self._left:
            self._take()
        else:
            self._run.arrive()


@dataclass
class _Loader:
    """A process that makes one batch after the other, clip by clip, while its threads fetch those that come."""

    run: _Run
    node: _Node
    rank: _Rank
    _batches: deque[int] = field(default_factory=deque)
    _asked: int = 0
    """Batches, from the present one on, whose clips are asked for or wait for a thread."""
    _wanted: int = 0
    """Clips that wait for a thread."""
    _in_flight: int = 0
    _come: set[int] = field(default_factory=set)
    _sent: int = 0
    _clip: int = 0
    """Which is next, counted from the beginning."""
    _is_computing: bool = False

    def ask(self, number: int) -> None:
        """Be told of one more batch to make."""
        self._batches.append(number)
        self._look_ahead()
        self._compute()

    def fill(self) -> None:
        """Fetch a block for the cache, and when it has come and has its digest, the next."""
        self.run.at(self.run.fetch(self.node, self.run.work.block_bytes), self._block_has_come)

    def _block_has_come(self) -> None:
        self.run.filled_bytes += self.run.work.block_bytes
        self.run.at(self.node.compute(self.run.now, self.run.work.block_cpu_s), self.fill)

    def _look_ahead(self) -> None:
        while self._batches and self._asked < 1 + self.run.site.batches_ahead:
            self._asked += 1
            self._wanted += self.run.site.micro_batch
        while self._wanted and self._in_flight < self.run.site.threads:
            self._wanted -= 1
            self._in_flight += 1
            clip, self._sent = self._sent, self._sent + 1
            self.run.at(self.run.fetch_clip(self.node), lambda clip=clip: self._has_come(clip))  # type: ignore[misc]

    def _has_come(self, clip: int) -> None:
        self._in_flight -= 1
        self._come.add(clip)
        self._look_ahead()
        self._compute()

    def _compute(self) -> None:
        if self._batches and not self._is_computing and self._clip in self._come:
            self._come.remove(self._clip)
            self._is_computing = True
            self.run.at(self.node.compute(self.run.now, self.run.work.cpu_s), self._computed)

    def _computed(self) -> None:
        self._is_computing = False
        self._clip += 1
        if self._clip % self.run.site.micro_batch == 0:
            self._asked -= 1
            self.rank.ready(self._batches.popleft())
            self._look_ahead()
        self._compute()
