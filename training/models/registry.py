"""Models by name. A model is a function; what its input must look like is data next to it.

Axes: N batch, C channels, T frames (after a backbone: time steps), H height, W width, F features.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from preprocessing.errors import ConfigError

CHANNELS = {"rgb": 3, "flow": 2}
"""Channels of a clip by modality; those of flow are x (to the right) and y (downwards)."""


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """How stored bytes become a network's input: 0..255 is mapped onto ``value_range``, then ``(x - mean) / std``."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] = (0.0, 1.0)


IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
KINETICS = Normalization(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
FLOW = Normalization(mean=(0.5, 0.5), std=(0.226, 0.226))  # TSM's: the mean of ImageNet's three standard deviations


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a set of weights is trained on. The input pipeline is built from this, never from the model's name."""

    modality: str
    """``rgb`` or ``flow``."""
    num_frames: int
    """Images in a clip."""
    crop_size: int
    """Height and width of the network's input, pixels."""
    mean: tuple[float, ...]
    """Per channel, on the scale of ``value_range``."""
    std: tuple[float, ...]
    """Per channel, on the scale of ``value_range``."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Where stored 0 and 255 lie before ``mean`` is subtracted."""
    frame_interval: int = 1
    """Stored images from one image of a clip to the next."""
    size: tuple[int, int] | None = None
    """Width and height of the frame that crops are taken from, pixels; None for frames as they are stored."""

    def __post_init__(self) -> None:
        channels = num_channels(self.modality)
        if len(self.mean) != channels or len(self.std) != channels:
            raise ConfigError(
                f"{self.modality} has {channels} channels, got {len(self.mean)} means and {len(self.std)} deviations."
            )
        positive(num_frames=self.num_frames, crop_size=self.crop_size, frame_interval=self.frame_interval)
        if min(self.std) <= 0:
            raise ConfigError(f"std must be positive, got {self.std}.")
        if self.size is not None and min(self.size) < 1:
            raise ConfigError(f"size must be a width and a height in pixels, got {self.size}.")


class Backbone(nn.Module):
    """A network that maps ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""

    num_features: int
    """F, a multiple of 8, so that eight attention heads can share them."""
    temporal_stride: int
    """Frames of the clip per time step that is left."""

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return -(-clip_length // self.temporal_stride)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        raise NotImplementedError


class Head(nn.Module):
    """Temporal pooling: maps ``(N, F, T, H, W)`` to ``(N, num_features)``."""

    num_features: int
    """Length of what it returns, the classifier's input."""
    num_steps: int | None
    """The only T that it takes; None where it takes every T."""

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, num_features)``."""
        raise NotImplementedError


@dataclass(frozen=True)
class BackboneEntry:
    """A backbone's builder, called with ``channels_in`` and ``width``, and its normalisation by modality."""

    build: Callable[..., Backbone]
    normalization: Mapping[str, Normalization]


BACKBONES: dict[str, BackboneEntry] = {}
HEADS: dict[str, Callable[..., Head]] = {}

BackboneBuilder = TypeVar("BackboneBuilder", bound=Callable[..., Backbone])
HeadBuilder = TypeVar("HeadBuilder", bound=Callable[..., Head])
Entry = TypeVar("Entry")


def register_backbone(**normalization: Normalization) -> Callable[[BackboneBuilder], BackboneBuilder]:
    """Make a builder available under its own name, with the normalisation that it expects for each modality."""

    def register(build: BackboneBuilder) -> BackboneBuilder:
        _add(BACKBONES, build.__name__, BackboneEntry(build, normalization), "backbones")
        return build

    return register


def register_head(build: HeadBuilder) -> HeadBuilder:
    """Make ``build(num_features, num_steps, *, options)`` available under its own name."""
    _add(HEADS, build.__name__, build, "heads")
    return build


def find(entries: Mapping[str, Entry], name: str, kind: str) -> Entry:
    """Return the entry called ``name``.

    Raises:
        ConfigError: If there is none; it suggests a near name, or says which there are.
    """
    if name not in entries:
        raise ConfigError(f"There is no {kind} {name!r}. {suggest(name, entries)}")
    return entries[name]


def head_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete ``options`` of the head called ``name`` with its defaults.

    Raises:
        ConfigError: For an unknown head, or an option that it does not have.
    """
    parameters = inspect.signature(find(HEADS, name, "head")).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    for option in options:
        if option not in defaults:
            raise ConfigError(f"The head {name!r} has no option {option!r}. {suggest(option, defaults)}")
    return {**defaults, **options}


def num_channels(modality: str) -> int:
    """Return the channels of a clip of ``modality``."""
    return find(CHANNELS, modality, "modality")


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times ``width`` as the nearest multiple of 8, 8 at least; as they are for ``width`` 1."""
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))


def suggest(name: str, known: Mapping[str, object]) -> str:
    """Return the sentence that helps somebody who wrote ``name`` for one of ``known``."""
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"There are: {', '.join(sorted(known))}." if known else "There are none."


def positive(**values: float) -> None:
    """Raise a ConfigError that names the first of ``values`` that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name} must be positive, got {value}.")


def _add(entries: dict[str, Any], name: str, entry: object, kind: str) -> None:
    if name in entries:
        raise ValueError(f"two {kind} are called {name!r}: rename one of them")
    entries[name] = entry
