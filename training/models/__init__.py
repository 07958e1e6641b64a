"""Networks by name: backbones, heads, and the recognizers made of them."""

from kinebert.training.models import backbones, heads  # noqa: F401  whatever lies there registers itself
from kinebert.training.models.inputs import InputSpec, Normalization
from kinebert.training.models.recognizer import Recognizer, build_recognizer
from kinebert.training.models.registry import BACKBONES, HEADS
from kinebert.training.models.weights.accounting import Report
from kinebert.training.models.weights.load import load_published

__all__ = [
    "BACKBONES",
    "HEADS",
    "InputSpec",
    "Normalization",
    "Recognizer",
    "Report",
    "build_recognizer",
    "load_published",
]
