"""A training as one TOML file: what is read, what is built, how it learns."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kinebert.preprocessing.config import digest
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import resolve_uri
from kinebert.training.clips.ordering import MAX_SEED
from kinebert.training.recipe.augment import AugmentRecipe
from kinebert.training.recipe.data import DataRecipe
from kinebert.training.recipe.distill import DistillRecipe
from kinebert.training.recipe.model import ModelRecipe
from kinebert.training.recipe.multigrid import MultigridRecipe, phases_of
from kinebert.training.recipe.optim import (
    GroupRecipe,
    GroupsRecipe,
    LayerRecipe,
    MixRecipe,
    OptimRecipe,
    StageRecipe,
    at_least,
)
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.settings import identity_of, setting
from kinebert.training.recipe.streams import StreamRecipe
from kinebert.training.recipe.tune import TuneRecipe

__all__ = [
    "AugmentRecipe",
    "DataRecipe",
    "DistillRecipe",
    "GroupRecipe",
    "GroupsRecipe",
    "LayerRecipe",
    "MixRecipe",
    "ModelRecipe",
    "MultigridRecipe",
    "OptimRecipe",
    "ProtocolRecipe",
    "StageRecipe",
    "StreamRecipe",
    "TrainRecipe",
]


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """A complete training."""

    data: DataRecipe
    """What is read."""
    model: ModelRecipe = field(default_factory=ModelRecipe)
    """What is built."""
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    """How it learns."""
    test: ProtocolRecipe = setting(ProtocolRecipe(), changeable=True)
    """How it is tested afterwards, unless `kinebert evaluate` is told otherwise."""
    distill: DistillRecipe | None = setting(None, later=True)
    """The teacher that it learns from as well, if any."""
    tune: TuneRecipe | None = setting(None, changeable=True)
    """What `kinebert tune` searches; a training does not look at it."""
    batch_size: int = 128
    """Clips per update of the weights, over all workers and accumulated micro-batches."""
    micro_batch: int = 8
    """Clips that one worker feeds at once; what memory allows, and what batch normalisation sees."""
    eval_batch: int = setting(16, changeable=True)
    """Clips that one worker feeds at once in validation."""
    epochs: int = setting(60, changeable=True)
    """Passes over the training part; with stages, the sum of theirs, whatever is given here."""
    stages: tuple[StageRecipe, ...] = setting((), later=True)
    """Stages of progressive training, each starting from the last weights of the one before with a fresh optimizer and
    schedule. The last one is the result: data.clip_length is then its own, whatever is given there."""
    multigrid: MultigridRecipe = setting(MultigridRecipe(), later=True)
    """Batches that grow as their clips shrink."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes in the training loss, 0 to 1."""
    mixing: MixRecipe = setting(MixRecipe(), later=True)
    """Mixup and cutmix."""
    ema: float = setting(0.0, later=True)
    """Share that an average of the weights keeps of its old value at every update, such as 0.999; the average is then
    what is validated and saved as best.pt and last.pt. 0 saves the weights themselves."""
    early_stop: int = setting(0, later=True, changeable=True)
    """Epochs without a better validation after which training ends; 0 goes on to the last epoch."""
    non_finite: Literal["stop", "skip"] = setting("stop", later=True, changeable=True)
    """What a loss or gradient that is no number does, before it changes a weight: end the training and name the videos,
    or leave the update out, which is counted."""
    seed: int = 0
    """Decides weights, order, clips, crops and dropout."""
    workers: int = setting(1, changeable=True)
    """Training processes, each with its own share of every batch."""
    min_workers: int = setting(0, later=True, changeable=True)
    """Fewest processes to go on with where the cluster has no room for all, when nodes are lost, say: as many as there
    is room for and the batch can be dealt out to. 0 waits for all of them."""
    loader_workers: int | Literal["auto"] = setting("auto", changeable=True)
    """Processes per worker that read and crop clips; 0 does it in the worker itself. auto: where a GPU computes, as
    many as the node has cores for each worker, less one; on a CPU, whose cores compute, none."""
    amp: Literal["auto", "bf16", "fp16", "tf32", "off", "fp64"] = "auto"
    """Type of the forward pass; auto is bf16 on CUDA and full precision on a CPU, whose bf16 is for trying out only.
    off is float32, tf32 its quick and rounded reading by GPUs (float32 on a CPU); fp64 computes everything in double
    precision, to compare runs by."""
    compile: bool = setting(False, later=True)
    """Compile the network (torch.compile): minutes at the start, faster steps on a GPU."""
    channels_last: bool = setting(False, later=True, changeable=True)
    """Lay pictures out with their channels last, which half precision on a GPU is faster with."""
    sync_norm: bool = setting(False, later=True)
    """Batch norms see the micro-batches of all workers at once; needs GPUs, and makes the workers part of the run."""
    deterministic: bool = setting(False, later=True, changeable=True)
    """Take algorithms that give the same bits every time, where torch has them; slower on a GPU."""
    save_every_s: float = setting(600.0, changeable=True)
    """Seconds between saved states within an epoch; every epoch's end is saved as well."""
    hang_after_s: float = setting(900.0, later=True, changeable=True)
    """Seconds in which a worker must get on, with a micro-batch, say; else all are ended, their stacks written down,
    and training goes on from the last saved state. 0 waits for ever."""
    keep_best: int = setting(1, later=True, changeable=True)
    """Epochs whose recognizers are kept: the best one as best.pt, and with 2 or more each as epoch-0007.pt as well."""

    def __post_init__(self) -> None:
        if self.stages:  # so that whoever asks a recipe for its length or its clips hears of the whole, and of the end
            object.__setattr__(self, "epochs", sum(stage.epochs for stage in self.stages))
            object.__setattr__(self, "data", replace(self.data, clip_length=self.stages[-1].clip_length))
        for name in ("batch_size", "micro_batch", "eval_batch", "epochs", "workers", "keep_best"):
            at_least(1, name, getattr(self, name))
        for name in ("save_every_s", "seed", "hang_after_s"):
            at_least(0, name, getattr(self, name))
        if self.loader_workers != "auto":
            at_least(0, "loader_workers", self.loader_workers)
        if self.min_workers and self.sync_norm:
            raise ConfigError("sync_norm makes the number of workers a part of the run; leave min_workers out.")
        if not 0 <= self.min_workers <= self.workers:
            raise ConfigError(f"min_workers must lie between 0 and workers = {self.workers}, got {self.min_workers}.")
        self.test.check_sampling(self.data.sampling)
        if self.seed > MAX_SEED:
            raise ConfigError(f"seed must be at most {MAX_SEED}, got {self.seed}.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}.")
        for name in ("ema", "early_stop"):
            at_least(0, name, getattr(self, name))
        if self.ema >= 1:
            raise ConfigError(f"ema must be below 1, got {self.ema}.")
        if self.optim.stretched and (self.stages or self.optim.stretched[-1][0] >= self.epochs):
            raise ConfigError(
                f"optim.stretched goes on after {self.optim.stretched[-1][0]} epochs and epochs is {self.epochs}: it "
                "must be more, and stages cannot be stretched."
            )
        if self.mixing.on and self.micro_batch < 2:
            raise ConfigError("mixing needs two clips in a micro-batch, micro_batch is 1. Take a larger one.")
        if self.batch_size % (self.micro_batch * self.workers):
            raise ConfigError(
                f"batch_size {self.batch_size} cannot be cut into micro-batches of {self.micro_batch} clips on "
                f"{self.workers} worker{'s' * (self.workers > 1)}: it must be a multiple of {self.micro_batch} x "
                f"{self.workers} = {self.micro_batch * self.workers}."
            )
        phases_of(self)
        self._check_distill()
        self.in_stages()

    def _check_distill(self) -> None:
        distill = self.distill
        if distill is None:
            return
        if self.multigrid.on:
            raise ConfigError("distill: a teacher sees clips of one shape. Leave multigrid out.")
        drawn = [f"data.{name}" for name in self.data.drawn] + ["mixing"] * self.mixing.on
        if distill.keep_features and drawn:
            raise ConfigError(
                "distill.keep_features keeps answers for clips that are the same in every epoch, and these are drawn: "
                f'{", ".join(drawn)}. Take data.clips = "centre", multi_scale = false and flip = false, or leave '
                "keep_features out."
            )
        if distill.labels_count and distill.mers != "stages":
            return
        if self.optim.schedule == "plateau" or self.early_stop:
            raise ConfigError(
                f'distill.mers = "{distill.mers}" trains features under a classifier that is not trained, and '
                f"optim.schedule is {self.optim.schedule!r}, early_stop {self.early_stop}: a validation says nothing "
                'there. Take optim.schedule = "cosine", "multistep" or "constant", and leave early_stop out.'
            )
        if distill.mers == "stages" and (self.stages or self.epochs <= distill.feature_epochs):
            raise ConfigError(
                f'distill.mers = "stages" has {distill.feature_epochs} epochs of features out of epochs = '
                f"{self.epochs}: the classifier needs some as well, and stages cannot be given besides."
            )

    def with_absolute_shards(self) -> "TrainRecipe":
        """Return the recipe with the locations of its shard sets absolute, for workers that start in another folder.

        Raises:
            ConfigError: If it is relative in a submitted job.
        """
        shards, beside = self.data.places()
        distill = self.distill
        if distill is not None:
            theirs, kept = (at and resolve_uri(at) for at in (distill.shards, distill.keep_features))
            distill = replace(distill, shards=theirs, keep_features=kept)
        return replace(self, data=replace(self.data, shards=shards, beside=beside), distill=distill)

    def in_stages(self) -> "tuple[TrainRecipe, ...]":
        """Return a recipe for each stage; this one alone if there are none.

        Raises:
            ConfigError: If a stage's numbers are out of range or do not fit each other.
        """
        if self.distill is not None and self.distill.method == "mers" and self.distill.mers != "joint":
            return self._mers()
        if not self.stages:
            return (self,)
        recipes = []
        for i, stage in enumerate(self.stages):
            # weights that a stage gets from the one before are not read from a file
            model = self.model if i == 0 else self.model.without_weights()
            try:
                recipes.append(
                    replace(
                        self,
                        stages=(),
                        model=model,
                        data=replace(self.data, clip_length=stage.clip_length),
                        epochs=stage.epochs,
                        batch_size=self.batch_size if stage.batch_size is None else stage.batch_size,
                        micro_batch=self.micro_batch if stage.micro_batch is None else stage.micro_batch,
                        optim=self.optim if stage.lr is None else replace(self.optim, lr=stage.lr),
                    )
                )
            except ConfigError as error:
                raise ConfigError(f"stage {i + 1}: {error}") from None
        return tuple(recipes)

    def _mers(self) -> "tuple[TrainRecipe, ...]":
        """Return the stages of MERS as its paper has it: features alone, then the classifier on features that stay."""
        distill, optim = self.distill, self.optim
        assert distill is not None
        if distill.mers == "features":
            if "classifier" in optim.frozen:
                return (self,)
            return (replace(self, optim=replace(optim, frozen=(*optim.frozen, "classifier"))),)
        features = replace(
            self, epochs=distill.feature_epochs, distill=replace(distill, mers="features", feature_epochs=0)
        )
        frozen = tuple(dict.fromkeys((*optim.frozen, "backbone", "head")))
        classifier = replace(
            self,
            epochs=self.epochs - distill.feature_epochs,
            distill=None,
            model=replace(self.model, weights="", weights_digest="", weights_allow=()),
            optim=replace(optim, frozen=frozen, lr_zero=(), layers=()),
        )
        return (*features.in_stages(), classifier)

    @property
    def accumulation(self) -> int:
        """Micro-batches that a worker adds up for one update."""
        return self.batch_size // (self.micro_batch * self.workers)

    def on(self, num_workers: int) -> "TrainRecipe":
        """Return the same training on ``num_workers`` processes."""
        return replace(self, workers=num_workers, min_workers=min(self.min_workers, num_workers))

    def sizes(self) -> list[int]:
        """Return the numbers of processes that may train together, from ``workers`` down to ``min_workers``."""
        least = self.min_workers or self.workers
        every = range(self.workers, least - 1, -1)
        return [num for num in every if all(one.batch_size % (one.micro_batch * num) == 0 for one in self.in_stages())]

    def identity(self) -> dict[str, Any]:
        """Return the plain values that decide the weights: the fields that may not change, see :func:`.setting`."""
        plain = identity_of(self)
        if self.sync_norm:
            plain["workers"] = self.workers  # decides what batch normalisation sees
        if self.optim.schedule == "cosine":
            plain["epochs"] = self.epochs  # the whole curve depends on where it ends
        if self.multigrid.long_cycle:
            plain["epochs"] = self.epochs  # they are shared out among its shapes
        return plain

    def digest(self) -> str:
        """Return twelve characters that change with anything that changes the weights."""
        return digest(self.identity())
