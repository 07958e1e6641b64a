"""What extract_frames and extract_flow share: their options, and the job."""

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from kinebert.orchestration.cluster import check_workers
from kinebert.orchestration.jobs.extraction import ExtractionResult, extract_set
from kinebert.orchestration.progress import duration
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.recipe import RECIPES, FlowRecipe, FrameRecipe, describe_tvl1
from kinebert.preprocessing.sets.folder import describe_flow
from kinebert.preprocessing.storage import resolve_uri
from kinebert.preprocessing.tvl1 import PRESETS, Backend, TvL1Params

if TYPE_CHECKING:
    FramesOf = str
else:  # whatever is made from frames one by one; flow has a program of its own
    FramesOf = tyro.extras.literal_type_from_choices([name for name in RECIPES if RECIPES[name] is not FlowRecipe])

_ABOUT_PRESETS = (
    "Parameters of the solver; single ones, given here or in the recipe file, go over it. classic: OpenCV's defaults, "
    "which published flow weights were trained on. wide: follows motions of 20 pixels, where classic loses fine "
    "texture. fast: 0.6 of the time, 0.04 pixels away from classic, 0.08 where a lot moves."
)
_ABOUT_BACKENDS = (
    "Who solves. auto: torch on the cluster's GPUs, numba where there are none. The flow is the same within what 8 "
    "bits can tell, so this is no part of the recipe; each shard records it."
)


@dataclass(frozen=True, kw_only=True)
class ExtractionConfig:
    """Options of both extractions."""

    manifest: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """Manifest made by `kinebert index` (path or URI)."""
    output: Annotated[str, tyro.conf.arg(metavar="SET")]
    """Folder (path or URI) of the shard set; every node must be able to write to it."""
    limits: tyro.conf.OmitArgPrefixes[Limits] = field(default_factory=Limits)
    """How long one video may take."""
    max_rejected: float = 0.01
    """Largest share of videos that may be left out before the job counts as failed, 0 to 1."""
    videos_per_shard: int = 16
    """Videos in one shard, on average; one task makes one shard."""
    workers: int | None = None
    """Most tasks at a time; by default one per core of the machine or cluster."""
    cpus_per_task: float = 1.0
    """Logical CPUs that one task holds on the cluster."""
    retry_rejected: bool = False
    """Make the shards again that left videos out."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_rejected <= 1:
            raise ConfigError(f"max_rejected must lie between 0 and 1, got {self.max_rejected}.")
        if self.cpus_per_task <= 0:
            raise ConfigError(f"cpus_per_task must be positive, got {self.cpus_per_task}.")


@dataclass(frozen=True, kw_only=True)
class ExtractFramesConfig(ExtractionConfig):
    """Extract frames from the videos of a manifest into Parquet shards.

    Run the same command again to continue: finished shards are kept. Exit status: 0 done, 1 too many videos were left
    out, 2 the command was wrong.
    """

    recipe: tyro.conf.OmitArgPrefixes[FrameRecipe] = field(default_factory=FrameRecipe)
    """How frames are taken and stored."""
    modality: FramesOf = "rgb"
    """What the videos show: rgb, or drawn poses (rendered by a pose estimator of your choice), a stream of its own."""


@dataclass(frozen=True, kw_only=True)
class ExtractFlowConfig(ExtractionConfig):
    """Extract TV-L1 optical flow from the videos of a manifest into Parquet shards.

    Run the same command again to continue: finished shards are kept. Exit status: 0 done, 1 too many videos were left
    out, 2 the command was wrong.
    """

    recipe: tyro.conf.OmitArgPrefixes[FlowRecipe] = field(default_factory=FlowRecipe)
    """How frames are taken, and flow computed and stored."""
    preset: Annotated[Literal["classic", "wide", "fast"], tyro.conf.arg(help=_ABOUT_PRESETS)] = "classic"
    backend: Annotated[Backend, tyro.conf.arg(help=_ABOUT_BACKENDS)] = "auto"
    gpus_per_task: float | None = None
    """Share of a GPU that one task holds; by default all cores of a node feed its GPUs, at most 8 each. 0: no GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gpus_per_task is not None and not 0 <= self.gpus_per_task <= 1:
            raise ConfigError(f"gpus_per_task must lie between 0 and 1, got {self.gpus_per_task}.")
        if self.gpus_per_task and self.backend in ("numba", "opencv"):
            raise ConfigError(f"gpus_per_task = {self.gpus_per_task:g}, but backend = {self.backend} uses no GPU.")
        if self.preset != "classic" and self.recipe.tvl1 == TvL1Params():  # a preset is applied by the command line
            raise ConfigError(
                f"preset = {self.preset}, but every parameter is that of classic. Choose preset = classic."
            )


