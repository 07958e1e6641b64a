"""Networks by name: backbones, heads, and the recognizers made of them."""

from training.models import bert, heads, r2plus1d, resnet, resnet3d, resnext  # noqa: F401  each registers its models
from training.models.recognizer import Recognizer, build_recognizer
from training.models.registry import BACKBONES, CHANNELS, HEADS, InputSpec, Normalization

__all__ = ["BACKBONES", "CHANNELS", "HEADS", "InputSpec", "Normalization", "Recognizer", "build_recognizer"]
