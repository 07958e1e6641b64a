"""An evaluation by workers: what a lost one costs, and what is said when nothing can be done."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinebert.orchestration import cluster
from kinebert.training.numerics import Inference

# isort: split
import ray

from kinebert.orchestration.jobs import scoring
from kinebert.orchestration.jobs.scoring import ScoringJob, workers_for
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.data.dataset import Key
from kinebert.training.evaluation.scorer import Scorer
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.sets import make_rows, make_set

BATCHES: list[list[Key]] = [[(video, view)] for view in range(4) for video in range(4)]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ScoringJob:
    folder = tmp_path_factory.mktemp("scoring")
    shards = make_set(make_rows(folder / "videos", [9] * 12), folder / "rgb", FrameRecipe(resize="none"))
    protocol = ProtocolRecipe(crops=10)
    checkpoint = make_checkpoint(folder / "best.pt", shards, protocol)
    data = DataRecipe(shards=shards.uri, clip_length=4, crop_size=32)
    return ScoringJob(
        checkpoint=checkpoint, shards=shards.uri, data=data, part="val", protocol=protocol, inference=Inference()
    )


def expected(job: ScoringJob) -> np.ndarray:
    recognizer, _ = load_recognizer(job.checkpoint)
    shards = ShardSet.open(job.shards)
    videos = shards.select("split1", "val")
    return np.concatenate(list(Scorer(recognizer, shards, videos, job.data, job.protocol)(BATCHES)))


def kill_one() -> None:
    """Kill one of the processes that score."""
    import psutil  # Ray brings it along, and must be imported before

    found = [p for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::_Worker")]
    os.kill(found[0].pid, signal.SIGKILL)


@pytest.mark.parametrize("loader_workers", ["auto", pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_worker_costs_time_and_no_view(ray_cluster: Any, job: ScoringJob, loader_workers: Any) -> None:
    with workers_for(replace(job, loader_workers=loader_workers), 2) as score:
        pieces = score(BATCHES)
        found = [next(pieces)]
        kill_one()
        found += list(pieces)
    np.testing.assert_allclose(np.concatenate(found), expected(job), rtol=1e-5, atol=1e-6)


def test_workers_that_are_lost_again_and_again(ray_cluster: Any, job: ScoringJob, monkeypatch: Any) -> None:
    monkeypatch.setattr(scoring._Worker, "score", lambda self, batches: os._exit(9))  # as by a system without memory
    with (
        pytest.raises(UserError, match=r"workers of the evaluation were lost 4 times at one piece of work: .*--batch"),
        workers_for(job, 1) as score,
    ):
        list(score(BATCHES[:1]))


def test_workers_hold_cpus_for_their_loaders(job: ScoringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node(24, 4), cluster.Node(24, 4), cluster.Node(8, 0)])

    def share(loader_workers: Any, workers: int, use_gpu: bool) -> tuple[int, int]:
        return scoring._share(replace(job, loader_workers=loader_workers), workers, use_gpu=use_gpu)

    assert share("auto", 8, True) == (6, 4)  # CPUs of each, and workers of a node
    assert share("auto", 2, False) == (1, 2)  # on CPUs a worker reads for itself
    assert share(7, 8, True) == (6, 4)  # all that there are
    assert share(2, 2, True) == (3, 2)


class Pieces:
    """Actors that score pieces when the test lets them, by Ray's words for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: dict[object, tuple[str, Any]] = {}
        self.most: dict[str, int] = {}
        self.lost: set[str] = set()
        self.lose_at = -1
        self._hired = 0
        monkeypatch.setattr(ray, "wait", self.wait)
        monkeypatch.setattr(ray, "get", self.get)
        monkeypatch.setattr(ray, "kill", lambda actor: None)

    def make(self) -> Any:
        self._hired += 1
        return Actor(f"actor {self._hired}", self)

    def wait(self, references: list[object], **_: Any) -> tuple[list[object], list[object]]:
        for name in {self.calls[reference][0] for reference in references}:
            waiting = sum(self.calls[one][0] == name and self.calls[one][1] is not None for one in references)
            self.most[name] = max(self.most.get(name, 0), waiting)
        return references[:1], references[1:]

    def get(self, reference: object) -> Any:
        name, batches = self.calls[reference]
        if batches is not None and self.lose_at == 0:
            self.lost.add(name)
        self.lose_at -= batches is not None
        if name in self.lost:
            raise ray.exceptions.RayActorError
        return None if batches is None else np.array([key for batch in batches for key in batch], np.float32)


class Actor:
    def __init__(self, name: str, pieces: Pieces) -> None:
        self.ready, self.score = Call(name, pieces), Call(name, pieces)


class Call:
    def __init__(self, name: str, pieces: Pieces) -> None:
        self._name, self._pieces = name, pieces

    def remote(self, batches: Any = None) -> object:
        reference = object()
        self._pieces.calls[reference] = self._name, batches
        return reference


@pytest.mark.parametrize("lose_at", [-1, 0, 3, 7])
def test_two_pieces_are_in_flight_and_both_of_a_lost_worker_are_done_by_others(
    monkeypatch: pytest.MonkeyPatch, lose_at: int
) -> None:
    ray_of_test = Pieces(monkeypatch)
    ray_of_test.lose_at = lose_at
    crew = scoring._Crew(ray_of_test.make, 2)
    batches: list[list[Key]] = [[(video, view)] for video in range(8) for view in range(5)]
    found = np.concatenate(list(crew.score(batches)))
    np.testing.assert_array_equal(found, np.array([key for batch in batches for key in batch], np.float32))
    assert max(ray_of_test.most.values()) == 2
    assert len(ray_of_test.most) == (2 if lose_at < 0 else 3)  # one is hired in the place of one


def test_what_a_worker_is_refused_arrives_as_it_was_said(ray_cluster: Any, job: ScoringJob, tmp_path: Path) -> None:
    lost = replace(job, shards=str(tmp_path))
    with pytest.raises(UserError, match="expected a finished shard set"), workers_for(lost, 1) as score:
        list(score(BATCHES))
    with pytest.raises(UserError, match=r"workers = 9, but the cluster has 4 CPUs and a worker takes one"):
        workers_for(job, 9).__enter__()
