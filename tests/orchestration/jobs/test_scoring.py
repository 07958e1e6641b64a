"""An evaluation by workers: what a lost one costs, and what is said when nothing can be done."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
    return ScoringJob(checkpoint=checkpoint, shards=shards.uri, data=data, part="val", protocol=protocol, amp="auto")


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


def test_a_killed_worker_costs_time_and_no_view(ray_cluster: Any, job: ScoringJob) -> None:
    with workers_for(job, 2) as score:
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


def test_what_a_worker_is_refused_arrives_as_it_was_said(ray_cluster: Any, job: ScoringJob, tmp_path: Path) -> None:
    lost = replace(job, shards=str(tmp_path))
    with pytest.raises(UserError, match="expected a finished shard set"), workers_for(lost, 1) as score:
        list(score(BATCHES))
    with pytest.raises(UserError, match=r"workers = 9, but the cluster has 4 CPUs and a worker takes one"):
        workers_for(job, 9).__enter__()