FLOW_PRESETS: dict[str, dict[str, Any]] = {
    name: {"recipe": {"tvl1": to_plain(params)}} for name, params in PRESETS.items()
}


def extract(config: ExtractFramesConfig | ExtractFlowConfig) -> int:
    """Run the job, say what came of it, and return the exit status."""
    if config.workers is not None:
        check_workers(config.workers, "workers")
    output = resolve_uri(config.output)
    rows = read_manifest(resolve_uri(config.manifest))
    if not rows:
        raise ConfigError(f"{config.manifest}: the manifest has no videos. Make another with kinebert index.")
    recipe: FrameRecipe = config.recipe
    if isinstance(config, ExtractFramesConfig):
        recipe = RECIPES[config.modality](**to_plain(recipe))
    what = f"TV-L1 {describe_tvl1(recipe.tvl1)}, " if isinstance(recipe, FlowRecipe) else ""
    print(
        f"extracting {recipe.modality} of {len(rows)} videos to {output} ({what}recipe {recipe.digest()})", flush=True
    )
    build = BuildShard(
        output=output, recipe=recipe, limits=config.limits, run_id="", retry_rejected=config.retry_rejected
    )
    gpus_per_task: float | None = 0.0
    if isinstance(config, ExtractFlowConfig):
        build = replace(build, solver=FlowSolver(backend=config.backend))
        gpus_per_task = config.gpus_per_task
        if config.backend == "opencv":
            build.solver.ready(config.recipe.tvl1)  # it lacks some parameters: say so before anything is started
    result = extract_set(
        rows,
        output,
        build,
        videos_per_shard=config.videos_per_shard,
        workers=config.workers,
        cpus_per_task=config.cpus_per_task,
        gpus_per_task=gpus_per_task,
        say=lambda text: print(text, flush=True),
    )
    return _verdict(result, output, config.max_rejected)


def _verdict(result: ExtractionResult, output: str, max_rejected: float) -> int:
    """Print the summary of a set and return the exit status."""
    counts, rejected = result.dataset["counts"], result.dataset["rejected"]
    what = modality_of(result.dataset["modality"]).words
    state = "nothing to do, the set was complete" if not result.new_videos else f"done in {duration(result.seconds)}"
    print(f"{state}: {output}")
    print(
        f"  {counts['stored']} of {counts['videos']} videos, {counts['images']} {what}, "
        f"{counts['bytes'] / 1e6:.1f} MB in {counts['shards']} shards"
    )
    if (flow := describe_flow(result.dataset)) is not None:
        print(f"  {flow}")
    if counts["truncated"]:
        print(f"  {counts['truncated']} truncated: decoding broke off, the frames before that are kept (index.parquet)")
    for video in rejected[:5]:
        print(f"  rejected {video['video_id']}: {video['problem']}")
    if len(rejected) > 5:
        print(f"  and {len(rejected) - 5} more; all are in {output}/dataset.json")
    share = len(rejected) / counts["videos"]
    if share > max_rejected:
        print(f"failed: {len(rejected)} rejected are {share:.1%} of the videos, max_rejected allows {max_rejected:.1%}")
        return 1
    print(f"next: kinebert verify {shlex.quote(output)}")
    return 0
