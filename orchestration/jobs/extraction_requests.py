"""What can be asked of extractions, as plain values: of one set, and of two that are filled in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.pose.estimator import backend_of
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.storage import resolve_uri
from kinebert.preprocessing.tvl1 import Backend


@dataclass(frozen=True, kw_only=True)
class ExtractionSettings:
    """What extractions of all kinds are asked."""

    manifest: str
    """Manifest made by `kinebert index` (path or URI)."""
    limits: Limits = field(default_factory=Limits)
    """How long one video may take."""
    max_rejected: float = 0.01
    """Largest share of videos that may be left out before the job counts as failed, 0 to 1."""
    videos_per_shard: int | None = None
    """Videos in one shard, on average. By default planned by work: 64 shards or more, of at most 128 MB."""
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
class SolverSettings(ExtractionSettings):
    """What extractions are asked that may store flow."""

    backend: Backend = "auto"
    """Who solves flow. auto: torch on the cluster's GPUs, numba where there are none."""
    gpus_per_task: float | None = None
    """Share of a GPU that one task holds; by default all cores of a node feed its GPUs, at most 8 each. 0: no GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self.gpus_per_task)
        if self.gpus_per_task and self.backend in ("numba", "opencv"):
            raise ConfigError(f"gpus_per_task = {self.gpus_per_task:g}, but backend = {self.backend} uses no GPU.")


def check_share(gpus_per_task: float | None) -> None:
    """Raise a ConfigError if that is no share of a GPU, nor None."""
    if gpus_per_task is not None and not 0 <= gpus_per_task <= 1:
        raise ConfigError(f"gpus_per_task must lie between 0 and 1, got {gpus_per_task}.")


@dataclass(frozen=True, kw_only=True)
class ExtractionRequest(SolverSettings):
    """A shard set that is to be made, or to be completed."""

    output: str
    """Folder (path or URI) of the shard set; every node must be able to write to it."""
    recipe: FrameRecipe
    """How frames are taken and stored; a :class:`.FlowRecipe` also says how flow is computed."""


@dataclass(frozen=True, kw_only=True)
class PoseRequest(ExtractionSettings):
    """A set of poses that is to be made, or to be completed: of videos, of a set of frames, or of another's joints."""

    output: str
    """Folder (path or URI) of the shard set; every node must be able to write to it."""
    manifest: str = ""
    """Manifest made by `kinebert index` (path or URI), of the videos to look at."""
    from_set: str = ""
    """Set of frames (path or URI) to look at in place of videos; labels and splits are its own."""
    redraw: str = ""
    """Set of poses with joints (path or URI) to draw anew, without network and video."""
    recipe: PoseRecipe
    """How people are looked for, drawn and stored; only how they are drawn and stored where they are drawn anew."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Local paths of files of weights by their roles; others are found by the digests of the recipe."""
    gpus_per_task: float | None = None
    """Share of a GPU that one task holds; by default up to 4 tasks feed one, if the backend can use it. 0: no GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self.gpus_per_task)
        if sum(map(bool, (self.manifest, self.from_set, self.redraw))) != 1:
            raise ConfigError("say what is looked at: one of manifest, from_set (of frames) and redraw (of poses).")
        if not self.redraw and not self.recipe.backend:
            raise ConfigError(
                "backend must say who finds people; kinebert extract-pose --backends tells which there are. (Videos "
                "that show drawn poses: kinebert extract-frames --modality pose.)"
            )
        if self.gpus_per_task and (self.redraw or not backend_of(self.recipe.backend).uses_gpu):
            who = "drawing anew" if self.redraw else f"backend = {self.recipe.backend}"
            raise ConfigError(f"gpus_per_task = {self.gpus_per_task:g}, but {who} uses no GPU. Leave it out.")


@dataclass(frozen=True, kw_only=True)
class TwoSetsRequest(SolverSettings):
    """A set of frames and one of flow that are to be made, or to be completed, with one decoding of each video."""

    frames: str
    """Folder (path or URI) of the set of frames; every node must be able to write to it."""
    flow: str
    """Folder (path or URI) of the set of flow; every node must be able to write to it."""
    recipe: FrameRecipe
    """How frames are taken and stored."""
    flow_recipe: FlowRecipe
    """How flow is computed and stored, of the same frames; their size may be another."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if resolve_uri(self.frames) == resolve_uri(self.flow):
            raise ConfigError(f"{self.flow}: frames and flow are two sets: give each a folder of its own.")
        if isinstance(self.recipe, FlowRecipe):
            raise ConfigError("the recipe of the frames is one for flow: give that as the recipe of the flow.")
        if self.recipe.solving is not None:
            raise ConfigError("the recipe of the frames looks for poses: kinebert extract-pose makes a set of them.")
        for name in ("frame_step", "drop_repeats", "video_stream"):
            frames, flow = getattr(self.recipe, name), getattr(self.flow_recipe, name)
            if frames != flow:
                raise ConfigError(
                    f"{name} is {frames} for the frames and {flow} for the flow: sets that are filled in one pass are "
                    "made of the same frames. Extract them one after the other, or give both the same."
                )
