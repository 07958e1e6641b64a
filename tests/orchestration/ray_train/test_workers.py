"""How many workers a training gets of a cluster."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.orchestration import cluster
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
    monkeypatch.setattr(cluster, "free_cpus", lambda: 2.0)  # others hold ten
    assert plan_workers(replace(three, min_workers=1), 1.0, "cpu").recipe.workers == 3
    assert plan_workers(replace(three, min_workers=1), 1.0, "cpu", free_only=True).recipe.workers == 2
    assert plan_workers(three, 1.0, "cpu", free_only=True).recipe.workers == 3  # and waits
