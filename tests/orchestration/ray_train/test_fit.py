"""Training on Ray Train: what the driver hears, and that a lost worker costs time and nothing else."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.orchestration.ray_train.fit import fit
from kinebert.pipelines import evaluate as evaluate_program
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.checkpoints.state import load_state
from kinebert.training.evaluation.evaluate import evaluate, read_scores
from kinebert.training.loop.events import EpochDone, Event, Restarted, Started, StepDone
from kinebert.training.loop.loop import TrainSummary, WorkerContext, train
from kinebert.training.out_of_memory import out_of_memory
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, OptimRecipe, TrainRecipe
from tests.helpers.sets import make_rows, make_set
from tests.helpers.small_training import kinds, numbers
from tests.helpers.without_ray import fit_here


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("fit")
    return make_set(make_rows(folder / "videos", [6] * 12), folder / "rgb", FrameRecipe(resize="none"))


@pytest.fixture(scope="module")
def recipe(shards: ShardSet) -> TrainRecipe:
    return TrainRecipe(
        data=DataRecipe(shards=shards.uri, clip_length=4, crop_size=32),
        model=ModelRecipe(backbone="resnet18", head="bert", width=0.125, dropout=0.2),
        optim=OptimRecipe(lr=1e-3),
        batch_size=4,
        micro_batch=2,
        epochs=2,
    )


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def alone(recipe: TrainRecipe, shards: ShardSet, output: Path) -> TrainSummary:
    """Train in this process, without a cluster, as long as it takes."""
    return train(recipe, shards, WorkerContext(num_threads=1), str(output), lambda _: None)


def weights(output: Path) -> dict[str, torch.Tensor]:
    state = load_state(str(output))
    assert state is not None
    return state.weights


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_workers_train_like_one_and_the_driver_hears_all(
    ray_cluster: Any, shards: ShardSet, recipe: TrainRecipe, tmp_path: Path, workers: int
) -> None:
    events: list[Any] = []
    recipe = replace(recipe, amp="fp64", micro_batch=4 // workers)
    result = fit(replace(recipe, workers=workers), str(tmp_path / "two"), events.append, cpus_per_worker=1)
    assert kinds(events) == ["Started", *(["StepDone"] * 2 + ["EpochDone"]) * 2, "Ended"]
    assert (events[0].world_size, events[0].train_videos, events[0].val_videos) == (workers, 8, 4)
    assert [event.global_step for event in events if isinstance(event, StepDone)] == [1, 2, 3, 4]
    assert all(0 <= event.data_wait <= 1 for event in events if isinstance(event, StepDone))
    one = alone(recipe, shards, tmp_path / "one")
    assert len(result.summary.history) == 2
    for ours, theirs in zip(result.summary.history, one.history, strict=True):
        # the same clips in the same micro-batches; only the order of sums differs
        for name in ("train_loss", "val_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-6), name
    recognizer, info = load_recognizer(result.summary.checkpoint)
    assert info.epoch == result.summary.best["epoch"] == events[-1].best_epoch
    again = evaluate(recognizer, shards, recipe.data, part="val")
    assert result.val_scores.video_ids == again.video_ids
    assert result.val_scores.scores == pytest.approx(again.scores, rel=1e-4, abs=1e-5)
    assert result.val_scores.metrics().top[1] == pytest.approx(result.summary.best["val_top1"])
    assert not (tmp_path / "two" / ".ray").exists()


def test_the_validation_report_says_what_an_evaluation_of_the_checkpoint_says(
    recipe: TrainRecipe, tmp_path: Path
) -> None:
    """Also where a CPU trains in half precision: it scores in full precision, here and there."""
    recipe = replace(recipe, amp="bf16", epochs=1, data=replace(recipe.data, crop_size=64))
    result = fit_here(recipe, str(tmp_path), lambda _: None)
    options = ["--part", "val", "--views", "single", "--device", "cpu"]
    assert evaluate_program.cli([result.summary.checkpoint, *options]) == 0
    scores = read_scores(str(tmp_path / "split1-val-single" / "scores.parquet"))
    assert scores.video_ids == result.val_scores.video_ids
    # threads may add up in another order; half precision is off by 1e-2
    assert result.val_scores.scores == pytest.approx(scores.scores, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_a_killed_worker_goes_on_to_the_same_bits(
    ray_cluster: Any, shards: ShardSet, recipe: TrainRecipe, tmp_path: Path
) -> None:
    import psutil  # Ray brings it along, and must be imported before

    recipe = replace(recipe, epochs=40, save_every_s=0)
    events: list[Any] = []

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochDone) and event.row["epoch"] == 2:
            (worker,) = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in p.name()]
            os.kill(worker.pid, signal.SIGKILL)

    result = fit(recipe, str(tmp_path / "killed"), hear, cpus_per_worker=1)
    assert [kinds(events).count(name) for name in ("Started", "Restarted", "Ended")] == [2, 1, 1]
    second = [event for event in events if isinstance(event, Started)][1]
    assert second.resumed is not None
    assert second.resumed[0] >= 2
    summary = alone(recipe, shards, tmp_path / "alone")
    assert numbers(result.summary.history) == numbers(summary.history)
    expected = weights(tmp_path / "alone")
    for name, value in weights(tmp_path / "killed").items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.slow
def test_a_finished_training_is_not_done_again(
    ray_cluster: Any, shards: ShardSet, recipe: TrainRecipe, tmp_path: Path
) -> None:
    summary = alone(recipe, shards, tmp_path)
    events: list[Any] = []
    result = fit(recipe, str(tmp_path), events.append, cpus_per_worker=1)
    assert kinds(events) == ["Started", "Ended"]
    assert result.summary.history == summary.history


@pytest.mark.slow  # test_first_step.py has another error that goes the same way
def test_what_a_user_must_do_arrives_as_it_was_said(
    ray_cluster: Any, shards: ShardSet, recipe: TrainRecipe, tmp_path: Path
) -> None:
    """Found out in a worker, by the first step; not tried again."""
    wild = replace(recipe, optim=OptimRecipe(name="sgd", lr=1e30, max_grad_norm=1e30))
    events: list[Any] = []
    with pytest.raises(UserError, match=r"epoch 1, step 2: .*set a lower optim.lr"):
        fit(wild, str(tmp_path), events.append, cpus_per_worker=1)
    assert "Restarted" not in kinds(events)
    assert not (tmp_path / ".ray").exists()


def test_more_than_the_cluster_has_is_refused_before_anything_starts(
    ray_cluster: Any, recipe: TrainRecipe, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"with 3 CPUs each need 6, the cluster has 4, and 4 on its largest"):
        fit(replace(recipe, workers=2), str(tmp_path), lambda _: None, cpus_per_worker=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_and_training_goes_on(
    ray_cluster: Any, shards: ShardSet, recipe: TrainRecipe, tmp_path: Path
) -> None:
    """Stopped as a machine that swaps or a dead disk stops a process: it cannot say anything any more."""
    import psutil

    recipe = replace(recipe, epochs=30, workers=2, save_every_s=0, hang_after_s=8)
    events: list[Any] = []
    stopped: list[Any] = []

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochDone) and not stopped:
            workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in p.name()]
            stopped.append(workers[0])
            os.kill(workers[0].pid, signal.SIGSTOP)

    fit(recipe, str(tmp_path / "hung"), hear, cpus_per_worker=1)
    (restart,) = [event for event in events if isinstance(event, Restarted)]
    assert restart.hung
    named = restart.reason.partition(" no longer answers, while rank ")
    assert named[0] in ("rank 0", "rank 1")
    assert named[2].startswith(("0 was computing in epoch", "1 was computing in epoch", "0 was adding", "1 was adding"))
    (stacks,) = (tmp_path / "hung").glob("stacks-*.txt")
    assert f"stacks of all: {stacks}" in restart.reason
    assert 'File "' in stacks.read_text()
    assert not stopped[0].is_running()
    summary = alone(replace(recipe, workers=1), shards, tmp_path / "alone")
    assert kinds(events)[-1] == "Ended"
    assert len(summary.history) == 30


@pytest.mark.slow
def test_a_training_that_hangs_again_and_again_ends_with_a_word(
    ray_cluster: Any, shards: ShardSet, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinebert.orchestration.ray_train import fit as fitting

    monkeypatch.setattr(fitting, "MAX_RESTARTS", 0)
    slow = replace(recipe, hang_after_s=0.01)
    with pytest.raises(
        UserError, match=r"training hung 1 times at the same step; rank 0 stood still for .*stacks of all"
    ):
        fit(slow, str(tmp_path), lambda _: None, cpus_per_worker=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_workers": 2}, "min_workers must lie between 0 and workers = 1, got 2"),
        (
            {"workers": 2, "min_workers": 1, "sync_norm": True},
            "sync_norm makes the number of workers a part of the run",
        ),
    ],
)
def test_ranges_of_workers_that_are_none(recipe: TrainRecipe, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(recipe, **changes)


def test_out_of_memory_says_what_was_held_and_what_to_lower(recipe: TrainRecipe) -> None:
    told = out_of_memory(recipe)
    assert told.startswith(
        "Each worker held micro_batch = 2 clips of 4 images of 32 px (in validation, eval_batch = 16)"
    )
    assert "lower micro_batch" in told


@pytest.mark.slow
def test_workers_that_are_killed_again_and_again(
    ray_cluster: Any, shards: ShardSet, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a system that has no memory left."""
    import psutil

    from kinebert.orchestration.ray_train import fit as fitting

    monkeypatch.setattr(fitting, "MAX_RESTARTS", 0)

    def hear(event: Event) -> None:
        for process in psutil.Process().children(recursive=True):
            if isinstance(event, Started) and "RayTrainWorker" in process.name():
                process.kill()

    with pytest.raises(
        UserError, match=r"workers were killed 1 times .*runs out of memory .*micro_batch = 2 clips of 4"
    ):
        fit(replace(recipe, epochs=40), str(tmp_path), hear, cpus_per_worker=1)
