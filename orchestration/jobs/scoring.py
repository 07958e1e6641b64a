"""An evaluation on a cluster: actors that each hold the recognizer, and batches of views dealt out to whoever is free.

Which views meet in a batch is decided before anything is dealt out, and each batch comes back once, in its place: the
scores are the same with workers that were lost on the way, and on any number of workers with as many threads each.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import
from kinebert.preprocessing.machine import available_cores

# isort: split
import numpy as np
import ray
import torch
from numpy.typing import NDArray

from kinebert.orchestration.ray_train.workers import ROOM_WAIT_S
from kinebert.orchestration.silent_workers import give_signs, watched
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.sets.reader import ShardSet
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


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """What each worker must know. Paths must mean the same on every node."""

    checkpoint: str
    shards: str
    data: DataRecipe
    part: str
    protocol: ProtocolRecipe
    amp: str
    """As in a recipe."""
    use_gpu: bool = False
    """Whether workers compute on the GPUs that they are given."""
    loader_workers: int | Literal["auto"] = "auto"
    """Processes that read clips for each worker; ``auto`` as in a recipe."""


class _Worker:
    """An actor that scores batches."""

    def __init__(self, job: ScoringJob, num_threads: int, roll: Any) -> None:
        give_signs(roll, ray.get_runtime_context().current_actor)
        self._job, self._num_threads = job, num_threads
        self._scorer: Scorer | None = None

    def ready(self) -> None:
        """Answer, which says that the actor has been started."""

    def score(self, batches: list[list[Key]]) -> NDArray[np.float32] | UserError:
        """Return the logits of all views; a mistake is returned as well: Ray would wrap it beyond recognition."""
        try:
            with memory_explained(LOWER_BATCH):
                self._scorer = self._scorer or self._open()
                return np.concatenate(list(self._scorer(batches)))
        except UserError as error:
            return error

    def _open(self) -> Scorer:
        job = self._job
        recognizer, info = load_recognizer(job.checkpoint)
        shards = ShardSet.open(job.shards)
        check_shards(job.checkpoint, info, shards)
        return Scorer(
            recognizer,
            shards,
            shards.select(job.data.split, job.part),
            job.data,
            job.protocol,
            device=torch.device("cuda" if job.use_gpu else "cpu"),  # Ray leaves a worker without one all that it sees
            loader_workers=job.loader_workers,
            amp=job.amp,
            num_threads=self._num_threads,
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
        if workers > room:
            raise UserError(f"workers = {workers}, but the cluster has {room} {what}. Ask for fewer workers.")
        threads = max(1, available_cores() // workers) if found.private else 1
        make: Any = ray.remote(_Worker).options(num_cpus=1, num_gpus=int(gpus > 0))
        job = replace(job, use_gpu=gpus > 0)
        with watched() as watch:
            crew = _Crew(lambda: make.remote(job, threads, watch.roll), workers)
            try:
                yield crew.score
            finally:
                crew.end()


class _Crew:
    """Actors that take pieces of work as they come free. One that is lost is replaced where the cluster has room, and
    its piece goes to the next: where a node is gone, those of the others do all.
    """

    def __init__(self, make: Callable[[], Any], num_actors: int) -> None:
        self._make = make
        self._actors: list[Any] = []
        self._free: list[Any] = []
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
                while self._free and todo:
                    actor, number = self._free.pop(), todo.popleft()
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
            self._hire()
            return number, None
        if isinstance(result, UserError):
            raise result
        self._free.append(actor)
        return number, result
