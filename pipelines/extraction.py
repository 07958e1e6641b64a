"""What the programs of extraction share: their options, and the job."""

from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.extraction_requests import (
    ExtractionRequest,
    ExtractionSettings,
    PoseRequest,
    TwoSetsRequest,
)
from kinebert.orchestration.printing import say
from kinebert.orchestration.progress import duration
from kinebert.pipelines.next_steps import next_lines, train_command
from kinebert.pipelines.options import Overrides
from kinebert.preprocessing.config import read_toml, to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.pose.estimator import backend_of
from kinebert.preprocessing.recipe import RECIPES, FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.sets.dataset_file import Counts, FlowFacts, PoseFacts
from kinebert.preprocessing.sets.folder import describe_flow, describe_poses, describe_still
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


Folder = Annotated[str, tyro.conf.arg(metavar="SET")]
Preset = Annotated[Literal["classic", "wide", "fast"], tyro.conf.arg(help=_ABOUT_PRESETS)]
Solver = Annotated[Backend, tyro.conf.arg(help=_ABOUT_BACKENDS)]


@dataclass(frozen=True, kw_only=True)
class CommonConfig(ExtractionSettings):
    """Options of all extractions."""

    manifest: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """Manifest made by `kinebert index` (path or URI)."""
    limits: tyro.conf.OmitArgPrefixes[Limits] = field(default_factory=Limits)
    """How long one video may take."""

    def common(self) -> dict[str, Any]:
        """Return what every request has, by the names of its fields."""
        return {each.name: getattr(self, each.name) for each in fields(ExtractionSettings)}


@dataclass(frozen=True, kw_only=True)
class ExtractionConfig(CommonConfig):
    """Options of the extractions of one set."""

    output: Folder
    """Folder (path or URI) of the shard set; every node must be able to write to it."""


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
        return ExtractionRequest(
            output=self.output, recipe=RECIPES[self.modality](**to_plain(self.recipe)), **self.common()
        )


@dataclass(frozen=True, kw_only=True)
class ExtractFlowConfig(ExtractionConfig):
    """Extract TV-L1 optical flow from the videos of a manifest into Parquet shards.

    Run the same command again to continue: finished shards are kept. Exit status: 0 done, 1 too many videos were left
    out, 2 the command was wrong.
    """

    recipe: tyro.conf.OmitArgPrefixes[FlowRecipe] = field(default_factory=FlowRecipe)
    """How frames are taken, and flow computed and stored."""
    preset: Preset = "classic"
    backend: Solver = "auto"
    gpus_per_task: float | None = None
    """Share of a GPU that one task holds; by default all cores of a node feed its GPUs, at most 8 each. 0: no GPU."""

    def __post_init__(self) -> None:
        self.asked()
        _check_preset(self.preset, self.recipe.tvl1)

    def asked(self) -> ExtractionRequest:
        """Return what is asked."""
        return ExtractionRequest(
            output=self.output,
            recipe=self.recipe,
            backend=self.backend,
            gpus_per_task=self.gpus_per_task,
            **self.common(),
        )


@dataclass(frozen=True, kw_only=True)
class ExtractPoseConfig(ExtractionConfig):
    """Find the people in videos or stored frames, and store pictures that are drawn of them, with their joints.

    One of --manifest, --from-set and --redraw says what is looked at. `kinebert extract-pose --backends` tells who can
    find people, by which parameters and files, and under which licences. Run the same command again to continue:
    finished shards are kept. Exit status: 0 done, 1 too many videos were left out, 2 the command was wrong.
    """

    manifest: Annotated[str, tyro.conf.arg(metavar="FILE")] = ""
    """Manifest made by `kinebert index` (path or URI)."""
    from_set: Folder = ""
    """Set of frames to look at in place of videos (path or URI); labels and splits are its own."""
    redraw: Folder = ""
    """Set of poses to draw anew of its joints (path or URI), in another look or size, without network and video."""
    recipe: tyro.conf.OmitArgPrefixes[PoseRecipe] = field(default_factory=PoseRecipe)
    """How people are looked for, and pictures drawn and stored."""
    overrides: Overrides = ()
    """Parameters of the backend, such as scales=[1.0, 0.75]; in a recipe file they stand in a table `params`."""
    files: Annotated[tuple[str, ...], tyro.conf.arg(name="weights", metavar="ROLE=FILE ...")] = ()
    """Files of weights by their role. Those that are not given are looked for in the folder that the environment
    variable KINEBERT_POSE_WEIGHTS names and in the user's cache, by the digests of the recipe's table `weights`."""
    gpus_per_task: float | None = None
    """Share of a GPU that one task holds; by default up to 4 tasks feed one, if the backend can use it. 0: no GPU."""

    def asked(self) -> PoseRequest:
        """Return what is asked."""
        given = read_toml(None, list(chain.from_iterable(self.overrides)))
        recipe = replace(self.recipe, params={**self.recipe.params, **given}) if given else self.recipe
        return PoseRequest(
            output=self.output,
            from_set=self.from_set,
            redraw=self.redraw,
            recipe=recipe,
            files=dict(map(self._role, self.files)),
            gpus_per_task=self.gpus_per_task,
            **self.common(),
        )

    def _role(self, given: str) -> tuple[str, str]:
        """Return role and path of one file; a backend with one file needs no role."""
        role, equals, path = given.partition("=")
        if equals:
            return role, path
        roles = [file.role for file in backend_of(self.recipe.backend).files if not file.optional]
        if len(roles) != 1:
            raise ConfigError(f"--weights {given}: expected ROLE=FILE, of the roles {', '.join(roles)}.")
        return roles[0], given


