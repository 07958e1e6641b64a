"""A training that is only thought through: everything is checked that its start checks, and nothing is written."""

from dataclasses import dataclass, replace

from kinebert.orchestration import cluster

# isort: split
from typing import Any

import psutil
import torch

from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.jobs.requests import TrainingRequest
from kinebert.orchestration.jobs.training import Checked, check
from kinebert.orchestration.ray_train.scaling import may_grow_to
from kinebert.orchestration.ray_train.workers import WorkerPlan, plan_here, plan_workers
from kinebert.orchestration.tracking.store import choose_store
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.fetching.downloads import is_download, kept_before
from kinebert.preprocessing.sets.digests import changed_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.aligned import OpenedSet, sets_of
from kinebert.training.data.parts import check_videos
from kinebert.training.distillation.pictures import pictures_of
from kinebert.training.distillation.teacher import load_teacher, unallocated_teacher
from kinebert.training.loop.memory import Memory, training_memory
from kinebert.training.loop.stages import Stage, plan_stages
from kinebert.training.out_of_memory import out_of_memory
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.shards import numbers_of

_READ_BYTES = 8 * 2**30
"""Bytes of a set that are read to check its digests: of a larger one sizes tell, and ``kinebert verify`` reads it."""
_TIGHT = 0.9
"""Part of the memory that may be reckoned with: kernels take scratch memory, and other programs some."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a training reads of a split."""

    name: str
    """Such as ``split1/train``."""
    num_videos: int
    num_images: int
    """Stored frames or fields of them."""
    num_classes: int
    """Classes that have a video in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DryRun:
    """What a training would do."""

    folder: str
    """Where it would be kept."""
    recipe: TrainRecipe
    """As it would run: locations are absolute, and the digest of the weights is filled in."""
    shards: OpenedSet
    """What it would read."""
    parts: tuple[Part, ...]
    """Those that it would learn from, and be measured on."""
    num_shards: int
    """Files of the set, or of all that lie beside each other."""
    num_bytes: int
    """Of all shards."""
    read: bool
    """Whether they were read and have their digests; else they have their sizes."""
    weights: str
    """What it would start from, in words."""
    teacher: str
    """What it would learn from beside labels, in words; empty without a teacher."""
    stages: tuple[Stage, ...]
    """Epochs and updates."""
    memory: Memory
    """Of one process."""
    available: int | None
    """Bytes that there are for a process; None where that is not known here."""
    plan: WorkerPlan | None
    """Processes, and what each holds; None where a cluster would be asked for nodes first."""
    waits: str
    """Why there is no plan yet."""
    private: bool
    """Whether it would run on this machine alone."""
    store: str
    """MLflow store that would hold the run."""

    @property
    def too_large(self) -> str:
        """Say what to do if memory will hardly do; empty if it will, or that is not known."""
        if self.available is None or self.memory.total <= _TIGHT * self.available:
            return ""
        return out_of_memory(self.recipe)


def dry_run(request: TrainingRequest, audience: Audience = NOBODY) -> DryRun:
    """Find out what a training would do, and whether it would start.

    Nothing is trained, written or fetched. A given cluster is asked what it has; a private one is not started.

    Raises:
        UserError: If the training would be refused.
    """
    given, pending = _without_download(request)
    given, untaught = _without_teacher(given)
    checked = check(given, audience)
    store = choose_store(request.tracking_uri, checked.folder)
    num_bytes, read = _check_bytes(checked.shards)
    pictures = pictures_of(checked.recipe, checked.shards)
    if isinstance(pictures.taught, ShardSet) and not pictures.same:
        _check_set(pictures.taught)
    plan, waits = _plan(checked.recipe, request)
    use_gpu = plan.use_gpu if plan else request.device == "cuda"
    on = plan.recipe if plan else checked.recipe
    shards, device = checked.shards, torch.device("cuda" if use_gpu else "cpu")
    teacher = load_teacher(checked.recipe, pictures.taught, shards.classes) if checked.recipe.distill else None
    taught_by = unallocated_teacher(teacher) if teacher else None
    memory = training_memory(on, shards.modality, len(shards.classes), device, taught_by)
    private, parts = cluster.is_private(), _parts(checked)
    return DryRun(
        folder=checked.folder,
        recipe=_settled(checked.recipe, request) if pending or untaught else checked.recipe,
        shards=checked.shards,
        parts=parts,
        num_shards=sum(len(one.dataset.shards) for one in sets_of(checked.shards)),
        num_bytes=num_bytes,
        read=read,
        weights=pending or _weights(checked.recipe),
        teacher=teacher.told if teacher else untaught,
        stages=tuple(plan_stages(checked.recipe, parts[0].num_videos)),
        memory=memory,
        available=_available(use_gpu, on.workers) if private else None,
        plan=plan,
        waits=waits,
        private=private,
        store=store,
    )


def _without_download(request: TrainingRequest) -> tuple[TrainingRequest, str]:
    """Leave out weights that would have to be fetched first; say so."""
    model = request.recipe.model
    if not is_download(model.weights) or not model.weights_digest or kept_before(model.weights_digest):
        return request, ""
    bare = replace(request.recipe, model=replace(model, weights="", weights_digest=""))
    told = f"{model.weights}, which would be fetched first: whether it fits is not known yet"
    return replace(request, recipe=bare), told


def _settled(recipe: TrainRecipe, request: TrainingRequest) -> TrainRecipe:
    asked = request.recipe.model
    model = recipe.model
    if not model.weights:
        model = replace(model, weights=asked.weights, weights_digest=asked.weights_digest)
    distill = request.recipe.with_absolute_shards().distill if recipe.distill is None else recipe.distill
    return replace(recipe, model=model, distill=distill)


def _without_teacher(request: TrainingRequest) -> tuple[TrainingRequest, str]:
    """Leave out a teacher that would have to be fetched first; say so."""
    distill = request.recipe.distill
    if distill is None or not is_download(distill.teacher) or kept_before(distill.teacher_digest):
        return request, ""
    told = f"{distill.teacher}, which would be fetched first: whether it fits is not known yet"
    return replace(request, recipe=replace(request.recipe, distill=None)), told


def _weights(recipe: TrainRecipe) -> str:
    model = recipe.model
    starts: dict[str, Any] = {"": model, **{f"{name}: ": stream for name, stream in model.streams.items()}}
    given = [f"{name}{one.weights}, SHA-256 {one.weights_digest}" for name, one in starts.items() if one.weights]
    return "; ".join(given) or "none: from scratch"


def _parts(checked: Checked) -> tuple[Part, ...]:
    data, found = checked.recipe.data, []
    for name in (data.train_part, data.val_part):
        videos = check_videos(checked.shards, data, name)[0]
        found.append(
            Part(
                name=f"{data.split}/{name}",
                num_videos=len(videos),
                num_images=int(numbers_of(videos, "num_images").sum()),
                num_classes=len(set(numbers_of(videos, "label").tolist())),
            )
        )
    return tuple(found)


def _check_bytes(shards: OpenedSet) -> tuple[int, bool]:
    """Look at the shards' sizes, and at the digests of a set that is read in a while.

    Raises:
        UserError: If a shard is not there, or not what was written.
    """
    found = [_check_set(one) for one in sets_of(shards)]
    return sum(total for total, _ in found), all(read for _, read in found)


def _check_set(shards: ShardSet) -> tuple[int, bool]:
    facts, total = shards.dataset.shards, sum(shard.bytes for shard in shards.dataset.shards)
    for shard in facts:
        uri = storage.join(shards.uri, shard.name)
        with storage.explained(uri, "read this shard"):
            size = storage.file_size(uri)
        if size != shard.bytes:
            raise UserError(f"{uri}: has {size} bytes, {shard.bytes} were written. Extract again: others are kept.")
    read = storage.is_local(shards.uri) and total <= _READ_BYTES
    with storage.explained(shards.uri, "read this shard set"):
        changed = changed_shards(shards.uri, facts) if read else []
    if changed:
        raise UserError(
            f"{storage.join(shards.uri, changed[0])}: is not what was written (and {len(changed) - 1} more). Extract "
            "again, which keeps the others, or ask kinebert verify."
        )
    return total, read


def _plan(recipe: TrainRecipe, request: TrainingRequest) -> tuple[WorkerPlan | None, str]:
    if cluster.is_private():
        return plan_here(recipe, request.cpus_per_worker, request.device), ""
    with cluster.cluster():
        try:
            return plan_workers(recipe, request.cpus_per_worker, request.device), ""
        except UserError as error:
            if may_grow_to() is None:
                raise
            return None, f"the cluster would be asked for nodes first: {error}"


def _available(use_gpu: bool, num_workers: int) -> int:
    """Return the bytes that this machine has for each process: of the smallest GPU, or of its own memory."""
    if use_gpu:
        return min(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))
    return int(psutil.virtual_memory().available) // num_workers
