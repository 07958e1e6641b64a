"""How many workers a training gets of a cluster, and what each of them holds."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Literal

from kinebert.orchestration import cluster

# isort: split
import ray
import torch
from ray.util.placement_group import PlacementGroup, get_current_placement_group, remove_placement_group

from kinebert.orchestration.ray_train import scaling
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.machine import available_cores
from kinebert.training.data.loader import num_loaders
from kinebert.training.recipe.train import TrainRecipe

ROOM_WAIT_S = 1800.0
"""Seconds that is waited for room: for nodes that were lost or asked for, and for what other programs hold."""
_SETTLE_S = 120.0
"""Seconds after the last node that an autoscaler has brought, in which others of those asked for may follow."""
_POLL_S = 5.0
_ROOM_FILE = "room.txt"


@dataclass(frozen=True)
class WorkerPlan:
    """A training on as many workers as there is room for."""

    recipe: TrainRecipe
    cpus: float
    """Logical ones that each worker holds."""
    use_gpu: bool


def plan_workers(
    recipe: TrainRecipe,
    cpus_per_worker: float | None,
    device: str,
    free_only: bool = False,
    refused: int | None = None,
) -> WorkerPlan:
    """Choose the number of workers by what the nodes of the cluster have now, CPUs and GPUs node by node.

    Args:
        recipe: Says how many are wanted, and may say how few will do.
        cpus_per_worker: Logical CPUs that each worker holds. None shares out a private cluster; elsewhere it is one for
            the worker and one for each process that loads clips for it, or fewer where there are no more.
        device: ``auto`` takes a GPU for each worker if the cluster has any, or can start nodes that have; or ``cpu``,
            ``cuda``.
        free_only: Leave out what other programs hold; if that is too little for the fewest, it is taken for free.
        refused: A number that could not be started although it seemed free (GPUs in shares, say): fewer are tried.

    Raises:
        UserError: If the cluster has too little for the fewest that the recipe allows.
    """
    found = _Machines(cluster.present(), cluster.nodes())
    use_gpu = _takes_gpus(device, there=found.all.num_gpus > 0)
    plans = _plans_on(found, recipe, cpus_per_worker, use_gpu)
    free = list(_fitting(recipe, cpus_per_worker, use_gpu, found, cluster.free_nodes())) if free_only else plans
    if len(free) > 1 and free[0].recipe.workers == refused:
        free = free[1:]
    return (free or plans)[0]


def plan_here(recipe: TrainRecipe, cpus_per_worker: float | None, device: str) -> WorkerPlan:
    """Choose as :func:`plan_workers` does on the private cluster that a training would start, without starting one.

    Raises:
        UserError: If this machine has too little for the fewest that the recipe allows.
    """
    cpus, gpus = max(available_cores(), recipe.workers), torch.cuda.device_count()
    found = _Machines(cluster.Cluster(cpus, gpus, private=True), [cluster.Node(cpus, gpus)])
    return _plans_on(found, recipe, cpus_per_worker, _takes_gpus(device, there=gpus > 0))[0]


@dataclass(frozen=True)
class _Machines:
    """A cluster, all of it and node by node."""

    all: cluster.Cluster
    nodes: Sequence[cluster.Node]


def _plans_on(found: _Machines, recipe: TrainRecipe, cpus_per_worker: float | None, use_gpu: bool) -> list[WorkerPlan]:
    plans = list(_fitting(recipe, cpus_per_worker, use_gpu, found, found.nodes))
    if not plans:
        raise _too_little(recipe, cpus_per_worker or 1.0, use_gpu, found)
    return plans


def _fitting(
    recipe: TrainRecipe,
    cpus_per_worker: float | None,
    use_gpu: bool,
    found: _Machines,
    nodes: Sequence[cluster.Node],
) -> Iterator[WorkerPlan]:
    """Yield the plans that fit on ``nodes``, all that was found or a part of it, most workers first."""
    for num in recipe.sizes():
        if cpus_per_worker is not None:
            wishes = [cpus_per_worker]
        elif found.all.private:
            wishes = [float(max(1, found.all.num_cpus // num))]
        else:  # of the whole nodes: what others hold for a while does not make a GPU need fewer
            most = wanted_cpus(recipe.loader_workers, cluster.cores_per_gpu(found.nodes) if use_gpu else None)
            wishes = [float(cpus) for cpus in range(most, 0, -1)]
        cpus = next((some for some in wishes if num <= cluster.room(nodes, some, float(use_gpu))), None)
        if cpus is not None:
            yield WorkerPlan(recipe.on(num), cpus, use_gpu)


def wanted_cpus(loader_workers: int | Literal["auto"], cores_per_gpu: int | None) -> int:
    """Return how many CPUs a worker wants to hold: one for itself, and one for each process that loads clips for it.

    Args:
        loader_workers: As in a recipe; ``auto`` takes the share of a GPU's node.
        cores_per_gpu: See :func:`.cluster.cores_per_gpu`; None without GPUs.
    """
    device = torch.device("cuda" if cores_per_gpu else "cpu")
    return 1 + num_loaders(loader_workers, device, cores_per_gpu)


def _takes_gpus(device: str, there: bool = False) -> bool:
    """Whether workers take GPUs: if they are told to, or may choose and some are there or may come."""
    return device == "cuda" or (device == "auto" and (there or _gpus_may_come()))


def _gpus_may_come() -> bool:
    most = scaling.may_grow_to()
    return most is not None and 0 < most.gpus < math.inf  # of one that does not say, nobody knows that it has any


def _too_little(recipe: TrainRecipe, cpus: float, use_gpu: bool, found: _Machines) -> UserError:
    there, least = found.all, recipe.sizes()[-1]
    if use_gpu and least > there.num_gpus:
        named = "min_workers" if least < recipe.workers else "workers"
        return UserError(
            f"{named} = {least}, but the cluster has {there.num_gpus} GPUs and a worker takes one. Ask for fewer "
            "workers" + (", or --device cpu." if not there.num_gpus else ".")
        )
    largest = max((node.cpus for node in found.nodes), default=0.0)
    return UserError(
        f"workers = {least} with {cpus:g} CPUs each need {least * cpus:g}, the cluster has {there.num_cpus}, and "
        f"{largest:g} on its largest node. Ask for fewer workers, or fewer CPUs for each."
    )


def first_plan(
    recipe: TrainRecipe, cpus_per_worker: float | None, device: str, tell: Callable[[str], None]
) -> WorkerPlan:
    """Plan a training that begins: a cluster that can start nodes is asked for them and waited for.

    Raises:
        UserError: If the cluster has too little and nothing starts nodes, or what starts them does not go so far, or
            they have not come within ROOM_WAIT_S.
    """
    try:
        return plan_workers(recipe, cpus_per_worker, device)
    except UserError as error:
        most, least, cpus = scaling.may_grow_to(), recipe.sizes()[-1], cpus_per_worker or 1.0
        if most is None:
            raise
        use_gpu = _takes_gpus(device)
        if least * cpus > most.cpus or (use_gpu and least > most.gpus):
            raise UserError(
                f"{error} Its autoscaler goes up to {most.cpus:g} CPUs and {most.gpus:g} GPUs, not further."
            ) from None
    return plan_when_there_is_room(recipe, cpus_per_worker, device, tell)


def plan_when_there_is_room(
    recipe: TrainRecipe,
    cpus_per_worker: float | None,
    device: str,
    tell: Callable[[str], None],
    free_only: bool = False,
    refused: int | None = None,
) -> WorkerPlan:
    """Wait for nodes that were lost to come back, or others in their place, for ROOM_WAIT_S at most.

    Where an autoscaler starts nodes, it is asked for as many as the recipe wants. What it brings is taken once it is
    enough for all workers, or enough for the fewest and nothing has followed for a while.
    """
    until, told = time.monotonic() + ROOM_WAIT_S, False
    with ExitStack() as asking:
        coming: _Coming | None = None
        while True:
            try:
                plan = plan_workers(recipe, cpus_per_worker, device, free_only, refused)
                if coming is None or plan.recipe.workers >= coming.wanted or coming.settled():
                    return plan
            except UserError as error:
                if time.monotonic() >= until:
                    raise
                if not told:
                    coming = _ask(recipe, cpus_per_worker, device, asking)
                    how = "waiting for nodes to come back" if coming is None else coming.about
                    tell(f"{how}: {error} {at_most()}")
                told = True
            time.sleep(_POLL_S)


class _Coming:
    """Nodes that an autoscaler was asked for, for so many workers."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._seen, self._changed_at = cluster.nodes(), time.monotonic()
        self.about = f"asking the cluster for nodes for {wanted} workers"

    def settled(self) -> bool:
        """Whether nothing has come for a while."""
        seen = cluster.nodes()
        if seen != self._seen:
            self._seen, self._changed_at = seen, time.monotonic()
        return time.monotonic() - self._changed_at >= _SETTLE_S


