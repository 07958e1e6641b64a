"""The part of a recipe that says which network is built, and what it starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.optim import at_least
from kinebert.training.recipe.settings import setting
from kinebert.training.recipe.streams import StreamRecipe


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """The recognizer, from fresh or from published weights."""

    backbone: str = "r2plus1d_18"
    """Name of the backbone, such as resnext101, r2plus1d_34, i3d, slowfast_50, resnet18."""
    reduction: str = "none"
    """Feature reduction: frab (a block appended to the backbone), frmb (its last block replaced), or none."""
    reduction_width: int = 512
    """Features that the reduction leaves."""
    head: str = "bert"
    """Name of the temporal head, such as tgap, concat_fc, lstm, bert."""
    width: float = 1.0
    """Multiplier of the backbone's channels, for small machines."""
    dropout: float = 0.8
    """Probability to drop a pooled feature before the classifier (0.8 in the papers, 0.7 for flow without BERT)."""
    checkpointing: bool = setting(False, changeable=True)
    """Compute the backbone's stages twice in training instead of keeping what they compute: slower, far less memory."""
    fusion: Literal["mean", "softmax", "l2"] = setting("mean", later=True)
    """Of several streams (data.beside) that each have the head: how their scores become one. mean: of the scores;
    softmax: the logarithm of the mean of their probabilities; l2: the sum of the scores, each stream's divided by their
    L2 norm, times a factor that is learnt. A head that takes several pathways, such as bert_tokens, fuses features."""
    streams: dict[str, StreamRecipe] = field(default_factory=dict, metadata={"later": True})
    """Of several streams, by modality: what is otherwise in one, and what it starts from."""
    backbone_options: dict[str, Any] = field(default_factory=dict)
    """Further options of the backbone, by name."""
    head_options: dict[str, Any] = field(default_factory=dict)
    """Further options of the head, by name."""
    weights: str = setting("", changeable=True)
    """Published weights (`kinebert weights` lists them) or a checkpoint to start from: a path or URI, a name in the
    folder KINEBERT_WEIGHTS, or an https:// or hf:// address, which weights_digest must pin."""
    weights_digest: str = ""
    """SHA-256 of that file; filled in where the training starts, so that a run is never continued from another file."""
    weights_allow: tuple[str, ...] = ()
    """Patterns (such as head.*) of parameters that the file may lack, and of its keys that need no place."""

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise ConfigError(f"model.width must be positive, got {self.width}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.dropout must be at least 0 and below 1, got {self.dropout}.")
        at_least(1, "model.reduction_width", self.reduction_width)
        # here, since networks import torch, and recipes are read where that would be too slow
        from kinebert.training.models.registry import backbone_options, head_options

        _check_options("model.head_options", self.head_options, head_options(self.head, {}))
        head_options(self.head, self.head_options)
        _check_options("model.backbone_options", self.backbone_options, backbone_options(self.backbone, {}))
        backbone_options(self.backbone, self.backbone_options)
        if self.weights_digest and not self.weights:
            raise ConfigError("model.weights_digest is given without model.weights. Give the file as well.")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``build_recognizer`` that a recipe decides."""
        reduction = None if self.reduction == "none" else self.reduction
        names = ("backbone", "head", "width", "dropout", "reduction_width", "checkpointing")
        chosen = {name: getattr(self, name) for name in names}
        built = {**self.head_options, **chosen, "reduction": reduction, "backbone_options": dict(self.backbone_options)}
        if self.streams:
            built["streams"] = {name: stream.arguments() for name, stream in self.streams.items()}
        return built if self.fusion == "mean" else {**built, "fusion": self.fusion}

    def without_weights(self) -> "ModelRecipe":
        """Return the network without what it starts from."""
        bare: dict[str, Any] = {"weights": "", "weights_digest": "", "weights_allow": ()}
        return replace(self, **bare, streams={name: replace(one, **bare) for name, one in self.streams.items()})


def _check_options(where: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for name in options.keys() & defaults.keys():
        value, default = options[name], defaults[name]
        fits = type(value) is type(default) or (type(default), type(value)) in ((float, int), (tuple, list))
        if default is not None and not fits:
            raise ConfigError(f"{where}.{name} must be a {type(default).__name__}, got {value!r}.")
