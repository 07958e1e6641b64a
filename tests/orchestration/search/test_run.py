"""Where trials go: how many fit, what is refused, and a trial that is a group of workers."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinebert.orchestration.cluster import Cluster, free_nodes
from kinebert.orchestration.search import run, trials
from kinebert.orchestration.search.planner import Leg
from kinebert.orchestration.search.population import Exchange
from kinebert.orchestration.search.records import Record, TrialEpoch, trial_folder
from kinebert.orchestration.search.run import Resources, room, search
from kinebert.orchestration.search.space import read_space
from kinebert.orchestration.search.trials import Job
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.checkpoints.state import load_state
from kinebert.training.loop.events import EpochDone, Event
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from kinebert.training.run_folder import EpochRow
from tests.helpers.sets import make_rows, make_set

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
        (1, 16, 1, {}, (16.0, 1.0, 1)),  # all cores feed the one GPU
        (1, 16, 1, {"cpus_per_worker": 1.0}, (1.0, 1.0, 1)),
        (1, 16, 1, {"gpus_per_worker": 0.25}, (4.0, 0.25, 4)),
        (1, 16, 2, {"gpus_per_worker": 0.3}, (2.0, 0.3, 6)),  # three on each, and a tenth of each is nobody's
        (1, 16, 2, {"gpus_per_worker": 0.0}, (1.0, 0.0, 16)),
        (2, 16, 8, {}, (2.0, 1.0, 4)),
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


def test_weights_that_are_not_there_are_missed_in_words(tmp_path: Path) -> None:
    job = Job(base=BASE, output=str(tmp_path), cpus_per_worker=1.0, where="r.toml")
    rows = [TrialEpoch(epoch=1, val_top1=0.5, order=0, generation=0)]
    taker, donor = (Record(number=n, values={"optim.lr": 1e-3}, seed=n, rows=rows, settled=1) for n in range(2))
    words = r"0001: trial 0 should go on from the state of trial 1 after epoch 1, but there is none. Put the file back"
    with pytest.raises(UserError, match=words):
        run._exchange(job)(Exchange(taker, donor, {"optim.lr": 1e-3}))


def formula(job: Job, leg: Leg, recipe: TrainRecipe, folder: str, emit: Callable[[Event], None]) -> None:
    """In place of a training: the later a trial, the worse. It ends slowly, as one with much to write does."""
    try:
        for epoch in range(leg.heard + 1, recipe.epochs + 1):
            row = EpochRow(epoch=epoch, val_top1=1 - leg.number / 10, val_loss=1.0)
            emit(EpochDone(row=row, num_epochs=4, is_best=False, best_epoch=1, best_top1=0.0, data_wait=0.0))
    finally:
        time.sleep(4)


def run_formula(job: Job, config: Mapping[str, str]) -> None:
    state = SimpleNamespace(epoch=job.base.epochs, history=[])
    vars(trials).update(_train=formula, load_state=lambda _: state)  # here, in the process of a trial
    if job.where == "impatient":
        os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "1"
    trials.run_leg(job, config)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", ["patient", "impatient"])
def test_a_process_that_is_slow_to_let_go_of_a_trial(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """It is waited for; where it is not, the next trial is begun again, and the search does not wait for ever."""
    monkeypatch.setattr(run, "run_leg", run_formula)
    tune = replace(TUNE, scheduler="asha", trials=3, concurrent=1)
    job = Job(base=replace(BASE, epochs=4, tune=tune), output=str(tmp_path), cpus_per_worker=1.0, where=where)
    records = search(job, read_space(tune, job.base, where), [], Resources(), lambda *_: None)
    assert [record.state for record in records] == ["finished", "stopped", "stopped"]
    assert [record.epoch for record in records] == [4, 1, 1]
    assert ("Ray gave it up" in capsys.readouterr().err) is (where == "impatient")


def group_of_workers(folder: Path) -> TrainRecipe:
    """A recipe of two workers, on a small set that is made for it."""
    shards = make_set(make_rows(folder / "videos", [6] * 12), folder / "rgb", FrameRecipe(resize="none"))
    data = DataRecipe(shards=shards.uri, clip_length=4, crop_size=32)
    model = ModelRecipe(backbone="resnet18", head="tgap", width=0.125)
    return replace(BASE, data=data, model=model, workers=2, batch_size=4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_group_of_workers_that_is_stopped_makes_room(ray_cluster: Any, tmp_path: Path) -> None:
    tune = TuneRecipe(space={"optim.lr": {"grid": [1e-3, 0.3]}}, metric="val_loss", trials=3, concurrent=2, reduction=2)
    base = replace(group_of_workers(tmp_path), epochs=40, tune=tune)
    job = Job(base=base, output=str(tmp_path), cpus_per_worker=1.0, where="r.toml")
    records = search(job, read_space(tune, base, "r.toml"), [], Resources(), lambda *_: None)
    stopped = [record for record in records if record.state == "stopped"]
    assert stopped
    assert {record.state for record in records} == {"finished", "stopped"}
    for record in stopped:  # its workers went with it, and did not train on for nobody
        state = load_state(trial_folder(str(tmp_path), record.number))
        assert state is None or state.epoch < 40
    until = time.monotonic() + 60
    while sum(node.cpus for node in free_nodes()) < ray_cluster.num_cpus:
        assert time.monotonic() < until
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trials_that_are_groups_of_workers_take_over_as_well(ray_cluster: Any, tmp_path: Path) -> None:
    base = group_of_workers(tmp_path)
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
