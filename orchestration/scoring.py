"""An evaluation on a cluster: actors that each hold the recognizer, and batches of views dealt out to whoever is free.

Which views meet in a batch is decided before anything is dealt out, and each batch comes back once, in its place: the
scores are the same with workers that were lost on the way, and on any number of workers with as many threads each.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from orchestration import cluster as _cluster  # first: it says what Ray reads at its import

# isort: split
import numpy as np
import ray
import torch
from numpy.typing import NDArray

from preprocessing.errors import UserError
from preprocessing.shardset import ShardSet
from training.checkpoints import check_shards, load_recognizer
from training.data import Key
from training.memory import LOWER_BATCH, memory_explained
from training.protocol import ProtocolRecipe
from training.recipe import DataRecipe
from training.scorer import ScoreBatches, Scorer

MAX_LOSSES = 3
"""Times that one worker may be lost."""
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
    """As in a recipe; a CPU computes in full precision."""
    use_gpu: bool = False
    """Whether workers compute on the GPUs that they are given."""
    loader_workers: int = 0


class _Worker:
    """An actor that scores batches."""

    def __init__(self, job: ScoringJob, num_threads: int) -> None:
        self._job, self._num_threads = job, num_threads
        self._scorer: Scorer | None = None

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
            amp=job.amp if job.use_gpu else "off",
            num_threads=self._num_threads,
        )


@contextmanager
def workers_for(job: ScoringJob, workers: int, use_gpus: bool = True) -> Iterator[ScoreBatches]:
    """Start ``workers`` actors, a GPU each where the cluster has them, and give what scores batches with them.

    Raises:
        UserError: If the cluster has no room for so many; while scoring, what a worker was refused, or if one was lost
            more than MAX_LOSSES times.
    """
    with _cluster.cluster(max(_cluster.machine_cpus(), workers)) as found:
        gpus = found.num_gpus if use_gpus else 0
        room, what = (gpus, "GPUs and a worker takes one") if gpus else (found.num_cpus, "CPUs and a worker takes one")
        if workers > room:
            raise UserError(f"workers = {workers}, but the cluster has {room} {what}. Ask for fewer workers.")
        threads = max(1, _cluster.machine_cpus() // workers) if found.private else 1
        options = {"num_cpus": 1, "num_gpus": int(gpus > 0), "max_restarts": MAX_LOSSES, "max_task_retries": MAX_LOSSES}
        make: Any = ray.remote(_Worker).options(**options)
        job = replace(job, use_gpu=gpus > 0)
        actors = [make.remote(job, threads) for _ in range(workers)]
        try:
            yield lambda batches: _dealt_out(actors, batches)
        finally:
            for actor in actors:
                ray.kill(actor)


def _dealt_out(actors: Sequence[Any], batches: Sequence[list[Key]]) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of pieces of work in their order, while whoever is free takes the next."""
    size = max(1, min(_MOST_BATCHES, -(-len(batches) // (_SHARES * len(actors)))))
    pieces = [list(batches[i : i + size]) for i in range(0, len(batches), size)]
    running: dict[Any, tuple[int, Any]] = {}
    waiting: dict[int, NDArray[np.float32]] = {}
    free, given = list(actors), 0
    for wanted in range(len(pieces)):
        while wanted not in waiting:
            while free and given < len(pieces):
                actor = free.pop()
                running[actor.score.remote(pieces[given])] = given, actor
                given += 1
            (done,), _ = ray.wait(list(running), num_returns=1)
            number, actor = running.pop(done)
            free.append(actor)
            waiting[number] = _result(done)
        yield waiting.pop(wanted)


def _result(reference: Any) -> NDArray[np.float32]:
    try:
        result: NDArray[np.float32] | UserError = ray.get(reference)
    except ray.exceptions.RayActorError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"a worker of the evaluation was lost more than {MAX_LOSSES} times: {reason} Lower --batch or --workers if "
            "memory ran out; the same command goes on from what was saved."
        ) from error
    if isinstance(result, UserError):
        raise result
    return result
