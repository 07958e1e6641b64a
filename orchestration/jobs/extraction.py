"""An extraction as a job: from a manifest to a finished shard set, and whether too many videos were left out."""

from dataclasses import dataclass, replace
from typing import Any

from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.cluster import check_workers
from kinebert.orchestration.jobs.requests import ExtractionRequest
from kinebert.orchestration.jobs.shard_tasks import extract_set
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, describe_tvl1
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
    if request.workers is not None:
        check_workers(request.workers, "workers")
    output, recipe = resolve_uri(request.output), request.recipe
    rows = read_manifest(resolve_uri(request.manifest))
    if not rows:
        raise ConfigError(f"{request.manifest}: the manifest has no videos. Make another with kinebert index.")
    solver = f"TV-L1 {describe_tvl1(recipe.tvl1)}, " if isinstance(recipe, FlowRecipe) else ""
    about = f"({solver}recipe {recipe.digest()})"
    audience.say(f"extracting {recipe.modality} of {len(rows)} videos to {output} {about}")
    result = extract_set(
        rows,
        output,
        _build(request, output),
        videos_per_shard=request.videos_per_shard,
        workers=request.workers,
        cpus_per_task=request.cpus_per_task,
        gpus_per_task=request.gpus_per_task if isinstance(recipe, FlowRecipe) else 0.0,
        audience=audience,
    )
    return Extraction(output, result.dataset, result.new_videos, result.seconds, request.max_rejected)


def _build(request: ExtractionRequest, output: str) -> BuildShard:
    """What one task does."""
    recipe = request.recipe
    build = BuildShard(
        output=output, recipe=recipe, limits=request.limits, run_id="", retry_rejected=request.retry_rejected
    )
    if not isinstance(recipe, FlowRecipe):
        return build
    build = replace(build, solver=FlowSolver(backend=request.backend))
    if request.backend == "opencv":
        build.solver.ready(recipe.tvl1)  # it lacks some parameters: say so before anything is started
    return build
