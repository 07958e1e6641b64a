"""An extraction as a job: from a manifest to finished shard sets, and whether too many videos were left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.cluster import check_workers
from kinebert.orchestration.extraction.placement import Tasks
from kinebert.orchestration.extraction.shard_tasks import extract_sets
from kinebert.orchestration.jobs.extraction_requests import (
    ExtractionRequest,
    ExtractionSettings,
    PoseRequest,
    SolverSettings,
    TwoSetsRequest,
)
from kinebert.preprocessing.datasets.manifest import ManifestRow, read_manifest
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.extraction.stored import (
    PoseReader,
    StoredFrames,
    StoredVideos,
    UnseenFrames,
    drawn_anew,
    looking_at,
)
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.pose.estimator import backend_of
from kinebert.preprocessing.pose.weights import name_weights
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe, describe_tvl1
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.storage import resolve_uri


@dataclass(frozen=True)
class Extraction:
    """A finished shard set."""

    folder: str
    """Path or URI of the set."""
    dataset: dict[str, Any]
    """Content of its ``dataset.json``."""
    new_videos: int
    """Videos of this run; 0 if the set was complete."""
    seconds: float
    max_rejected: float
    """Largest share of videos that was allowed to be left out."""

    @property
    def share_rejected(self) -> float:
        """Share of the manifest's videos that were left out, 0 to 1."""
        return float(len(self.dataset["rejected"]) / self.dataset["counts"]["videos"])

    @property
    def failed(self) -> bool:
        """Whether more videos were left out than is allowed."""
        return self.share_rejected > self.max_rejected


def extract(request: ExtractionRequest, audience: Audience = NOBODY) -> Extraction:
    """Make a shard set, or complete one that was begun: finished shards are kept.

    Raises:
        UserError: If there is no such manifest, the folder belongs to another recipe or list or cannot be written,
            another job fills it, or the cluster lacks what a task asks for.
        ConfigError: If the manifest is empty, or the solver lacks what the recipe asks for.
    """
    return _extract(request, {request.output: request.recipe}, audience)[0]


def extract_both(request: TwoSetsRequest, audience: Audience = NOBODY) -> tuple[Extraction, Extraction]:
    """Make a set of frames and one of flow, or complete them, with one decoding of each video.

    Both get the bytes that :func:`extract` gives them one after the other. What is finished of either is kept.

    Raises:
        UserError: As of :func:`extract`, for either of the sets.
        ConfigError: As of :func:`extract`.
    """
    frames, flow = _extract(request, {request.frames: request.recipe, request.flow: request.flow_recipe}, audience)
    return frames, flow


def extract_poses(request: PoseRequest, audience: Audience = NOBODY) -> Extraction:
    """Make a set of poses, or complete one that was begun: of videos, of stored frames, or of stored joints.

    Raises:
        UserError: As of :func:`extract`; or if a file of weights is missing, or is not what the recipe names.
        ConfigError: As of :func:`extract`; or if the set that is to be looked at does not fit.
    """
    if request.workers is not None:
        check_workers(request.workers, "workers")
    recipe, stored = request.recipe, None
    if request.manifest:
        rows = _manifest(request.manifest)
    else:
        shards = ShardSet.open(resolve_uri(request.redraw or request.from_set))
        stored = StoredVideos(shards, UnseenFrames if request.redraw else StoredFrames)
        recipe = drawn_anew(shards, recipe) if request.redraw else looking_at(shards, recipe)
        rows = stored.rows()
    if stored is not None and request.redraw:
        finder: PoseFinder = PoseReader(shards=stored.shards, backend=recipe.backend)
    else:
        recipe, finder = _with_weights(recipe, request.files)
        backend = backend_of(recipe.backend)
        audience.say(f"people are found by {backend.name}: {backend.about}. Licence of its weights: {backend.licence}")
    build = replace(_plain_build(request, resolve_uri(request.output), recipe), solver=finder, stored=stored)
    return _fill(request, [build], rows, audience)[0]


def _with_weights(recipe: PoseRecipe, files: Mapping[str, str]) -> tuple[PoseRecipe, PoseFinder]:
    """Return the recipe with the digests of all its weights, which are there, and who looks for people with them."""
    backend = backend_of(recipe.backend)
    recipe = replace(recipe, weights=name_weights(backend, recipe.weights, files))
    finder = PoseFinder(backend=recipe.backend, files=dict(files))
    finder.check(recipe)
    return recipe, finder


def _extract(request: SolverSettings, sets: Mapping[str, FrameRecipe], audience: Audience) -> list[Extraction]:
    """Fill ``sets``, recipes by their folders."""
    if request.workers is not None:
        check_workers(request.workers, "workers")
    builds = [_build(request, resolve_uri(output), recipe) for output, recipe in sets.items()]
    return _fill(request, builds, _manifest(request.manifest), audience)


def _manifest(path: str) -> list[ManifestRow]:
    rows = read_manifest(resolve_uri(path))
    if not rows:
        raise ConfigError(f"{path}: the manifest has no videos. Make another with kinebert index.")
    return rows


def _fill(
    request: SolverSettings | PoseRequest, builds: Sequence[BuildShard], rows: Sequence[ManifestRow], audience: Audience
) -> list[Extraction]:
    """Bring the sets of ``builds`` to completion."""
    for build in builds:
        recipe = build.recipe
        solver = f"TV-L1 {describe_tvl1(recipe.tvl1)}, " if isinstance(recipe, FlowRecipe) else ""
        about = f"({solver}recipe {recipe.digest()})"
        audience.say(f"extracting {recipe.modality} of {len(rows)} videos to {build.output} {about}")
    tasks = Tasks(workers=request.workers, cpus_per_task=request.cpus_per_task, gpus_per_task=request.gpus_per_task)
    results = extract_sets(rows, builds, tasks, request.videos_per_shard, audience)
    return [
        Extraction(build.output, result.dataset, result.new_videos, result.seconds, request.max_rejected)
        for build, result in zip(builds, results, strict=True)
    ]


def _build(request: SolverSettings, output: str, recipe: FrameRecipe) -> BuildShard:
    """What one task does for one set."""
    if isinstance(recipe, PoseRecipe) and recipe.backend:
        recipe, finder = _with_weights(recipe, {})
        return replace(_plain_build(request, output, recipe), solver=finder)
    build = _plain_build(request, output, recipe)
    if not isinstance(recipe, FlowRecipe):
        return build
    build = replace(build, solver=FlowSolver(backend=request.backend))
    if request.backend == "opencv":
        build.solver.ready(recipe.tvl1)  # it lacks some parameters: say so before anything is started
    return build


def _plain_build(request: ExtractionSettings, output: str, recipe: FrameRecipe) -> BuildShard:
    return BuildShard(
        output=output, recipe=recipe, limits=request.limits, run_id="", retry_rejected=request.retry_rejected
    )
