"""What extract_frames and extract_flow share: their options, and the job."""

import shlex
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.requests import ExtractionRequest, ExtractionSettings
from kinebert.orchestration.printing import say
from kinebert.orchestration.progress import duration
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.recipe import RECIPES, FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.dataset_file import FlowFacts
from kinebert.preprocessing.sets.folder import describe_flow
from kinebert.preprocessing.tvl1 import PRESETS, Backend, TvL1Params

_SHOWN = 5

if TYPE_CHECKING:
    from kinebert.orchestration.jobs.extraction import Extraction

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
class ExtractionConfig(ExtractionSettings):
    """Options of both extractions."""

    manifest: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """Manifest made by `kinebert index` (path or URI)."""
    output: Annotated[str, tyro.conf.arg(metavar="SET")]
    """Folder (path or URI) of the shard set; every node must be able to write to it."""
    limits: tyro.conf.OmitArgPrefixes[Limits] = field(default_factory=Limits)
    """How long one video may take."""

    def request(self, recipe: FrameRecipe, **of_flow: Any) -> ExtractionRequest:
        """Return what is asked, with values that only a request for flow has."""
        common = {each.name: getattr(self, each.name) for each in fields(ExtractionSettings)}
        return ExtractionRequest(recipe=recipe, **common, **of_flow)


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

    def asked(self) -> ExtractionRequest:
        """Return what is asked."""
        return self.request(RECIPES[self.modality](**to_plain(self.recipe)))


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
        self.asked()
        if self.preset != "classic" and self.recipe.tvl1 == TvL1Params():  # a preset is applied by the command line
            raise ConfigError(
                f"preset = {self.preset}, but every parameter is that of classic. Choose preset = classic."
            )

    def asked(self) -> ExtractionRequest:
        """Return what is asked."""
        return self.request(self.recipe, backend=self.backend, gpus_per_task=self.gpus_per_task)


FLOW_PRESETS: dict[str, dict[str, Any]] = {
    name: {"recipe": {"tvl1": to_plain(params)}} for name, params in PRESETS.items()
}


def main(config: ExtractFramesConfig | ExtractFlowConfig) -> int:
    """Extract, say what came of it, and return the exit status."""
    from kinebert.orchestration.jobs.extraction import extract  # slow imports, after the options are known to be right

    result = extract(config.asked(), Terminal())
    say(*_lines(result))
    return 1 if result.failed else 0


def _lines(result: "Extraction") -> list[str]:
    """Say what a set holds, what was left out, and what comes next."""
    counts, rejected = result.dataset["counts"], result.dataset["rejected"]
    state = "nothing to do, the set was complete" if not result.new_videos else f"done in {duration(result.seconds)}"
    lines = [
        f"{state}: {result.folder}",
        f"  {counts['stored']} of {counts['videos']} videos, {counts['images']} "
        f"{modality_of(result.dataset['modality']).words}, {counts['bytes'] / 1e6:.1f} MB in {counts['shards']} shards",
    ]
    facts = result.dataset.get("flow")
    if (flow := describe_flow(FlowFacts(**facts) if facts else None)) is not None:
        lines.append(f"  {flow}")
    if counts["truncated"]:
        told = "truncated: decoding broke off, the frames before that are kept (index.parquet)"
        lines.append(f"  {counts['truncated']} {told}")
    lines += [f"  rejected {video['video_id']}: {video['problem']}" for video in rejected[:_SHOWN]]
    if len(rejected) > _SHOWN:
        lines.append(f"  and {len(rejected) - _SHOWN} more; all are in {result.folder}/dataset.json")
    if result.failed:
        share = f"{len(rejected)} rejected are {result.share_rejected:.1%} of the videos"
        return [*lines, f"failed: {share}, max_rejected allows {result.max_rejected:.1%}"]
    return [*lines, f"next: kinebert verify {shlex.quote(result.folder)}"]
