"""How long flow will take, said before hours are spent: a few pairs are measured where the job's tasks will run."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import

# isort: split
import ray

from kinebert.orchestration.audience import Audience
from kinebert.orchestration.extraction.placement import Placement, Tasks
from kinebert.orchestration.progress import duration
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.measuring import PairCost, measure_pairs
from kinebert.preprocessing.extraction.one_video import OpenVideo
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe
from kinebert.preprocessing.sets.plan import PlannedShard, PlannedVideo, estimated_frames
from kinebert.preprocessing.tvl1 import PRESETS
from kinebert.preprocessing.video.frames import target_size

LEAST_S = 60.0
"""A job that even a quick machine needs less for is not measured: it is over soon."""
_AT_BEST = {"numba": 40.0, "opencv": 1.5, "torch": 2.0}
_AT_BEST_ON_GPU = 500.0
"""Pairs of 340x256 that a task of a quick machine solves a second."""
_ORDINARY_PIXELS = 340 * 256
_MOST_TASKS = 32
_WAIT_S = 90.0
"""In which all have measured, the first one of this machine compiles for 15 s, or they are not waited for."""


@dataclass(frozen=True, kw_only=True)
class Other:
    """A recipe that would be quicker."""

    recipe: FlowRecipe
    options: str
    """That ask for it."""
    about: str
    """What it is worth."""


def say_who_solves(
    rows: Sequence[ManifestRow],
    shards: Sequence[PlannedShard],
    kept: Collection[str],
    builds: Sequence[BuildShard],
    placement: Placement,
    tasks: Tasks,
    audience: Audience,
) -> None:
    """Tell an audience who solves flow or finds people, how long flow of all pairs will take, and what is quicker.

    It is measured on a few pairs, unless no set stores flow or all of it takes less than a minute. What cannot be
    measured, such as videos at which a decoder hangs or crashes, is not said: the job finds out for itself.

    Args:
        rows: The manifest.
        shards: Of the sets.
        kept: Ids of the videos that are in the sets already.
        builds: What one task does for each set.
        placement: Where flow is solved, and by whom.
        tasks: What a task holds.
        audience: Who is told.
    """
    build = next((build for build in builds if build.recipe.solving is not None), None)
    if build is None:
        return
    audience.say(placement.about)
    if not isinstance(build.recipe, FlowRecipe):  # progress tells how long it will take
        return
    left = [row for row in rows if row.problem is None and row.video_id not in kept]
    pairs = _pairs(rows, left, build.recipe)
    slots = _slots(placement, tasks, sum(any(v.video_id not in kept for v in shard.videos) for shard in shards))
    at_best = _AT_BEST_ON_GPU if placement.gpus_per_task else _AT_BEST[placement.solver.backend]
    if not left or _pixels(left, build.recipe) / _ORDINARY_PIXELS * pairs / (at_best * slots) < LEAST_S:
        return
    audience.say("measuring a few pairs, to say how long it will take")
    others = [] if kept else quicker(build.recipe, "--of-flow." if len(builds) > 1 else "--")
    num_tasks = min(slots, _MOST_TASKS)
    costs = _measured(
        _sample(left, shards, num_tasks), [build.recipe, *(one.recipe for one in others)], build, placement, tasks
    )
    if costs and costs[0].pairs:
        for line in expected(costs, others, pairs, slots):
            audience.say(line)


def expected(costs: Sequence[PairCost], others: Sequence[Other], pairs: float, slots: int) -> list[str]:
    """Return a line on how long ``pairs`` take with so many tasks at a time, and one on the recipes that take less.

    Args:
        costs: What was measured of the job's recipe, then of the others.
        others: Those.
        pairs: Of the whole job, about.
        slots: Tasks at a time.
    """
    first, *rest = costs
    speed = slots / first.each_s
    lines = [
        f"flow of about {round(pairs)} pairs will take about {duration(pairs / speed)}: "
        f"{speed:.{0 if speed >= 10 else 1}f} a second in {slots} task{'s' * (slots > 1)}, by {first.pairs} that were "
        "measured"
    ]
    quick = [
        f"{other.options} about {duration(pairs * cost.each_s / slots)} ({other.about})"
        for cost, other in zip(rest, others, strict=True)
        if cost.pairs and cost.each_s < first.each_s
    ]
    return [*lines, *([f"it would take less with other flow: {', '.join(quick)}"] if quick else [])]


def quicker(recipe: FlowRecipe, prefix: str = "--") -> list[Other]:
    """Return recipes that make much the same in less time: other parameters, smaller pictures.

    Args:
        recipe: What is asked for.
        prefix: Of the options for sizes.
    """
    found = []
    if recipe.tvl1 == PRESETS["classic"]:
        fast = replace(recipe, tvl1=PRESETS["fast"])
        found.append(Other(recipe=fast, options="--preset fast", about="0.04 px from classic"))
    if recipe.resize == "fixed" and min(recipe.width, recipe.height) >= 224:  # networks see 112 pixels at least
        published = (recipe.width, recipe.height) == (340, 256)
        width, height = (171, 128) if published else (recipe.width // 2, recipe.height // 2)
        seen = 224 if min(width, height) >= 224 else 112
        options = f"{prefix}width {width} {prefix}height {height}"
        small = replace(recipe, width=width, height=height)
        found.append(Other(recipe=small, options=options, about=f"for networks that see {seen} pixels"))
    return found


def _pairs(rows: Sequence[ManifestRow], left: Sequence[ManifestRow], recipe: FlowRecipe) -> float:
    frames = estimated_frames(rows)
    return sum(max(1.0, frames[row.video_id] / recipe.frame_step - 1) for row in left)


def _pixels(rows: Sequence[ManifestRow], recipe: FlowRecipe) -> float:
    """Of a stored picture, on average; as of an ordinary one where the manifest does not know the videos' sizes."""
    known = [row for row in rows if row.width and row.height] or [replace(rows[0], width=340, height=256)]
    sizes = [target_size(row.width, row.height, row.pixel_aspect, recipe) for row in known]
    return sum(width * height for width, height in sizes) / len(sizes)