def _ask(recipe: TrainRecipe, cpus_per_worker: float | None, device: str, asking: ExitStack) -> _Coming | None:
    """Ask an autoscaler, if there is one, for room for all workers, or for as many as it goes up to."""
    most = scaling.may_grow_to()
    if most is None:
        return None
    cpus, use_gpu = cpus_per_worker or 1.0, _takes_gpus(device)
    room = min(most.cpus / cpus, most.gpus if use_gpu else math.inf)
    wanted = next((num for num in recipe.sizes() if num <= room), recipe.sizes()[-1])
    asking.enter_context(scaling.asked_for([{"CPU": cpus, **({"GPU": 1.0} if use_gpu else {})}] * wanted))
    return _Coming(wanted)


def at_most() -> str:
    """Say how long room is waited for."""
    return f"This waits for {ROOM_WAIT_S / 60:g} minutes at most."


def check_device(recipe: TrainRecipe, device: str) -> None:
    """Find out, before anything is started, that a private cluster of this machine has not the GPUs asked for.

    Raises:
        UserError: If so.
    """
    if device != "cuda" or not cluster.is_private():
        return
    gpus, least = torch.cuda.device_count(), recipe.sizes()[-1]
    if gpus < least:
        raise UserError(
            f"--device cuda: this machine has {gpus} GPUs that torch can use, the training wants {least}. Leave "
            "--device out, or ask for fewer workers."
        )


def remember_room(folder: str) -> None:
    """Write down, in a worker of Ray Train, which placement group holds it."""
    group = get_current_placement_group()
    if group is not None:
        storage.make_folder(folder)
        storage.write_bytes(storage.join(folder, _ROOM_FILE), group.id.hex().encode())


def free_room(folder: str) -> None:
    """Give back what the workers of a program hold that was killed: without a dashboard Ray Train does not."""
    uri = storage.join(folder, _ROOM_FILE)
    if not storage.exists(uri):
        return
    group = PlacementGroup(ray.PlacementGroupID.from_hex(storage.read_bytes(uri).decode()))
    with suppress(ray.exceptions.RayError, RuntimeError):  # the group may be of a cluster that is gone
        remove_placement_group(group)
    storage.delete_file(uri)
