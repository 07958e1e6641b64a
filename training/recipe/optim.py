"""The parts of a recipe that say how a recognizer learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from kinebert.preprocessing.discovery import names_of
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.settings import setting

OPTIMIZERS = "kinebert.training.optim.rules"
"""Package whose modules are the optimizers; their names are known without importing them."""


def at_least(least: float, name: str, value: float) -> None:
    """Raise a ConfigError that names the key if ``value`` is below ``least``, or no number."""
    if not value >= least:
        raise ConfigError(f"{name} must be at least {least}, got {value}.")


@dataclass(frozen=True, kw_only=True)
class GroupRecipe:
    """How one part of the recognizer learns, where it differs from the others."""

    lr_scale: float = 1.0
    """Factor of the learning rate."""
    weight_decay: float | None = None
    """Weight decay of this part; left out, that of optim."""

    def __post_init__(self) -> None:
        if not self.lr_scale > 0:
            raise ConfigError(
                f"optim.groups: lr_scale must be positive, got {self.lr_scale}. A part that is not to be trained "
                "goes into optim.frozen."
            )
        if self.weight_decay is not None:
            at_least(0, "optim.groups: weight_decay", self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class GroupsRecipe:
    """The parts of a recognizer that may learn in their own ways."""

    backbone: GroupRecipe = GroupRecipe()
    """The network, without a feature reduction."""
    reduction: GroupRecipe = GroupRecipe()
    """The block that a feature reduction appended or put in."""
    head: GroupRecipe = GroupRecipe()
    """The temporal head."""
    classifier: GroupRecipe = GroupRecipe()
    """The last linear layer."""


@dataclass(frozen=True, kw_only=True)
class LayerRecipe(GroupRecipe):
    """How some parameters learn, whatever part they are in."""

    match: str
    """Names of parameters, * for any letters: backbone.layer4.*, or *.flow_layer.*; those of modules will not do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.match:
            raise ConfigError("optim.layers: match is empty. Give names of parameters, such as backbone.layer4.*")


