"""What can be asked of each job, as plain values. A program's options are one of these; so are a Python caller's."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction.guard import MAX_PIXELS
from kinebert.preprocessing.tvl1 import Backend
from kinebert.training.clips.sampling import Clips
from kinebert.training.recipe.protocol import ProtocolRecipe

if TYPE_CHECKING:
    from kinebert.training.recipe.train import TrainRecipe

_WORDS: tuple[Literal["single", "first", "multi", "eccv2020"], ...] = ("single", "first", "multi", "eccv2020")

VAL_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares of a random split that is asked for without them."""


@dataclass(frozen=True, kw_only=True)
class IndexRequest:
    """A data set whose videos are to be listed in a manifest."""

    source: str
    """Kind of the data set, such as folder or csv: a name of :data:`kinebert.preprocessing.datasets.READERS`."""
    paths: tuple[str, ...]
    """Videos and lists, as the source wants them: local paths or URIs."""
    output: str
    """The manifest to write (Parquet). One that is there is replaced."""
    split_name: str | None = None
    """Make a random split of this name, stratified, groups kept together; by default split1 if there is none."""
    val: float | None = None
    """Share of validation videos in the random split, 0 to 1; by default 0.1."""
    test: float | None = None
    """Share of test videos in the random split, 0 to 1; by default 0.2."""
    seed: int = 0
    """Another number gives another random split."""
    group_regex: str | None = None
    """Regular expression for the part of an id that names a recording; by default the groups that the source names."""
    same_content: bool = False
    """Take files of equal bytes for one file."""
    max_problems: float = 0.01
    """Largest share of videos that may be unusable before the job counts as failed, 0 to 1."""
    timeout_s: float = 60.0
    """Longest that looking into one file may take."""
    num_workers: int | None = None
    """Files to look into at once; by default one per core."""
    video_stream: int | None = None
    """Which of several video streams to look into, from 0; by default the default one, else the largest."""
    max_pixels: int = MAX_PIXELS
    """Most pixels of one picture; videos of larger ones cannot be used."""

    def __post_init__(self) -> None:
        for name, share in (("val", self.val), ("test", self.test), ("max-problems", self.max_problems)):
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"--{name} is a share from 0 to 1, got {share:g}.")
        if min(self.timeout_s, self.max_pixels) <= 0 or (self.num_workers is not None and self.num_workers < 1):
            raise ConfigError("--timeout-s, --num-workers and --max-pixels must be positive.")
        if self.split_name == "":
            raise ConfigError("--split-name needs a name.")


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A training that is to be done, or to be gone on with."""

    recipe: "TrainRecipe"
    """The whole training. ``data.shards`` may be relative to the present folder."""
    source: str = "a recipe in Python"
    """Where the recipe is from, for the report."""
    output: str
    """Folder (path or URI) of the run."""
    experiment: str = "kinebert"
    """MLflow experiment that the run belongs to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else mlflow.db beside the folder."""
    mirror: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Further pages that get the numbers, as MLflow does: tensorboard, wandb (extras of the same names)."""
    cpus_per_worker: float | None = None
    """Logical CPUs that a worker holds; by default a share of this machine, or on a cluster 1 and 1 per loader."""
    stretch_schedule: bool = False
    """Go on with another number of epochs than a cosine schedule was begun for: the rest of it is stretched."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU per worker where there are some; cuda refuses to train without."""
    new: bool = False
    """Refuse to go on with a training that the folder holds already."""


