"""Work of programs and functions in the test's own process, where what Ray does for them is not tested."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.extraction.placement import Tasks
from kinebert.orchestration.extraction.shard_tasks import ExtractionResult
from kinebert.orchestration.jobs import extraction, training
from kinebert.orchestration.ray_train.fit import FitResult, train_and_score
from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.guard import sweep
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.sets.folder import claim_output, finish_set
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.training.loop.events import Ended, Event
from kinebert.training.loop.loop import WorkerContext
from kinebert.training.recipe.train import TrainRecipe


def fit_here(
    recipe: TrainRecipe,
    output: str,
    hear: Callable[[Event], None],
    cpus_per_worker: float | None = None,
    pause_after: int | None = None,
    device: str = "cpu",
) -> FitResult:
    """What ``fit`` does with one worker on a CPU, in this process and without the ten seconds that Ray Train takes."""
    assert recipe.workers == 1
    result, best_epoch = train_and_score(recipe, output, WorkerContext(num_threads=1), hear, pause_after)
    hear(Ended(best_epoch=best_epoch))
    return result


def train_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``kinebert train`` and ``kinebert.train`` do so."""
    monkeypatch.setattr(training, "fit", fit_here)


def sets_here(
    rows: Sequence[ManifestRow],
    builds: Sequence[BuildShard],
    tasks: Tasks,
    videos_per_shard: int | None = None,
    audience: Audience = NOBODY,
) -> list[ExtractionResult]:
    """What ``extract_sets`` does, one shard after the other."""
    del tasks, audience
    results = []
    for build in builds:
        storage.make_folder(build.output)
        shards = claim_output(build.output, build.recipe, plan_shards(rows, videos_per_shard))
        placed = replace(build, solver=build.solver.placed(num_threads=1, on_gpu=False))
        dataset = finish_set(build.output, build.recipe, rows, [placed(shard) for shard in shards])
        sweep(build.output)
        results.append(ExtractionResult(dataset.plain(), len(rows), 0.0))
    return results


def extract_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs and functions of extraction do so."""
    monkeypatch.setattr(extraction, "extract_sets", sets_here)
