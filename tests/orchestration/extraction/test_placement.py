"""Where flow is solved and people are found, on clusters of every kind."""

from dataclasses import replace

import pytest

from kinebert.orchestration.cluster import Node
from kinebert.orchestration.extraction.placement import Placement, place
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.tvl1 import Backend
from tests.helpers.poses import BRIGHT, bright_backend

CPU_NODE = Node(cpus=16.0, gpus=0.0)
LAPTOP = Node(cpus=2.0, gpus=0.0)


def gpu_node(cpus: float, gpus: float) -> Node:
    return Node(cpus, gpus)


def decide(
    backend: Backend, *nodes: Node, cpus: float = 1.0, gpus: float | None = None, workers: int | None = None
) -> Placement:
    return place(FlowSolver(backend=backend), nodes, cpus_per_task=cpus, gpus_per_task=gpus, workers=workers)


@pytest.mark.parametrize(
    ("cpus", "gpus", "share", "actors"),
    [
        (16, 1, 0.125, 8),  # more than eight would wait for the GPU
        (8, 1, 0.125, 8),
        (4, 1, 0.25, 4),
        (12, 4, 0.3333, 12),
        (8, 3, 0.3333, 8),  # a core has no third of a GPU to itself, but none is idle
        (2, 4, 1.0, 2),
        (192, 8, 0.125, 64),
    ],
)
def test_a_gpu_is_fed_by_the_cores_of_its_node(cpus: float, gpus: float, share: float, actors: int) -> None:
    for backend in ("auto", "torch"):
        found = decide(backend, gpu_node(cpus, gpus))
        assert (found.solver.backend, found.solver.on_gpu) == ("torch", True)
        assert (found.gpus_per_task, found.num_actors) == (share, actors)
        assert int(gpus) * int(1 / share) >= actors


def test_tasks_of_several_cores_and_limits_of_the_user() -> None:
    assert decide("auto", gpu_node(16, 1), cpus=4).gpus_per_task == 0.25
    assert decide("auto", gpu_node(16, 1), cpus=4).num_actors == 4
    assert decide("auto", gpu_node(16, 2), gpus=1.0).num_actors == 2
    assert decide("auto", gpu_node(16, 2), gpus=0.3).num_actors == 6  # three to a GPU; none spans two
    assert decide("auto", gpu_node(16, 1), workers=3).num_actors == 3
    assert decide("numba", LAPTOP, cpus=2.9 - 1).solver.num_threads == 1
    assert decide("numba", CPU_NODE, cpus=4).solver.num_threads == 4
    assert decide("numba", CPU_NODE, cpus=0.5).solver.num_threads == 1


def test_without_a_gpu_auto_is_numba_and_torch_is_warned_of() -> None:
    found = decide("auto", LAPTOP, CPU_NODE)
    assert (found.solver.backend, found.solver.on_gpu, found.gpus_per_task) == ("numba", False, 0.0)
    assert found.about == "solver: numba on CPUs"
    slow = decide("torch", LAPTOP)
    assert (slow.solver.backend, slow.solver.on_gpu, slow.gpus_per_task) == ("torch", False, 0.0)
    assert "the cluster has no GPU; slow: without a GPU --backend numba" in slow.about


def test_the_gpus_are_left_alone_if_the_user_says_so() -> None:
    for backend in ("numba", "opencv"):
        assert decide(backend, gpu_node(16, 1)).gpus_per_task == 0.0
    assert decide("auto", gpu_node(16, 1), gpus=0.0).solver.backend == "numba"
    assert "gpus_per_task = 0" in decide("torch", gpu_node(16, 1), gpus=0.0).about


def test_on_a_mixed_cluster_gpus_work_alone_so_that_bytes_do_not_depend_on_who_came_first() -> None:
    found = decide("auto", CPU_NODE, gpu_node(8, 1), LAPTOP, gpu_node(32, 4))
    assert found.solver.backend == "torch"
    assert found.gpus_per_task == 0.125
    assert found.num_actors == 8 + 32
    assert found.about == "solver: torch on 5 GPUs, fed by 40 tasks"
    few = decide("auto", gpu_node(4, 1), gpu_node(2, 1))
    assert (few.gpus_per_task, few.num_actors) == (0.25, 6)  # the richer node decides; cores limit the other
    assert decide("auto", CPU_NODE, gpu_node(1, 1), cpus=2).solver.backend == "numba"  # no core to feed that GPU


@pytest.mark.parametrize(
    ("backend", "cpus", "gpus", "words"),
    [
        ("auto", 99.0, None, "cpus_per_task = 99, but no node has more than 16 CPUs"),
        ("torch", 1.0, 0.5, "gpus_per_task = 0.5, but no node has that beside 1 CPUs"),
    ],
)
def test_what_ray_would_wait_for_forever_is_refused(backend: Backend, cpus: float, gpus: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        decide(backend, CPU_NODE, LAPTOP, cpus=cpus, gpus=gpus)


def test_people_are_found_on_gpus_by_backends_that_can_use_them() -> None:
    files = {"network": "x.pth"}
    for uses_gpu in (True, False):
        with bright_backend(replace(BRIGHT, uses_gpu=uses_gpu)):
            finder = PoseFinder(backend="bright", files=files)
            found = place(finder, [CPU_NODE, gpu_node(16, 2)], cpus_per_task=2.5)
            assert isinstance(found.solver, PoseFinder)
            assert found.solver == PoseFinder(backend="bright", files=files, num_threads=2, on_gpu=uses_gpu)
            if uses_gpu:
                assert (found.gpus_per_task, found.num_actors) == (0.25, 6)
                assert found.about == "poses: bright on 2 GPUs, fed by 6 tasks"
                assert place(finder, [gpu_node(32, 1)], cpus_per_task=1).gpus_per_task == 0.25  # not 32 networks
                assert place(finder, [gpu_node(8, 1)], cpus_per_task=1, gpus_per_task=0.0).gpus_per_task == 0.0
            else:
                assert (found.gpus_per_task, found.num_actors) == (0.0, 0)
                assert found.about == "poses: bright on CPUs"
