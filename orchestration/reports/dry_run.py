"""What a training would do, as ``kinebert train --dry-run`` prints it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kinebert.orchestration.printing import Paragraph, Table
from kinebert.preprocessing.config import to_plain, to_toml

if TYPE_CHECKING:
    from kinebert.orchestration.jobs.dry_run import DryRun
    from kinebert.training.loop.stages import Stage

_GIB = 2**30


def told(found: "DryRun", set_by: Mapping[str, str]) -> Iterator[str | Table | Paragraph]:
    """Yield the whole recipe and what was found out.

    Args:
        found: The dry run.
        set_by: Who set a value, by its dotted name; others have their defaults.
    """
    yield from to_toml(to_plain(found.recipe), about=lambda name: _who(found, name, set_by)).splitlines()
    yield ""
    yield from _data(found)
    yield Paragraph(text=f"weights: {found.weights}", hanging=2)
    if found.teacher:
        yield Paragraph(text=f"teacher: {found.teacher}", hanging=2)
    yield from _memory(found)
    yield from _cluster(found)
    for stage in found.stages:
        of = f"stage {stage.number + 1}: " if stage.num_stages > 1 else ""
        recipe = stage.recipe
        if stage.several_shapes:
            yield from _shapes(stage)
            continue
        yield f"{of or 'length: '}{recipe.epochs} epochs of {stage.num_steps} updates, {recipe.batch_size} clips each"
    yield Paragraph(text=f"run: {found.folder}, recorded in {found.store}", hanging=2)
    yield "nothing was trained and nothing was written"


def _shapes(stage: "Stage") -> Iterator[str | Table]:
    """Yield the cycles of multigrid."""
    total = stage.calendar.before(stage.recipe.epochs)
    yield f"length: {stage.recipe.epochs} epochs, {total} updates; clips x images x pixels of their batches, in turn:"
    rows = [
        [f"{first}-{last}", str(steps), ", ".join(map(str, cycle)), ", ".join(f"{grid.lr_scale:g}" for grid in cycle)]
        for first, last, steps, cycle in stage.calendar.described()
    ]
    yield Table(header=["epochs", "updates", "batches", "times lr"], rows=rows, indent=2)


def _who(found: "DryRun", name: str, set_by: Mapping[str, str]) -> str:
    """Say who set a value. A table that is given as a whole counts for all that is in it."""
    if found.recipe.stages and name in ("epochs", "data.clip_length"):
        return "follows from stages"
    who = next((who for key, who in set_by.items() if name == key or name.startswith(f"{key}.")), "default")
    if name in ("model.weights_digest", "distill.teacher_digest") and name not in set_by:
        table, key = name.split(".")
        return "of the file" if getattr(getattr(found.recipe, table), key) else who
    return who


def _data(found: "DryRun") -> Iterator[str | Table | Paragraph]:
    shards = found.shards
    state = "read, their digests are right" if found.read else "there, of the right sizes (kinebert verify reads them)"
    yield Paragraph(text=f"data: {shards.uri}: {shards.modality}, {len(shards.classes)} classes", hanging=2)
    yield f"  recipe {shards.digest}, content {shards.content}"
    yield f"  {found.num_shards} shards of {found.num_bytes / 1e6:,.1f} MB are {state}"
    rows = [[part.name, *map(str, (part.num_videos, part.num_classes, part.num_images))] for part in found.parts]
    yield Table(header=["part", "videos", "classes", "images"], rows=rows, indent=2)


def _memory(found: "DryRun") -> Iterator[str | Table | Paragraph]:
    memory = found.memory
    parts = ("weights", "gradients", "optimizer", "average", "activations", "teacher")
    each = ", ".join(f"{getattr(memory, name) / _GIB:.2f} {name}" for name in parts if getattr(memory, name))
    where = "GPU" if found.plan and found.plan.use_gpu else "machine"
    there = "how much there is is not known here"
    if found.available is not None:
        there = f"this {where} has {found.available / _GIB:.1f} free for each"
    yield Paragraph(
        text=f"memory: {memory.total / _GIB:.2f} GiB for each process ({each}), and scratch memory of kernels; {there}",
        hanging=2,
    )
    if found.too_large:
        yield Paragraph(text=f"warning: memory will hardly do. {found.too_large}", hanging=2)


def _cluster(found: "DryRun") -> Iterator[Paragraph]:
    where = "this machine" if found.private else "the cluster"
    if found.plan is None:
        yield Paragraph(text=f"cluster: {found.waits}", hanging=2)
        return
    plan = found.plan
    fewer = f" of {found.recipe.workers}" if plan.recipe.workers < found.recipe.workers else ""
    yield Paragraph(
        text=f"cluster: {plan.recipe.workers}{fewer} worker{'s' * (plan.recipe.workers > 1)} on {where}, each with "
        f"{plan.cpus:g} CPUs{' and a GPU' * plan.use_gpu}, {plan.recipe.accumulation} micro-batches of "
        f"{plan.recipe.micro_batch} clips for an update",
        hanging=2,
    )
