"""How many workers a training gets of a cluster."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.orchestration import cluster
from kinebert.orchestration.ray_train import fit as fit_module
from kinebert.orchestration.ray_train import workers
from kinebert.orchestration.ray_train.fit import fit
from kinebert.orchestration.ray_train.workers import check_device, plan_when_there_is_room, plan_workers
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe


@pytest.fixture
def recipe() -> TrainRecipe:
    return TrainRecipe(
        data=DataRecipe(shards="/nowhere", clip_length=4, crop_size=32),
        model=ModelRecipe(backbone="resnet18", head="bert", width=0.125),
        batch_size=4,
        micro_batch=2,
        epochs=2,
    )


def test_gpus_that_are_not_there_are_refused_before_anything_starts(
    ray_cluster: Any, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match=r"workers = 1, but the cluster has 0 GPUs .*or --device cpu"):
        fit(recipe, str(tmp_path), lambda _: None, device="cuda")
    monkeypatch.setattr(cluster, "is_private", lambda: True)
    with pytest.raises(UserError, match=r"--device cuda: this machine has 0 GPUs that torch can use, .* wants 2"):
        check_device(replace(recipe, workers=2), "cuda")
    check_device(recipe, "auto")
    assert list(tmp_path.iterdir()) == []


def test_as_many_workers_as_there_is_room_for(ray_cluster: Any, recipe: TrainRecipe) -> None:
    many = replace(recipe, batch_size=24, micro_batch=2, workers=12, min_workers=1)
    assert many.sizes() == [12, 6, 4, 3, 2, 1]  # that 12 micro-batches can be dealt out to
    assert many.digest() == replace(recipe, batch_size=24, micro_batch=2).digest()
    placed = plan_workers(many, 1.0, "auto")  # on 4 CPUs
    assert (placed.recipe.workers, placed.recipe.batch_size) == (4, 24)
    assert plan_workers(many, 1.5, "cpu").recipe.workers == 2
    with pytest.raises(UserError, match="workers = 6 with 1 CPUs each need 6, the cluster has 4"):
        plan_workers(replace(many, min_workers=5), 1.0, "auto")


def test_nodes_that_come_back_are_waited_for(
    ray_cluster: Any, recipe: TrainRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = iter([1, 1, 1, 1, 2])
    monkeypatch.setattr(cluster, "present", lambda: cluster.Cluster(1, 0, False))
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node(next(rooms), 0)])
    monkeypatch.setattr(workers, "_POLL_S", 0.0)
    told: list[str] = []
    placed = plan_when_there_is_room(replace(recipe, workers=2), None, "cpu", told.append)
    assert placed.recipe.workers == 2
    (note,) = told
    assert note.startswith("waiting for nodes to come back: workers = 2 with 1 CPUs each need 2, the cluster has 1")
    monkeypatch.setattr(workers, "ROOM_WAIT_S", 0.0)
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node(1, 0)])
    with pytest.raises(UserError, match="workers = 2 with 1 CPUs each need 2, the cluster has 1"):
        plan_when_there_is_room(replace(recipe, workers=2), None, "cpu", told.append)


def test_workers_must_fit_on_nodes_and_wait_for_others_only_as_long_as_they_must(
    recipe: TrainRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "present", lambda: cluster.Cluster(12, 2, False))
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node(6, 2), cluster.Node(6, 0)])
    three = replace(recipe, batch_size=6, micro_batch=1, workers=3)
    with pytest.raises(UserError, match="need 12, the cluster has 12, and 6 on its largest node"):
        plan_workers(three, 4.0, "cpu")
    assert plan_workers(replace(three, min_workers=1), 4.0, "cpu").recipe.workers == 2
    assert plan_workers(three, 2.0, "cpu").recipe.workers == 3
    with pytest.raises(UserError, match="workers = 3, but the cluster has 2 GPUs"):
        plan_workers(three, 1.0, "auto")
    monkeypatch.setattr(cluster, "free_nodes", lambda: [cluster.Node(2, 2), cluster.Node(0, 0)])  # others hold ten
    assert plan_workers(replace(three, min_workers=1), 1.0, "cpu").recipe.workers == 3
    assert plan_workers(replace(three, min_workers=1), 1.0, "cpu", free_only=True).recipe.workers == 2
    assert plan_workers(three, 1.0, "cpu", free_only=True).recipe.workers == 3  # and waits


def test_gpus_of_others_are_left_out_of_a_range(recipe: TrainRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "present", lambda: cluster.Cluster(96, 8, False))
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node(96, 8)])
    many = replace(recipe, batch_size=16, workers=8, min_workers=4)
    for free, planned in [(4.0, 4), (8.0, 8), (7.5, 4), (3.0, 8)]:  # 3: too few even for the fewest; all are waited for
        monkeypatch.setattr(cluster, "free_nodes", lambda free=free: [cluster.Node(88, free)])
        assert plan_workers(many, None, "auto", free_only=True).recipe.workers == planned
        assert plan_workers(many, None, "auto").recipe.workers == 8
    monkeypatch.setattr(cluster, "free_nodes", lambda: [cluster.Node(92, 4), cluster.Node(0, 4)])
    assert plan_workers(many, None, "auto", free_only=True).recipe.workers == 4  # a GPU without a CPU beside it is none
    monkeypatch.setattr(cluster, "free_nodes", lambda: [cluster.Node(96, 8)])  # eight halves, say
    assert plan_workers(many, None, "auto", free_only=True, refused=8).recipe.workers == 4


@pytest.mark.parametrize(
    ("loader_workers", "cores", "free", "booked"),
    [
        ("auto", 96, (88, 4), 12.0),  # the share of a GPU, and so 11 loaders
        (3, 96, (88, 4), 4.0),
        (0, 96, (88, 4), 1.0),
        (40, 96, (88, 4), 22.0),  # all that is left for four
        ("auto", 96, (10, 4), 2.0),
        ("auto", 4, (4, 4), 1.0),
    ],
)
def test_a_worker_books_a_cpu_for_each_of_its_loaders(
    recipe: TrainRecipe, monkeypatch: pytest.MonkeyPatch, loader_workers: Any, cores: int, free: Any, booked: float
) -> None:
    monkeypatch.setattr(cluster, "present", lambda: cluster.Cluster(cores, 8, False))
    monkeypatch.setattr(cluster, "nodes", lambda: [cluster.Node(cores, 8), cluster.Node(4, 0)])
    monkeypatch.setattr(cluster, "free_nodes", lambda: [cluster.Node(*free)])
    four = replace(recipe, batch_size=16, workers=4, loader_workers=loader_workers)
    plan = plan_workers(four, None, "auto", free_only=True)
    assert (plan.recipe.workers, plan.cpus, plan.recipe.loader_workers) == (4, booked, loader_workers)
    assert plan_workers(four, 0.5, "auto").cpus == 0.5
    assert plan_workers(replace(four, loader_workers="auto"), None, "cpu").cpus == 1.0


@pytest.mark.slow
def test_what_real_actors_hold_is_left_out(tmp_path: Path) -> None:
    """Ray with GPUs that it only believes in, four of which an actor holds."""
    script = tmp_path / "planning.py"
    script.write_text(PLANNING)
    environment = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["8", "4"], done.stderr


PLANNING = """
import ray
ray.init(address="local", num_cpus=96, num_gpus=8, object_store_memory=80 * 2**20, include_dashboard=False)
from kinebert.orchestration import cluster
from kinebert.orchestration.ray_train.workers import plan_workers
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
recipe = TrainRecipe(data=DataRecipe(shards="/nowhere"), batch_size=64, micro_batch=8, workers=8, min_workers=4)
print(plan_workers(recipe, None, "auto", free_only=True).recipe.workers)
class Other:
    def ready(self): pass
