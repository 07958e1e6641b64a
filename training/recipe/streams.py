"""The part of a recipe that says how a stream of a network of several differs from the others."""

from dataclasses import dataclass, field
from typing import Any

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.settings import CHANGEABLE

_BUILT = ("backbone", "backbone_options", "reduction", "reduction_width", "width", "head", "head_options")


@dataclass(frozen=True, kw_only=True)
class StreamRecipe:
    """A stream: what is otherwise than in the rest of ``model``, and what it starts from."""

    backbone: str = ""
    """Its backbone; empty takes that of model, with its options."""
    backbone_options: dict[str, Any] = field(default_factory=dict)
    """Options of its backbone, instead of those of model."""
    reduction: str = ""
    """frab, frmb or none; empty takes that of model."""
    reduction_width: int = 0
    """Features that its reduction leaves; 0 takes that of model."""
    width: float = 0.0
    """Multiplier of its backbone's channels; 0 takes that of model."""
    head: str = ""
    """Its temporal head; empty takes that of model. Where one head takes all streams, none has its own."""
    head_options: dict[str, Any] = field(default_factory=dict)
    """Options of its head, instead of those of model."""
    weights: str = field(default="", metadata=CHANGEABLE)
    """Published weights, or the checkpoint of a network of this stream alone, to start from; as model.weights."""
    weights_digest: str = ""
    """SHA-256 of that file; filled in where the training starts."""
    weights_allow: tuple[str, ...] = ()
    """As model.weights_allow, by the names of a network of this stream alone: head.*, not head.streams.rgb.*."""

    def __post_init__(self) -> None:
        for name in ("reduction_width", "width"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.streams: {name} must not be negative, got {getattr(self, name)}.")
        if self.weights_digest and not self.weights:
            raise ConfigError("model.streams: weights_digest is given without weights. Give the file as well.")

    def arguments(self) -> dict[str, Any]:
        """Return what is otherwise, as ``build_recognizer`` takes it."""
        return {name: getattr(self, name) for name in _BUILT if getattr(self, name)}
