"""The table ``[distill]`` of a recipe: the teacher, and what its student is to have in common with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.optim import at_least
from kinebert.training.recipe.settings import setting

Method = Literal["mars", "mers", "bert", "logits"]
TABLE_5_1 = 100_000.0
"""Lambda of the METU thesis (table 5.1), of a mean over 4 time steps of 512 features."""
_WEIGHTS = {"mars": 50.0, "mers": 50.0, "logits": 1.0}
"""Published, but for logits."""


@dataclass(frozen=True, kw_only=True)
class TeacherRecipe:
    """The network that published weights are of, where the teacher is no checkpoint of this program."""

    backbone: str
    """Name of the backbone."""
    reduction: str = "none"
    """Feature reduction: frab, frmb or none."""
    reduction_width: int = 512
    """Features that it leaves."""
    head: str = "tgap"
    """Name of the temporal head."""
    width: float = 1.0
    """Multiplier of the backbone's channels."""
    backbone_options: dict[str, Any] = field(default_factory=dict)
    """Further options of the backbone, by name."""
    head_options: dict[str, Any] = field(default_factory=dict)
    """Further options of the head, by name."""
    modality: str = ""
    """Pictures that it takes, such as rgb or flow; empty: those of the student."""
    num_classes: int = 0
    """Classes that it tells apart; 0: as many as the data has. Only logits asks for them."""
    clip_length: int = 0
    """Images in its clip; 0: as the student."""
    frame_interval: int = 0
    """Stored images from one to the next; 0: as the student."""
    flow_stack: int = 1
    """Flow fields in the channels of one image."""
    layout: str = ""
    """How the file names its parameters (`kinebert weights` lists the names); empty: found out from them."""
    allow: tuple[str, ...] = ()
    """Patterns (such as head.*) of parameters that the file may lack, and of its keys that need no place."""

    def __post_init__(self) -> None:
        for name in ("num_classes", "clip_length", "frame_interval"):
            at_least(0, f"distill.network.{name}", getattr(self, name))
        for name in ("reduction_width", "flow_stack"):
            at_least(1, f"distill.network.{name}", getattr(self, name))
        # here, since networks import torch, and recipes are read where that would be too slow
        from kinebert.training.models.registry import joint_options

        joint_options(self.backbone, self.backbone_options, self.head, self.head_options)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``build_recognizer`` that stand here as they are."""
        names = ("backbone", "head", "width", "reduction_width", "flow_stack")
        chosen = {name: getattr(self, name) for name in names}
        reduction = None if self.reduction == "none" else self.reduction
        return {
            **self.head_options,
            **chosen,
            "reduction": reduction,
            "backbone_options": dict(self.backbone_options),
            "dropout": 0.0,
        }


@dataclass(frozen=True, kw_only=True)
class DistillRecipe:
    """Distillation: a student learns from a trained network, its teacher, as well as from labels."""

    method: Method
    """mars: cross-entropy, and the pooled features of the teacher; mers: the backbone learns these features alone, and
    the classifier the labels alone; bert: cross-entropy, and directions of BERT's outputs at the time steps towards the
    teacher's features there; logits: cross-entropy, and the teacher's softened classes."""
    teacher: str = setting("", changeable=True)
    """The teacher: a checkpoint of this program, or with distill.network published weights. A path or URI, a name in
    the folder KINEBERT_WEIGHTS, or an https:// or hf:// address, which teacher_digest must pin."""
    teacher_digest: str = ""
    """SHA-256 of that file; filled in where the training starts, so that a run goes on with no other teacher."""
    network: TeacherRecipe | None = None
    """What the weights are of, where they are published ones."""
    shards: str = setting("", changeable=True)
    """Shard set of the teacher's pictures, of the same videos; empty: the teacher sees those of the student."""
    weight: float | None = None
    """What the loss that is not the labels' is multiplied by: alpha of mars and mers (50), lambda of bert (100000 with
    a mean, 48.828125, which is 100000 / (4 x 512), with a sum), or that of logits (1). Left out: those."""
    temperature: float = 4.0
    """What logits divides the scores of both by; the loss is multiplied by its square."""
    positions: Literal["all", "hidden"] = "all"
    """Time steps that bert compares: all, or those alone that the mask has hidden."""
    reduction: Literal["mean", "sum"] = "mean"
    """What bert makes of the squares of a clip: their mean over time steps and features, for which the papers' lambdas
    are meant, or their sum, as equation 5.1 is written, which is steps times features as much."""
    mers: Literal["joint", "stages", "features"] = "joint"
    """joint: features and classifier in every update, from two passes, as published programs have it; stages: the
    features for feature_epochs, then the classifier on them, as the paper has it; features: the first stage alone."""
    feature_epochs: int = 0
    """With mers = "stages", epochs of the first stage, out of epochs."""
    projection: bool = False
    """Learn a linear layer from the student's features to those of the teacher, where there are not as many."""
    every: int = 0
    """The teacher sees every so many-th image of the student's clip; 0: as its own interval says."""
    dtype: Literal["auto", "bf16", "off"] = "auto"
    """Type of the teacher's forward pass: that of the student, bfloat16, or full precision."""
    keep_features: str = setting("", changeable=True)
    """Folder in which the teacher's answers are kept for the next epoch and run: only where data.clips is "centre" and
    nothing is drawn."""

    def __post_init__(self) -> None:
        if self.weight is not None and not self.weight > 0:
            raise ConfigError(f"distill.weight must be positive, got {self.weight}. Without it, leave distill out.")
        if not self.temperature > 0:
            raise ConfigError(f"distill.temperature must be positive, got {self.temperature}.")
        for name in ("feature_epochs", "every"):
            at_least(0, f"distill.{name}", getattr(self, name))
        self._check_method()
        if self.teacher_digest and not self.teacher:
            raise ConfigError("distill.teacher_digest is given without distill.teacher. Give the file as well.")

    def _check_method(self) -> None:
        for name, method in _OF_METHOD.items():
            default = type(self).__dataclass_fields__[name].default
            if self.method != method and getattr(self, name) != default:
                raise ConfigError(
                    f"distill.{name} is of distill.method = {method!r}, which is {self.method!r}. Leave it out."
                )
        if self.projection and self.method == "logits":
            raise ConfigError('distill.projection joins features; distill.method is "logits", of the same classes.')
        if (self.mers == "stages") != (self.feature_epochs > 0):
            raise ConfigError(
                f'distill.feature_epochs is {self.feature_epochs} and distill.mers {self.mers!r}: "stages" needs '
                "epochs of its first one, and nothing else takes them."
            )

    @property
    def factor(self) -> float:
        """What the loss is multiplied by, see :attr:`weight`."""
        if self.weight is not None:
            return self.weight
        return _WEIGHTS.get(self.method) or (TABLE_5_1 if self.reduction == "mean" else TABLE_5_1 / (4 * 512))

    @property
    def passes(self) -> int:
        """Forward passes of the student in training mode for each micro-batch."""
        return 2 if self.method == "mers" and self.mers == "joint" else 1

    @property
    def labels_count(self) -> bool:
        """Whether the labels are learnt from at all."""
        return not (self.method == "mers" and self.mers == "features")


_OF_METHOD: Mapping[str, Method] = {
    "temperature": "logits",
    "positions": "bert",
    "reduction": "bert",
    "mers": "mers",
    "feature_epochs": "mers",
}
"""Fields that one method has alone."""