def _slots(placement: Placement, tasks: Tasks, num_shards: int) -> int:
    """How many tasks work at a time."""
    room = placement.num_actors or _cluster.room(_cluster.nodes(), tasks.cpus_per_task, 0.0)
    return max(1, min(room, num_shards, tasks.workers or room))


def _sample(left: Sequence[ManifestRow], shards: Sequence[PlannedShard], num_tasks: int) -> list[list[PlannedVideo]]:
    """Two videos for each task that measures, from all over the manifest."""
    planned = {video.video_id: video for shard in shards for video in shard.videos}
    videos = [planned[row.video_id] for row in left]
    count = min(len(videos), 2 * num_tasks)
    spread = [videos[i * len(videos) // count] for i in range(count)]
    return [some for some in (spread[i::num_tasks] for i in range(num_tasks)) if some]


def _measured(
    samples: Sequence[Sequence[PlannedVideo]],
    recipes: Sequence[FlowRecipe],
    build: BuildShard,
    placement: Placement,
    tasks: Tasks,
) -> list[PairCost]:
    """Measure side by side, as the tasks will work; return the sums of those that came to something."""
    task: Any = ray.remote(_task).options(num_cpus=tasks.cpus_per_task, num_gpus=placement.gpus_per_task, max_retries=0)
    opened = partial(build.open_video, max_pixels=build.limits.max_pixels)
    refs = [task.remote(some, recipes, opened, placement.solver) for some in samples]
    ready, late = ray.wait(refs, num_returns=len(refs), timeout=_WAIT_S)
    for ref in late:
        ray.cancel(ref, force=True)
    sums: list[PairCost] = []
    for ref in ready:
        with suppress(ray.exceptions.RayError):
            costs = ray.get(ref)
            sums = [a + b for a, b in zip(sums, costs, strict=True)] if sums else costs
    return sums


def _task(
    videos: Sequence[PlannedVideo], recipes: Sequence[FlowRecipe], open_video: OpenVideo, solver: FlowSolver
) -> list[PairCost]:
    return measure_pairs(videos, recipes, open_video, solver.ready(recipes[0].tvl1))