@dataclass(frozen=True, kw_only=True)
class TuningRequest:
    """A search over fields of a recipe that is to be done, or to be gone on with."""

    recipe: "TrainRecipe"
    """What is searched is in its table ``tune``. ``data.shards`` may be relative to the present folder."""
    source: str = "a recipe in Python"
    """Where the recipe is from, for errors."""
    output: str
    """Folder (path or URI) of the search."""
    experiment: str = "kinebert"
    """MLflow experiment that the runs belong to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else mlflow.db beside the folder."""
    mirror: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Further pages that get the numbers, as MLflow does: tensorboard, wandb (extras of the same names)."""
    cpus_per_worker: float | None = None
    """Logical CPUs that each worker of a trial holds; by default 1, and 1 for each of its loaders."""
    gpus_per_worker: float | None = None
    """GPUs that each worker holds; a part, such as 0.25, lets trials share one. By default 1 if there are any."""

    def __post_init__(self) -> None:
        if self.recipe.tune is None:
            raise ConfigError(f"{self.source}: there is no table [tune] that says what to search. See docs/tuning.md.")
        for name in ("cpus_per_worker", "gpus_per_worker"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ConfigError(f"{name} must not be negative, got {value}.")


@dataclass(frozen=True, kw_only=True)
class Views:
    """What to take instead of the ``[test]`` of the training's recipe."""

    views: str | None = None
    """Clips of each video. single: the centre one; first: that from the first image on; multi: all that fit without
    overlap; eccv2020: those of the BERT paper's program; or a number of clips. By default what the training's recipe
    says in test.clips."""
    crops: Literal[1, 3, 10] | None = None
    """Crops of each clip: the centre; and both ends of the longer side; or the centre and corners with their mirror
    images. By default the recipe's test.crops."""
    average: Literal["logits", "softmax"] | None = None
    """What a video's score is the mean of; by default the recipe's test.average."""
    step: int | None = None
    """Images from the start of one clip to the next: a sliding window, instead of the recipe's clips. 0: no overlap."""
    scale: float | None = None
    """Side of the crops as a part of the picture's shorter side; by default the recipe's test.scale, 0: that of the
    validation."""
    crop_size: int | None = None
    """Height and width of the network's input in pixels; by default the recipe's test.crop_size, 0: as in training."""

    def over(self, protocol: ProtocolRecipe) -> ProtocolRecipe:
        """Return ``protocol`` with what was given here.

        Raises:
            ConfigError: If the values do not fit each other.
        """
        names = ("crops", "average", "step", "scale", "crop_size")
        given: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.views is not None:
            given = {"step": 0, **given, "clips": _clips(self.views)}
        elif self.step:
            given["clips"] = "multi"
        return replace(protocol, **given)


def _clips(text: str) -> Clips:
    if text.isdecimal():
        return int(text)
    for word in _WORDS:
        if text == word:
            return word
    raise ConfigError(f"views must be {', '.join(_WORDS)} or a number of clips, got {text!r}.")


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest(Views):
    """Checkpoints whose scores are wanted on one part of a split."""

    checkpoints: tuple[str, ...]
    """best.pt of a training (path or URI), or of one training per split."""
    part: str = "test"
    """Part of the split to score: train, val or test."""
    split: str | None = None
    """Name of the split; by default that of the training."""
    shards: str | None = None
    """Shard set (path or URI); by default that of the training."""
    beside: tuple[str, ...] = ()
    """With --shards, of a network of several streams: the further sets, as data.beside of its recipe has them."""
    output: str | None = None
    """Folder for the scores and the report, of one checkpoint; by default one beside the checkpoint, named after split,
    part and views."""
    batch: int = 16
    """Views that are fed at once."""
    device: str = "auto"
    """auto takes a GPU if there is one; or cpu, cuda, cuda:1."""
    workers: int = 1
    """Processes that score, placed by Ray, with a GPU each where there are some; 1 scores in this one."""
    loader_workers: int | Literal["auto"] = "auto"
    """Processes per worker that read clips; 0: the worker itself. auto: on GPUs as many as it has cores, less one."""
    save_every_s: float = 60.0
    """Seconds between saves of what was scored; the same command goes on from the last one."""
    mirror: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Further pages that get the numbers, as MLflow does: tensorboard, wandb (extras of the same names)."""

    def __post_init__(self) -> None:
        if self.beside and not self.shards:
            raise ConfigError("--beside is given without --shards. Give the first set as well.")
        if self.batch < 1:
            raise ConfigError(f"batch must be at least 1, got {self.batch}.")
        if not 0 <= self.save_every_s < math.inf:
            raise ConfigError(f"save_every_s must be a number of seconds from 0, got {self.save_every_s}.")
        if not self.checkpoints:
            raise ConfigError("give the checkpoint of a training, such as runs/rgb/best.pt.")
        if self.output is not None and len(self.checkpoints) > 1:
            raise ConfigError("--output is for one checkpoint; several keep their scores beside themselves.")
        if self.workers > 1 and self.device not in ("auto", "cpu"):
            raise ConfigError("workers choose their own GPUs: with --workers, device is auto or cpu.")


@dataclass(frozen=True, kw_only=True)
class FusionRequest:
    """Scores of streams that are to be combined."""

    scores: tuple[str, ...]
    """scores.parquet files of `kinebert evaluate`, one per stream."""
    method: Literal["l2", "softmax"] = "l2"
    """l2: each video's score divided by its L2 norm, then summed, as in the BERT paper; softmax: the mean of the
    probabilities."""
    weights: tuple[float, ...] | None = None
    """One weight per stream; by default all 1."""
    fit: tuple[str, ...] = ()
    """Scores of the same streams, in the same order, on a validation part: the weights best there are taken."""
    output: str = "fused"
    """Folder for scores.parquet and the report."""
    experiment: str = "kinebert"
    """MLflow experiment that the result belongs to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default the store of the first stream's run."""
    mirror: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Further pages that get the numbers, as MLflow does: tensorboard, wandb (extras of the same names)."""

    def __post_init__(self) -> None:
        if self.fit and (self.weights is not None or len(self.fit) != len(self.scores)):
            raise ConfigError(f"--fit takes one table per stream ({len(self.scores)}), and no --weights beside it.")


@dataclass(frozen=True, kw_only=True)
class AveragingRequest:
    """Stored scores that are to be averaged anew."""

    tables: tuple[str, ...]
    """views.parquet (or, for several splits, scores.parquet) of `kinebert evaluate` or `fuse`."""
    average: Literal["logits", "softmax"] | None = None
    """What a video's score is the mean of; by default what the views were made for."""
    clips: tuple[int, ...] = ()
    """Numbers of the clips to take, from 0; by default all."""
    crops: tuple[int, ...] = ()
    """Numbers of the crops to take, from 0, the centre; by default all."""
    output: str = "averaged"
    """Folder for scores.parquet and the report, of one table."""

    def __post_init__(self) -> None:
        if not self.tables:
            raise ConfigError("give a views.parquet of `kinebert evaluate`.")


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """Runs that are to be put side by side."""

    runs: tuple[str, ...] = ()
    """Folders of trainings, scores.parquet files, or ids or names of MLflow runs; the first is the baseline. None
    takes all finished runs of the experiment, oldest first."""
    on: str | None = None
    """Which evaluation of the runs, such as split1-test-multi; by default the one that all of them have."""
    baseline: str | None = None
    """Run of the comparison that the others are compared with, by its name there; by default the first."""
    anyway: bool = False
    """Rank the runs even if their numbers do not mean the same."""
    output: str = "comparison"
    """Folder for the page and the tables."""
    experiment: str | None = None
    """MLflow experiment that runs are looked for in; by default all."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else runs/mlflow.db."""

    def __post_init__(self) -> None:
        if not self.runs and self.experiment is None:
            raise ConfigError("give two or more runs, or --experiment NAME for all of one.")


