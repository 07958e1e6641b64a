"""Networks by name: backbones, heads, and the recognizers made of them."""

from kinebert.training.models import (  # noqa: F401  each registers its models
    bert,
    heads,
    i3d,
    r2plus1d,
    resnet,
    resnet3d,
    resnext,
    slowfast,
)
from kinebert.training.models.accounting import Report
from kinebert.training.models.published import load_published
from kinebert.training.models.recognizer import Recognizer, build_recognizer
from kinebert.training.models.registry import BACKBONES, CHANNELS, HEADS, InputSpec, Normalization

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
