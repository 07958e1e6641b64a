"""Clusters that start nodes when they are asked: here the nodes come from the test."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kinebert.orchestration import cluster
from kinebert.orchestration.ray_train import scaling, workers
from kinebert.orchestration.ray_train.workers import first_plan, plan_workers
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe

RECIPE = TrainRecipe(
    data=DataRecipe(shards="/nowhere", clip_length=4, crop_size=32),
    model=ModelRecipe(backbone="resnet18", head="bert", width=0.125),
    batch_size=8,
    micro_batch=2,
    workers=4,
    min_workers=2,
)
GPU_NODE = cluster.Node(8, 2)


class Scaled:
    """A head without GPUs, and an autoscaler that brings a node of two GPUs at every look, up to ``most`` of them."""

    def __init__(self, most: int, says: cluster.Node | None, come: int) -> None:
        self.most, self.says, self.come = most, says, come
        self.asked: list[list[dict[str, float]]] = []

    def nodes(self) -> list[cluster.Node]:
        if self.asked and self.asked[-1]:
            self.come = min(self.come + 1, self.most)
        return [cluster.Node(2, 0)] + [GPU_NODE] * self.come

    def present(self) -> cluster.Cluster:
        return cluster.Cluster(2 + 8 * self.come, 2 * self.come, False)

    def request(self, bundles: list[dict[str, float]]) -> None:
        self.asked.append(bundles)


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scaled]:
    def make(most: int, says: cluster.Node | None, come: int = 0) -> Scaled:
        made = Scaled(most, says, come)
        monkeypatch.setattr(cluster, "nodes", made.nodes)
        monkeypatch.setattr(cluster, "present", made.present)
        monkeypatch.setattr(scaling, "may_grow_to", lambda: made.says)
        monkeypatch.setattr(scaling, "request_resources", made.request)
        monkeypatch.setattr(workers, "_POLL_S", 0.0)
        return made

    return make


@pytest.mark.parametrize(
    ("device", "says"),
    [("cuda", cluster.Node(math.inf, math.inf)), ("cuda", cluster.Node(64, 8)), ("auto", cluster.Node(64, 8))],
)
def test_nodes_with_gpus_are_asked_for(scaled: Callable[..., Scaled], device: str, says: cluster.Node) -> None:
    found, told = scaled(3, says), list[str]()
    plan = first_plan(RECIPE, None, device, told.append)
    assert (plan.recipe.workers, plan.use_gpu) == (4, True)  # it has not begun with the two that came first
    assert found.asked == [[{"CPU": 1.0, "GPU": 1.0}] * 4, []]  # and takes the wish back
    (note,) = told
    assert note.startswith("asking the cluster for nodes for 4 workers: min_workers = 2, but the cluster has 0 GPUs")
    assert note.endswith("This waits for 30 minutes at most.")


def test_what_comes_is_taken_when_nothing_follows(
    scaled: Callable[..., Scaled], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scaled(1, cluster.Node(math.inf, math.inf))
    monkeypatch.setattr(workers, "_SETTLE_S", 0.05)
    assert first_plan(RECIPE, 2.0, "cuda", lambda _: None).recipe.workers == 2
    assert found.asked == [[{"CPU": 2.0, "GPU": 1.0}] * 4, []]


def test_an_autoscaler_that_does_not_go_so_far_is_not_asked(scaled: Callable[..., Scaled]) -> None:
    found = scaled(0, cluster.Node(18, 2))
    with pytest.raises(UserError, match=r"workers = 4, but the cluster has 0 GPUs .* goes up to 18 CPUs and 2 GPUs"):
        first_plan(replace(RECIPE, min_workers=0), None, "cuda", lambda _: None)
    assert found.asked == []
    found = scaled(1, cluster.Node(18, 2))
    assert first_plan(RECIPE, None, "cuda", lambda _: None).recipe.workers == 2
    assert found.asked[0] == [{"CPU": 1.0, "GPU": 1.0}] * 2


def test_nodes_that_do_not_come(scaled: Callable[..., Scaled], monkeypatch: pytest.MonkeyPatch) -> None:
    found = scaled(0, cluster.Node(math.inf, math.inf))
    monkeypatch.setattr(workers, "ROOM_WAIT_S", 0.05)
    with pytest.raises(UserError, match="min_workers = 2, but the cluster has 0 GPUs"):
        first_plan(RECIPE, None, "cuda", lambda _: None)
    assert found.asked[-1] == []  # or the cluster would go on starting them


def test_without_an_autoscaler_it_is_refused_at_once(scaled: Callable[..., Scaled]) -> None:
    found, told = scaled(0, None), list[str]()
    with pytest.raises(UserError, match=r"but the cluster has 0 GPUs .* --device cpu"):
        first_plan(RECIPE, None, "cuda", told.append)
    assert (found.asked, told) == ([], [])
    assert not plan_workers(replace(RECIPE, workers=2, min_workers=0), None, "auto").use_gpu


@pytest.mark.parametrize(
    ("status", "scales"),
    [
        ({"autoscaler_report": {"active_nodes": {"ray.head.default": 1}, "idle_nodes": None}}, True),
        ({"autoscaler_report": {"active_nodes": {"node_170b5e42": 1}, "idle_nodes": None}}, False),
        ({"autoscaler_report": {"active_nodes": {"node_170b5e42": 1}, "pending_launches": {"gpu": 2}}}, True),
        ({}, False),
        (None, False),
    ],
)
def test_an_autoscaler_is_told_from_one_that_only_looks_on(
    ray_cluster: Any, status: Any, scales: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reports are those of ``ray start --head`` with and without ``--autoscaling-config``."""
    assert scaling.may_grow_to() is None  # a private cluster
    monkeypatch.setattr(cluster, "is_private", lambda: False)
    monkeypatch.setattr(scaling, "_internal_kv_get", lambda _: None if status is None else json.dumps(status).encode())
    assert scaling.may_grow_to() == (cluster.Node(math.inf, math.inf) if scales else None)
