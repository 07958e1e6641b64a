"""What a cluster has, as its nodes tell it, and what is refused before one is started."""

import pytest

from kinebert.orchestration import cluster

# isort: split
import ray

from kinebert.orchestration.cluster import Node
from kinebert.preprocessing.errors import ConfigError, UserError


def test_only_the_living_nodes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0, "memory": 1e9}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
        {"Alive": True, "Resources": {"memory": 1e9}},  # a head that runs no tasks
    ]
    monkeypatch.setattr(ray, "nodes", lambda: told)
    assert cluster.nodes() == [Node(16.0, 2.0), Node(0.0, 0.0)]


@pytest.mark.parametrize(
    ("cpus", "gpus", "room"),
    [
        (1.0, 0.0, 16),
        (3.0, 0.0, 5),
        (0.1, 0.0, 160),
        (17.0, 0.0, 0),
        (1.0, 1.0, 2),
        (1.0, 0.5, 4),
        (1.0, 0.3, 6),  # three to a GPU; none spans two
        (6.0, 0.5, 2),
        (1.0, 0.1, 16),  # as many as there are cores
    ],
)
def test_room_for_tasks_on_a_node(cpus: float, gpus: float, room: int) -> None:
    assert Node(cpus=16.0, gpus=2.0).room(cpus, gpus) == room


def test_more_workers_than_this_machine_has_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cluster.GIVEN, raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_present", None)  # the tests' own does not count
    with pytest.raises(ConfigError, match="workers must be at least 1, got 0"):
        cluster.check_workers(0, "workers")
    with pytest.raises(ConfigError, match=r"workers = 100000, but this machine has \d+ cores. Ask for fewer"):
        cluster.check_workers(100_000, "workers")
    cluster.check_workers(1, "workers")
    monkeypatch.setenv(cluster.GIVEN, "10.0.0.7:6379")
    cluster.check_workers(100_000, "workers")  # what a given cluster has is known when it is joined
    assert not cluster.is_private()


def test_a_cluster_that_is_not_there_is_found_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv(cluster.GIVEN, "127.0.0.1:9")
    with pytest.raises(UserError, match="RAY_ADDRESS=127.0.0.1:9: no Ray cluster answers there"), cluster.cluster():
        pytest.fail("it was joined")


def test_cores_of_a_gpu() -> None:
    assert cluster.cores_per_gpu([Node(96, 8), Node(64, 2), Node(128, 0), Node(2, 0.5)]) == 12
    assert cluster.cores_per_gpu([Node(2, 8)]) == cluster.cores_per_gpu([Node(2, 0)]) == 1