@dataclass(frozen=True, kw_only=True)
class OptimRecipe:
    """How weights follow gradients. Published: adamw at 1e-5 with BERT; sgd at 1e-2 with dampening 0.9 without it."""

    name: str = "adamw"
    """Optimizer: adamw, adam, sgd or swats, which is adam until its own test switches it to sgd."""
    lr: float = 1e-4
    """Learning rate for one effective batch, before warm-up and schedule."""
    lr_batch: int = setting(0, later=True)
    """Batch size that lr is meant for: lr is multiplied by batch_size / lr_batch; 0 takes lr as it is."""
    weight_decay: float = 1e-3
    """Weight decay: decoupled in adamw, an L2 penalty in sgd, adam and swats."""
    decay_norms: bool = setting(True, later=True)
    """Decay weights of normalisation layers and all biases as well, as published; false exempts them."""
    groups: GroupsRecipe = setting(GroupsRecipe(), later=True)
    """Parts of the recognizer (backbone, reduction, head, classifier) that learn in another way."""
    layers: tuple[LayerRecipe, ...] = setting((), later=True)
    """Parameters that learn in another way than their part: tables of match, lr_scale and weight_decay, which take the
    place of the part's own; of several that match a parameter, the last one."""
    frozen: tuple[str, ...] = setting((), later=True)
    """Modules that are not trained, such as backbone.layer1 or (* is any letters) backbone.layer[12]; their batch
    norm's statistics stay as well."""
    lr_zero: tuple[str, ...] = setting((), later=True)
    """Modules, named as in frozen, whose learning rate is 0: no weight of theirs moves, but their batch norms go on as
    in training, by the statistics of each batch, and move their running ones, as MARS is fine-tuned."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two running averages of adamw, adam and swats; the first is swats' momentum after its switch."""
    switch_tolerance: float = setting(1e-9, later=True)
    """How near swats' projected learning rate must be to its running average for the switch (1e-9 as published)."""
    momentum: float = 0.9
    """Momentum of sgd."""
    dampening: float = 0.0
    """Part of the gradient that sgd's momentum leaves out (0.9 in the published code)."""
    max_grad_norm: float = 40.0
    """Gradients are scaled down to this global L2 norm; 0 leaves them as they are."""
    schedule: Literal["plateau", "multistep", "cosine", "constant"] = "plateau"
    """plateau: lr times factor when validation stalls; multistep: at milestones; cosine: to 0 at the end; constant."""
    monitor: Literal["loss", "top1"] = setting("loss", later=True)
    """What plateau watches: the validation loss, or its top-1."""
    patience: int = 5
    """Epochs without a better validation that plateau bears."""
    milestones: tuple[int, ...] = setting((), later=True)
    """Epochs after which multistep multiplies the learning rate by factor, rising."""
    factor: float = 0.1
    """What plateau and multistep multiply the learning rate by."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises linearly from 0, before any schedule."""
    warmup_steps: int = setting(0, later=True)
    """Updates of the weights over which it does so, in place of warmup_epochs."""
    warmup_from: float = setting(0.0, later=True)
    """Part of lr that the warm-up begins with: the rate then rises in a straight line from there to what the schedule
    says at the warm-up's end. 0: what the schedule says of each update, times the updates so far by all of them."""
    cosine_from: Literal["start", "warmup"] = setting("start", later=True)
    """Where the half period of cosine begins: with the first update, or with the first one after the warm-up."""
    stretched: tuple[tuple[int, int], ...] = setting((), later=True)
    """Where a cosine got another end on its way, as pairs: [6, 24] followed the curve of 24 epochs for 6 of them, and
    the rest of it ends with the next pair's epochs, or the recipe's. `kinebert train --stretch-schedule` writes it."""

    def __post_init__(self) -> None:
        known = sorted(names_of(OPTIMIZERS), key=lambda name: (name != OptimRecipe.name, name))
        if self.name not in known:
            raise ConfigError(f"optim: name: {self.name!r} is not one of {', '.join(map(repr, known))}.")
        for name in ("lr", "switch_tolerance"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"optim.{name} must be positive, got {getattr(self, name)}.")
        for name in ("weight_decay", "warmup_epochs", "warmup_steps", "patience", "max_grad_norm", "lr_batch"):
            at_least(0, f"optim.{name}", getattr(self, name))
        for name in ("momentum", "dampening", "betas"):
            value = getattr(self, name)
            if not all(0 <= part < 1 for part in (value if isinstance(value, tuple) else (value,))):
                raise ConfigError(f"optim.{name} must be at least 0 and below 1, got {value}.")
        if not 0 < self.factor < 1:
            raise ConfigError(f"optim.factor must lie strictly between 0 and 1, got {self.factor}.")
        if (self.schedule == "multistep") != bool(self.milestones):
            raise ConfigError(
                f"optim.milestones is {list(self.milestones)} and optim.schedule {self.schedule!r}: multistep needs "
                "milestones, and no other schedule takes them."
            )
        if self.stretched and self.schedule != "cosine":
            raise ConfigError(
                f"optim.stretched is of the schedule 'cosine' alone, optim.schedule is {self.schedule!r}."
            )
        follows = [after for after, _ in self.stretched]
        if not _rising((0, *follows)) or any(after >= planned for after, planned in self.stretched):
            raise ConfigError(
                "optim.stretched must be pairs of epochs that rise from 1, each before the end of the curve that was "
                f"followed until then, got {[list(pair) for pair in self.stretched]}."
            )
        self._check_warmup()
        if not _rising((0, *self.milestones)):
            raise ConfigError(f"optim.milestones must be epochs from 1 that rise, got {list(self.milestones)}.")

    def _check_warmup(self) -> None:
        if self.warmup_epochs and self.warmup_steps:
            raise ConfigError(
                f"optim.warmup_epochs is {self.warmup_epochs} and optim.warmup_steps {self.warmup_steps}: both say how "
                "long the warm-up is. Leave one of them out."
            )
        if not 0 <= self.warmup_from < 1:
            raise ConfigError(f"optim.warmup_from must be at least 0 and below 1, got {self.warmup_from}.")
        has_warmup = self.warmup_epochs or self.warmup_steps
        if self.warmup_from and not has_warmup:
            raise ConfigError("optim.warmup_from is of a warm-up. Give optim.warmup_epochs or optim.warmup_steps too.")
        if self.cosine_from == "warmup" and (self.schedule != "cosine" or self.stretched or not has_warmup):
            raise ConfigError(
                "optim.cosine_from = \"warmup\" is of the schedule 'cosine' after a warm-up, and cannot be stretched: "
                f"optim.schedule is {self.schedule!r}, the warm-up {self.warmup_steps or self.warmup_epochs} and "
                f"optim.stretched {[list(pair) for pair in self.stretched]}."
            )

    def scaled_lr(self, batch_size: int) -> float:
        """Return the learning rate for updates of ``batch_size`` clips."""
        return self.lr * batch_size / self.lr_batch if self.lr_batch else self.lr


@dataclass(frozen=True, kw_only=True)
class MixRecipe:
    """Mixup and cutmix of the clips of a micro-batch; with both on, each batch has one of them at even odds."""

    mixup: float = 0.0
    """Alpha of the Beta distribution of mixup's shares (0.2 to 1); 0 turns it off."""
    cutmix: float = 0.0
    """Alpha of the Beta distribution of cutmix's areas (1 as published); 0 turns it off."""
    share: float = 1.0
    """Share of the micro-batches that are mixed, 0 to 1."""

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix", "share"):
            at_least(0, f"mixing.{name}", getattr(self, name))
        if self.share > 1:
            raise ConfigError(f"mixing.share must be at most 1, got {self.share}.")

    @property
    def on(self) -> bool:
        """Whether anything is mixed."""
        return max(self.mixup, self.cutmix) > 0


@dataclass(frozen=True, kw_only=True)
class StageRecipe:
    """A stage of progressive training: what is otherwise than in the rest of the recipe."""

    clip_length: int
    """Images in a clip."""
    epochs: int
    """Passes over the training part."""
    batch_size: int | None = None
    """Clips per update of the weights; left out, the recipe's."""
    micro_batch: int | None = None
    """Clips that one worker feeds at once; left out, the recipe's. Long clips need a small one."""
    lr: float | None = None
    """Learning rate that the stage begins with; left out, that of optim."""


def _rising(values: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(values))