@dataclass(frozen=True, kw_only=True)
class OfFlow:
    """What the set of flow has otherwise than the set of frames; by default the same."""

    resize: Literal["fixed", "short_side", "none"] | None = None
    """How sizes are chosen."""
    width: int | None = None
    """Width of a stored image in pixels, for resize = fixed."""
    height: int | None = None
    """Height of a stored image in pixels, for resize = fixed."""
    short_side: int | None = None
    """Shorter side of a stored image in pixels, for resize = short_side."""
    interpolation: Literal["linear", "area", "cubic"] | None = None
    """How OpenCV resizes."""
    square_pixels: bool | None = None
    """Undo non-square pixels, for resize = short_side or none."""
    jpeg_quality: int | None = None
    """JPEG quality, 1 to 100."""


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(CommonConfig):
    """Fill a set of frames and a set of flow from the videos of a manifest, decoding each video once.

    Options have the names that they have in extract-frames and extract-flow, and each set gets the bytes that it gets
    there. Run the same command again to continue: what is finished of either set is kept. Exit status: 0 done, 1 too
    many videos were left out of a set, 2 the command was wrong.
    """

    frames: Folder
    """Folder (path or URI) of the set of frames; every node must be able to write to it."""
    flow: Folder
    """Folder (path or URI) of the set of flow; every node must be able to write to it."""
    recipe: tyro.conf.OmitArgPrefixes[FrameRecipe] = field(default_factory=FrameRecipe)
    """How frames are taken and stored, in both sets (codec and crf: in that of the frames)."""
    of_flow: OfFlow = field(default_factory=OfFlow)
    """What the set of flow has otherwise."""
    modality: FramesOf = "rgb"
    """What the videos show: rgb, or drawn poses (rendered by a pose estimator of your choice), a stream of its own."""
    bound: float = FlowRecipe.bound
    """Largest displacement kept, in pixels per frame step. Larger values are clipped to it."""
    tvl1: tyro.conf.OmitArgPrefixes[TvL1Params] = field(default_factory=TvL1Params)
    """Parameters of the solver."""
    preset: Preset = "classic"
    backend: Solver = "auto"
    gpus_per_task: float | None = None
    """Share of a GPU that one task holds; by default all cores of a node feed its GPUs, at most 8 each. 0: no GPU."""

    def __post_init__(self) -> None:
        _check_preset(self.preset, self.tvl1)

    def asked(self) -> TwoSetsRequest:
        """Return what is asked."""
        shared = {key: value for key, value in to_plain(self.recipe).items() if key not in ("codec", "crf")}
        other = {key: value for key, value in to_plain(self.of_flow).items() if value is not None}
        return TwoSetsRequest(
            frames=self.frames,
            flow=self.flow,
            recipe=RECIPES[self.modality](**to_plain(self.recipe)),
            flow_recipe=FlowRecipe(**{**shared, **other}, bound=self.bound, tvl1=self.tvl1),
            backend=self.backend,
            gpus_per_task=self.gpus_per_task,
            **self.common(),
        )


FLOW_PRESETS: dict[str, dict[str, Any]] = {
    name: {"recipe": {"tvl1": to_plain(params)}} for name, params in PRESETS.items()
}
BOTH_PRESETS: dict[str, dict[str, Any]] = {name: of_flow["recipe"] for name, of_flow in FLOW_PRESETS.items()}


def _check_preset(preset: str, params: TvL1Params) -> None:
    if preset != "classic" and params == TvL1Params():  # a preset is applied by the command line
        raise ConfigError(f"preset = {preset}, but every parameter is that of classic. Choose preset = classic.")


def main(config: ExtractFramesConfig | ExtractFlowConfig | ExtractPoseConfig | ExtractConfig) -> int:
    """Extract, say what came of it, and return the exit status."""
    request = config.asked()
    from kinebert.orchestration.jobs import extraction  # slow imports, after the options are known to be right

    if isinstance(request, TwoSetsRequest):
        results = [*extraction.extract_both(request, Terminal())]
    elif isinstance(request, PoseRequest):
        results = [extraction.extract_poses(request, Terminal())]
    else:
        results = [extraction.extract(request, Terminal())]
    for result in results:
        say(*_lines(result))
    say(*next_lines([_next(result) for result in results if _can_be_trained_on(result)]))
    return 1 if any(result.failed for result in results) else 0


def _lines(result: "Extraction") -> list[str]:
    """Say what a set holds, and what was left out."""
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
    if (poses := result.dataset.get("poses")) is not None:
        lines.append(f"  {describe_poses(PoseFacts(**poses), result.dataset['recipe'])}")
    if (still := describe_still(Counts(**counts), result.dataset["recipe"])) is not None:
        lines.append(f"  {still}")
    if counts["truncated"]:
        told = "truncated: decoding broke off, the frames before that are kept (index.parquet)"
        lines.append(f"  {counts['truncated']} {told}")
    lines += [f"  rejected {video['video_id']}: {video['problem']}" for video in rejected[:_SHOWN]]
    if len(rejected) > _SHOWN:
        lines.append(f"  and {len(rejected) - _SHOWN} more; all are in {result.folder}/dataset.json")
    if result.failed:
        share = f"{len(rejected)} rejected are {result.share_rejected:.1%} of the videos"
        return [*lines, f"failed: {share}, max_rejected allows {result.max_rejected:.1%}"]
    return lines


def _can_be_trained_on(result: "Extraction") -> bool:
    return not result.failed and result.dataset["counts"]["stored"] > 0


def _next(result: "Extraction") -> str:
    from kinebert.preprocessing.sets.reader import ShardSet  # OpenCV, which options need not wait for

    return train_command(result.folder, result.dataset["modality"], ShardSet.open(result.folder).splits())
