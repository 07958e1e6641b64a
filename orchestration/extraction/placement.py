"""Where flow is solved and people are found: on GPUs by actors that stay, or on CPUs by tasks, by what there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kinebert.orchestration.cluster import Node, room
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.solvers import Solver

_RAY_STEP = 1e4  # Ray counts shares of a GPU in ten thousandths


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """How many tasks there may be, and what each holds."""

    workers: int | None = None
    """Most tasks at a time; by default as many as the cluster has CPUs for."""
    cpus_per_task: float = 1.0
    """Logical CPUs."""
    gpus_per_task: float | None = None
    """Share of a GPU; by default decided by what the cluster has."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How the tasks of an extraction are run."""

    solver: Solver
    gpus_per_task: float
    """Share of a GPU that each task holds. Above 0, tasks are actors: their solver and its GPU context stay warm."""
    num_actors: int
    """Actors that the cluster has room for; 0 where tasks are no actors."""
    about: str
    """For people."""


def place(
    solver: Solver,
    nodes: Sequence[Node],
    *,
    cpus_per_task: float,
    gpus_per_task: float | None = None,
    workers: int | None = None,
) -> Placement:
    """Decide who solves, where.

    Who can use GPUs goes to them if there are any, and then to those nodes alone: were the CPUs of others to help in
    another way, the bytes of a shard would depend on who came first. One GPU is fed by as many tasks as its node has
    cores for, and at most :attr:`.Solver.most_per_gpu`.

    Args:
        solver: Who works in the tasks, and whatever of that is wanted.
        nodes: Every living node of the cluster.
        cpus_per_task: Logical CPUs that a task holds.
        gpus_per_task: Share of a GPU that a task holds; None to decide here, 0 to leave the GPUs alone.
        workers: Most tasks at a time.

    Raises:
        ConfigError: If no node has what a task asks for.
    """
    able = [node for node in nodes if node.cpus >= cpus_per_task]
    if not able:
        most = max((node.cpus for node in nodes), default=0.0)
        raise ConfigError(f"cpus_per_task = {cpus_per_task:g}, but no node has more than {most:g} CPUs. Ask for fewer.")
    gpus = gpus_per_task
    if gpus is None:
        gpus = _share(able, cpus_per_task, solver.most_per_gpu) if solver.uses_gpu else 0.0
    threads = max(1, math.floor(cpus_per_task))
    if not gpus:
        return _on_cpus(solver, threads, has_gpu=any(node.gpus for node in nodes))
    homes = [node for node in able if node.gpus >= gpus]
    if not homes:
        raise ConfigError(
            f"gpus_per_task = {gpus:g}, but no node has that beside {cpus_per_task:g} CPUs. Ask for less, or for 0 to "
            "solve on CPUs."
        )
    placed = solver.placed(num_threads=threads, on_gpu=True)
    num_actors = room(homes, cpus_per_task, gpus)
    if workers is not None:
        num_actors = min(num_actors, workers)
    num_gpus = sum(int(node.gpus) for node in homes)
    fed = f"on {num_gpus} GPU{'s' if num_gpus > 1 else ''}, fed by {num_actors} tasks"
    return Placement(
        solver=placed,
        gpus_per_task=gpus,
        num_actors=num_actors,
        about=f"{placed.title}: {placed.backend} {fed}",
    )


def _on_cpus(solver: Solver, threads: int, has_gpu: bool) -> Placement:
    placed = solver.placed(num_threads=threads, on_gpu=False)
    about = f"{placed.title}: {placed.backend} on CPUs"
    if placed.backend == "torch":
        there = "gpus_per_task = 0" if has_gpu else "the cluster has no GPU"
        about += f" ({there}; slow: without a GPU --backend numba is 30 times as fast)"
    return Placement(solver=placed, gpus_per_task=0.0, num_actors=0, about=about)


def _share(nodes: Sequence[Node], cpus_per_task: float, most: int) -> float:
    """Share of a GPU that leaves no core of its node idle, on the node with most cores per GPU; 0 without a GPU."""
    shares = []
    for node in nodes:
        if node.gpus >= 1:
            tasks = math.ceil(node.cpus / cpus_per_task / int(node.gpus))
            shares.append(math.floor(_RAY_STEP / min(most, max(1, tasks))) / _RAY_STEP)
    return min(shares, default=0.0)
