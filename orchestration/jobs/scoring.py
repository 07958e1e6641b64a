"""An evaluation on a cluster: actors that each hold the recognizer, and batches of views dealt out to whoever is free.

Which views meet in a batch is decided before anything is dealt out, and each batch comes back once, in its place: the
scores are the same with workers that were lost on the way, and on any number of workers with as many threads each.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import
from kinebert.preprocessing.machine import available_cores
from kinebert.training.numerics import Inference

# isort: split
import numpy as np
import ray
import torch
from numpy.typing import NDArray

from kinebert.orchestration.ray_train.scaling import may_grow_to
from kinebert.orchestration.ray_train.workers import ROOM_WAIT_S, wanted_cpus
from kinebert.orchestration.silent_workers import give_signs, watched
from kinebert.preprocessing.errors import UserError
from kinebert.training.aligned import open_shards
from kinebert.training.checkpoints.recognizer import check_shards, load_recognizer
from kinebert.training.data.dataset import Key
from kinebert.training.evaluation.scorer import ScoreBatches, Scorer
from kinebert.training.out_of_memory import LOWER_BATCH, memory_explained
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import DataRecipe

MAX_LOSSES = 3
"""Times that whoever does one piece of work may be lost."""
_SHARES = 8
"""Pieces of work per worker, so that a slow one is not waited for long."""
_MOST_BATCHES = 64
IN_FLIGHT = 2
"""Pieces that a worker has at a time: clips of the next one are loaded while it computes."""


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """What each worker must know. Paths must mean the same on every node."""

    checkpoint: str
    shards: str
    data: DataRecipe
    part: str
    protocol: ProtocolRecipe
    inference: Inference
    use_gpu: bool = False
    """Whether workers compute on the GPUs that they are given."""
    loader_workers: int | Literal["auto"] = "auto"
    """Processes that read clips for each worker; ``auto`` as in a recipe."""
    cores: int = 1
    """Cores that a worker and they may use."""
    node_workers: int = 1
    """Most workers that a node has."""
    beside: tuple[str, ...] = ()
    """Further sets, of a recognizer of several streams."""


class _Worker:
    """An actor that scores batches."""

    def __init__(self, job: ScoringJob, num_threads: int, roll: Any) -> None:
        give_signs(roll, ray.get_runtime_context().current_actor)
        self._job, self._num_threads = job, num_threads
        self._scorer: Scorer | None = None
        self._turn = threading.Lock()
        self._computing = ThreadPoolExecutor(1)  # torch has a number of threads for each thread that asks it to compute

    def ready(self) -> None:
        """Answer, which says that the actor has been started."""

    def score(self, batches: list[list[Key]]) -> NDArray[np.float32] | UserError:
        """Return the logits of all views; a mistake is returned as well: Ray would wrap it beyond recognition.

        Called while another piece of work is scored, it has its own clips loaded meanwhile.
        """
        try:
            with memory_explained(LOWER_BATCH):
                with self._turn:  # clips come in the order in which they were asked for
                    self._scorer = self._scorer or self._computing.submit(self._open).result()
                    self._scorer.feed(batches)
                    scored = self._computing.submit(self._take, self._scorer, len(batches))
                return scored.result()
        except UserError as error:
            return error

    @staticmethod
    def _take(scorer: Scorer, num_batches: int) -> NDArray[np.float32]:
        return np.concatenate(list(scorer.take(num_batches)))

    def _open(self) -> Scorer:
        job = self._job
        recognizer, info = load_recognizer(job.checkpoint)
        shards = open_shards(job.shards, job.beside)
        check_shards(job.checkpoint, info, shards)
        return Scorer(
            recognizer,
            shards,
            shards.select(job.data.split, job.part),
            job.data,
            job.protocol,
            device=torch.device("cuda" if job.use_gpu else "cpu"),  # Ray leaves a worker without one all that it sees
            loader_workers=job.loader_workers,
            cores=job.cores,
            inference=job.inference,
            num_threads=self._num_threads,
            node_processes=job.node_workers,
        )


@contextmanager
def workers_for(job: ScoringJob, workers: int, use_gpus: bool = True) -> Iterator[ScoreBatches]:
    """Start ``workers`` actors, a GPU each where the cluster has them, and give what scores batches with them.

    Raises:
        UserError: If the cluster has no room for so many; while scoring, what a worker was refused, or if one after
            the other was lost at the same piece of work.
    """
    with _cluster.cluster(max(available_cores(), workers)) as found:
        gpus = found.num_gpus if use_gpus else 0
        room, what = (gpus, "GPUs and a worker takes one") if gpus else (found.num_cpus, "CPUs and a worker takes one")
        most = may_grow_to()  # an autoscaler sees workers that wait for a node
        if workers > room and (most is None or workers > (most.gpus if gpus else most.cpus)):
            raise UserError(f"workers = {workers}, but the cluster has {room} {what}. Ask for fewer workers.")
        threads = max(1, available_cores() // workers) if found.private else 1
        cpus, node_workers = _share(job, workers, use_gpu=gpus > 0)
        options = {"num_cpus": cpus, "num_gpus": int(gpus > 0), "max_concurrency": IN_FLIGHT + 1}
        make: Any = ray.remote(_Worker).options(**options)
        job = replace(job, use_gpu=gpus > 0, cores=cpus, node_workers=node_workers)
        with watched() as watch:
            crew = _Crew(lambda: make.remote(job, threads, watch.roll), workers)
            try:
                yield crew.score
            finally:
                crew.end()


def _share(job: ScoringJob, workers: int, *, use_gpu: bool) -> tuple[int, int]:
    """Return the CPUs that a worker holds with its loaders, fewer where the cluster has no more, and how many of them
    a node has at most.
    """
    nodes, gpus = _cluster.nodes(), 1.0 if use_gpu else 0.0
    wanted = wanted_cpus(job.loader_workers, _cluster.cores_per_gpu(nodes) if use_gpu else None)
    cpus = next((n for n in range(wanted, 1, -1) if workers <= _cluster.room(nodes, n, gpus)), 1)
    return cpus, max(1, min(workers, max(node.room(cpus, gpus) for node in nodes)))


class _Crew:
    """Actors that take pieces of work as they come free, each one more than it works on. One that is lost is replaced
    where the cluster has room, and its pieces go to the next: where a node is gone, those of the others do all.
    """

    def __init__(self, make: Callable[[], Any], num_actors: int) -> None:
        self._make = make
        self._actors: list[Any] = []
        self._loads: dict[Any, int] = {}
        """How many pieces each actor has that has been started and not been lost."""
        self._running: dict[Any, tuple[int | None, Any]] = {}
        """By reference: the number of a piece, or None while an actor is started, and who does it."""
        self._losses: Counter[int | None] = Counter()
        for _ in range(num_actors):
            self._hire()

    def end(self) -> None:
        """End all actors."""
        for actor in self._actors:
            ray.kill(actor)

    def score(self, batches: Sequence[list[Key]]) -> Iterator[NDArray[np.float32]]:
        """Yield the logits of pieces of work in their order, while whoever is free takes the next."""
        size = max(1, min(_MOST_BATCHES, -(-len(batches) // (_SHARES * len(self._actors)))))
        pieces = [list(batches[i : i + size]) for i in range(0, len(batches), size)]
        todo, scored = deque(range(len(pieces))), dict[int, NDArray[np.float32]]()
        for wanted in range(len(pieces)):
            while wanted not in scored:
                while todo and (actor := self._next_free()) is not None:
                    number = todo.popleft()
                    self._loads[actor] += 1
                    self._running[actor.score.remote(pieces[number])] = number, actor
                done, result = self._wait()
                if result is None and done is not None:
                    todo.appendleft(done)
                elif result is not None and done is not None:
                    scored[done] = result
            yield scored.pop(wanted)

    def _hire(self) -> None:
        actor = self._make()
        self._actors.append(actor)
        self._running[actor.ready.remote()] = None, actor

    def _next_free(self) -> Any:
        """Return the actor with the least to do; None if all have enough."""
        actor = min(self._loads, key=self._loads.__getitem__, default=None)
        return None if actor is None or self._loads[actor] >= IN_FLIGHT else actor

    def _wait(self) -> tuple[int | None, NDArray[np.float32] | None]:
        """Wait for anybody; return the piece that was done, if any, and its result, if its actor was not lost."""
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=ROOM_WAIT_S)
        if not ready and all(number is None for number, _ in self._running.values()):
            raise UserError(
                f"no worker of the evaluation could be started for {ROOM_WAIT_S:.0f} s: the cluster has no room. The "
                "same command goes on from what was saved."
            )
        if not ready:
            return None, None
        number, actor = self._running.pop(ready[0])
        try:
            result: NDArray[np.float32] | UserError | None = ray.get(ready[0])
        except ray.exceptions.RayActorError as error:
            self._losses[number] += 1
            if self._losses[number] > MAX_LOSSES:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"workers of the evaluation were lost {MAX_LOSSES + 1} times at one piece of work: {reason} Lower "
                    "--batch or --workers if memory ran out; the same command goes on from what was saved."
                ) from error
            if self._loads.pop(actor, None) is not None or number is None:  # its other piece fails as well
                self._hire()
            return number, None
        if isinstance(result, UserError):
            raise result
        if number is None:
            self._loads[actor] = 0
        elif actor in self._loads:  # it may have been lost since
            self._loads[actor] -= 1
        return number, result