other = ray.remote(num_cpus=8, num_gpus=4)(Other).remote()
ray.get(other.ready.remote())
import time
until = time.monotonic() + 60
while sum(node.gpus for node in cluster.free_nodes()) > 4 and time.monotonic() < until:
    time.sleep(0.2)
print(plan_workers(recipe, None, "auto", free_only=True).recipe.workers)
"""


def test_room_that_others_hold_is_waited_for_only_so_long(
    ray_cluster: Any, recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def no_room(plan: workers.WorkerPlan, *_: Any) -> None:
        tried.append(plan.recipe.workers)
        if len(tried) == 3:
            monkeypatch.setattr(fit_module, "ROOM_WAIT_S", 0.0)
        raise fit_module._NoRoomError

    monkeypatch.setattr(fit_module, "_fit_once", no_room)
    events: list[Any] = []
    many = replace(recipe, batch_size=8, workers=4, min_workers=1)
    with pytest.raises(UserError, match=r"no room for 4 workers of 1 CPUs each came free .* smaller min_workers"):
        fit(many, str(tmp_path), events.append, cpus_per_worker=1.0, device="cpu")
    assert tried == [4, 2, 4]  # what could not be started is not tried at once again
    texts = [event.text for event in events]
    (waiting,) = [text for text in texts if text.startswith("waiting for workers")]
    assert waiting.endswith("This waits for 30 minutes at most.")
