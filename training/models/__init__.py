"""Networks by name: backbones, heads, and the recognizers made of them."""

from training.models import (  # noqa: F401  each registers its models
    bert,
    heads,
    i3d,
    r2plus1d,
    resnet,
    resnet3d,
    resnext,
    slowfast,
)
from training.models.accounting import Report
from training.models.published import load_published
from training.models.recognizer import Recognizer, build_recognizer
from training.models.registry import BACKBONES, CHANNELS, HEADS, InputSpec, Normalization

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
