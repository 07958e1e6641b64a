"""Where trials go: how many fit, what is refused, and a trial that is a group of workers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.cluster import Cluster
from orchestration.search.records import Record
from orchestration.search.run import Resources, room, search
from orchestration.search.space import read_space
from orchestration.search.trials import Job
from preprocessing.errors import UserError
from preprocessing.recipe import FrameRecipe
from tests.sets import make_rows, make_set
from training.recipe import DataRecipe, ModelRecipe, TrainRecipe
from training.tune_recipe import TuneRecipe

TUNE = TuneRecipe(
    space={"optim.lr": {"log_uniform": [1e-4, 1e-2]}}, scheduler="pbt", trials=2, interval=1, quantile=0.5
)
BASE = TrainRecipe(data=DataRecipe(shards="/set"), batch_size=8, micro_batch=2, epochs=2, tune=TUNE)


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "resources", "expected"),
    [
        (1, 4, 0, {}, (1.0, 0.0, 4)),
        (1, 2, 0, {"cpus_per_worker": 0.5}, (0.5, 0.0, 4)),
        (2, 5, 0, {}, (1.0, 0.0, 2)),
        (1, 16, 1, {}, (1.0, 1.0, 1)),
        (1, 16, 1, {"gpus_per_worker": 0.25}, (1.0, 0.25, 4)),
        (1, 16, 2, {"gpus_per_worker": 0.3}, (1.0, 0.3, 6)),  # three on each, and a tenth of each is nobody's
        (1, 16, 2, {"gpus_per_worker": 0.0}, (1.0, 0.0, 16)),
        (2, 16, 8, {}, (1.0, 1.0, 4)),
        (1, 3, 8, {}, (1.0, 1.0, 3)),
    ],
)
def test_as_many_trials_run_at_a_time_as_fit(
    workers: int, cpus: int, gpus: int, resources: dict[str, float], expected: tuple[float, float, int]
) -> None:
    base = replace(BASE, workers=workers)
    assert room(base, Resources(**resources), Cluster(cpus, gpus, True)) == expected
    assert TUNE.concurrent == 0
    fewer = replace(base, tune=replace(TUNE, concurrent=1))
    assert room(fewer, Resources(**resources), Cluster(cpus, gpus, True))[2] == 1


@pytest.mark.parametrize(
    ("workers", "gpus", "resources", "words"),
    [
        (1, 0, {"gpus_per_worker": 0.5}, "gpus_per_worker = 0.5, but the cluster has no GPU. Leave it out"),
        (2, 4, {"gpus_per_worker": 0.5}, "workers of one training take a whole GPU each"),
        (
            4,
            0,
            {},
            "a trial has 4 workers with 1 CPUs and 0 GPUs each, the cluster has 2 CPUs and 0 GPUs. Ask for less",
        ),
        (1, 0, {"cpus_per_worker": 3.0}, "Ask for less"),
        (2, 1, {}, "Ask for less"),
        (2, 4, {"gpus_per_worker": 0.0}, "take a whole GPU each where the cluster has any. Leave it out"),
    ],
)
def test_what_does_not_fit_is_refused(workers: int, gpus: int, resources: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        room(replace(BASE, workers=workers), Resources(**resources), Cluster(2, gpus, True))


@pytest.mark.slow
def test_trials_that_are_groups_of_workers_take_over_as_well(ray_cluster: Any, tmp_path: Path) -> None:
    shards = make_set(make_rows(tmp_path / "videos", [6] * 12), tmp_path / "rgb", FrameRecipe(resize="none"))
    data = DataRecipe(shards=shards.uri, clip_length=4, crop_size=32)
    model = ModelRecipe(backbone="resnet18", head="tgap", width=0.125)
    base = replace(BASE, data=data, model=model, workers=2, batch_size=4)
    output = tmp_path / "search"
    output.mkdir()
    job = Job(base=base, output=str(output), cpus_per_worker=1.0, where="r.toml")
    told: list[tuple[int, bool]] = []

    def changed(record: Record, live: bool) -> None:
        told.append((record.number, live))

    records = search(job, read_space(TUNE, base, "r.toml"), [], Resources(), changed)
    assert [record.state for record in records] == ["finished"] * 2
    assert [record.epoch for record in records] == [2, 2]
    assert sum(len(record.takeovers) for record in records) == 1
    assert {number for number, live in told if live} == {0, 1}
