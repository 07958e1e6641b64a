"""Networks by name: backbones, heads, and the recognizers made of them."""

from kinebert.training.models import heads  # noqa: F401  each registers its models
from kinebert.training.models.backbones import (
    i3d,  # noqa: F401  each registers its models
    r2plus1d,  # noqa: F401  each registers its models
    resnet,  # noqa: F401  each registers its models
    resnet3d,  # noqa: F401  each registers its models
    resnext,  # noqa: F401  each registers its models
    slowfast,  # noqa: F401  each registers its models
)
from kinebert.training.models.heads import bert  # noqa: F401  each registers its models
from kinebert.training.models.recognizer import Recognizer, build_recognizer
from kinebert.training.models.registry import BACKBONES, CHANNELS, HEADS, InputSpec, Normalization
from kinebert.training.models.weights.accounting import Report
from kinebert.training.models.weights.load import load_published

__all__ = [
    "BACKBONES",
    "CHANNELS",
    "HEADS",
    "InputSpec",
    "Normalization",
    "Recognizer",
    "Report",
    "build_recognizer",
    "load_published",
]
