"""How many workers a training gets of a cluster, and what each of them holds."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from kinebert.orchestration import cluster

# isort: split
import ray
import torch
from ray.util.placement_group import PlacementGroup, get_current_placement_group, remove_placement_group

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import TrainRecipe

ROOM_WAIT_S = 1800.0
"""Seconds that a training whose nodes were lost waits for others."""
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
    recipe: TrainRecipe, cpus_per_worker: float | None, device: str, free_only: bool = False
) -> WorkerPlan:
    """Choose the number of workers by what the nodes of the cluster have now.

    Args:
        recipe: Says how many are wanted, and may say how few will do.
        cpus_per_worker: Logical CPUs that each worker holds; None shares out a private cluster, and is 1 elsewhere.
        device: ``auto`` takes a GPU for each worker if the cluster has any; or ``cpu``, ``cuda``.
        free_only: Leave out what other programs hold; if that is too little for the fewest, it is taken for free.

    Raises:
        UserError: If the cluster has too little for the fewest that the recipe allows.
    """
    found = cluster.present()
    use_gpu = device == "cuda" or (device == "auto" and found.num_gpus > 0)
    nodes, free = cluster.nodes(), cluster.free_cpus() if free_only else math.inf
    plans = []
    for num in recipe.sizes():
        cpus = cpus_per_worker or (float(max(1, found.num_cpus // num)) if found.private else 1.0)
        if num <= sum(node.room(cpus, 1.0 if use_gpu else 0.0) for node in nodes):
            plans.append(WorkerPlan(recipe.on(num), cpus, use_gpu))
    if plans:
        return next((plan for plan in plans if plan.recipe.workers * plan.cpus <= free), plans[0])
    least = recipe.sizes()[-1]
    if use_gpu and least > found.num_gpus:
        named = "min_workers" if least < recipe.workers else "workers"
        raise UserError(
            f"{named} = {least}, but the cluster has {found.num_gpus} GPUs and a worker takes one. Ask for fewer "
            "workers" + (", or --device cpu." if not found.num_gpus else ".")
        )
    cpus = cpus_per_worker or 1.0
    largest = max((node.cpus for node in nodes), default=0.0)
    raise UserError(
        f"workers = {least} with {cpus:g} CPUs each need {least * cpus:g}, the cluster has {found.num_cpus}, and "
        f"{largest:g} on its largest node. Ask for fewer workers, or fewer CPUs for each."
    )


def plan_when_there_is_room(
    recipe: TrainRecipe,
    cpus_per_worker: float | None,
    device: str,
    tell: Callable[[str], None],
    free_only: bool = False,
) -> WorkerPlan:
    """Wait for nodes that were lost to come back, or others in their place, for ROOM_WAIT_S at most."""
    until, told = time.monotonic() + ROOM_WAIT_S, False
    while True:
        try:
            return plan_workers(recipe, cpus_per_worker, device, free_only)
        except UserError as error:
            if time.monotonic() >= until:
                raise
            if not told:
                tell(f"waiting for nodes to come back: {error}")
            told = True
        time.sleep(_POLL_S)


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