@dataclass(frozen=True, kw_only=True)
class PredictionRequest(Views):
    """New videos of which recognizers are to say what happens."""

    videos: tuple[str, ...]
    """Video files, or folders of them (paths or URIs)."""
    checkpoint: tuple[str, ...]
    """best.pt of a training, or of one per stream: those are fused."""
    method: Literal["l2", "softmax"] = "l2"
    """How several streams are fused, see `kinebert fuse`."""
    weights: tuple[float, ...] | None = None
    """One weight per stream; by default all 1."""
    output: str = "predictions"
    """Folder for what is written."""
    annotate: bool = False
    """Write each video with its best classes below the picture, as MP4."""
    top: int = 5
    """Classes that are named."""
    batch: int = 16
    """Views that are fed at once."""
    device: str = "auto"
    """auto takes a GPU if there is one; or cpu, cuda, cuda:1."""
    backend: Backend = "auto"
    """Who solves flow: auto, numba, torch or opencv."""
    pose_weights: str = ""
    """Folder to look in first for the weights that people are found with, where a checkpoint was trained on poses."""
    max_pixels: int = MAX_PIXELS
    """Most pixels of one picture as coded; videos of larger ones are left out."""

    def __post_init__(self) -> None:
        if min(self.batch, self.top) < 1:
            raise ConfigError(f"batch and top must be at least 1, got {self.batch} and {self.top}.")
        if self.max_pixels < 1:
            raise ConfigError(f"max_pixels must be at least 1, got {self.max_pixels}.")
        if not self.videos:
            raise ConfigError("give a video, or a folder of videos.")
        if self.weights is not None and len(self.weights) != len(self.checkpoint):
            raise ConfigError(f"--weights takes one number per checkpoint ({len(self.checkpoint)}).")


@dataclass(frozen=True, kw_only=True)
class DiagnosisRequest:
    """A machine with its packages and servers that is to be looked over."""

    folders: tuple[str, ...] = ()
    """Folders or URIs where sets or runs are to go, beside the present folder and those for temporary files."""
    timeout_s: float = 60.0
    """Longest that all of it may take."""

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise ConfigError(f"--timeout-s must be positive, got {self.timeout_s:g}.")
