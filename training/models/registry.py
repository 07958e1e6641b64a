"""Models by name. A model is a function; what its input must look like is data next to it.

Axes: N batch, C channels, T frames (after a backbone: time steps), H height, W width, F features.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.recompute import run_checkpointed

CHANNELS = {"rgb": 3, "flow": 2, "pose": 3}
"""Channels of an image by modality; those of flow are x (to the right) and y (downwards), poses are drawn in colour."""


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """How stored bytes become a network's input: 0..255 is mapped onto ``value_range``, then ``(x - mean) / std``."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] = (0.0, 1.0)

    def stacked(self, count: int) -> "Normalization":
        """Return that of ``count`` images stacked in the channels: every channel of the first, then of the second."""
        return Normalization(mean=self.mean * count, std=self.std * count, value_range=self.value_range)


IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
KINETICS = Normalization(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
FLOW = Normalization(mean=(0.5, 0.5), std=(0.226, 0.226))  # TSM's: the mean of ImageNet's three standard deviations
ACTIVITYNET = Normalization(mean=(114.7748, 107.7354, 99.4750), std=(1.0, 1.0, 1.0), value_range=(0.0, 255.0))
"""Of 3D ResNet and ResNeXt up to 2018, of MARS, and of the BERT papers' ResNeXt."""
BYTE_FLOW = Normalization(mean=(127.5, 127.5), std=(1.0, 1.0), value_range=(0.0, 255.0))
"""Of the same networks for flow."""
HARA = Normalization(mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737))
"""Of the 3D ResNets published in 2020."""
CENTERED = Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""Of I3D: from -1 to 1."""
CENTERED_FLOW = Normalization(mean=(0.5, 0.5), std=(0.5, 0.5))
"""Of I3D for flow: 20 pixels become 1."""
SLOWFAST = Normalization(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
"""Of PySlowFast."""
SLOWFAST_FLOW = Normalization(mean=(0.5, 0.5), std=(0.225, 0.225))
"""Of no published weights: PySlowFast's deviation around the grey that is no motion."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a set of weights is trained on. The input pipeline is built from this, never from the model's name."""

    modality: str
    """``rgb``, ``flow`` or ``pose``."""
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
    flow_stack: int = 1
    """Flow fields in the channels of one image of a clip: x and y of the first, x and y of the second, and so on."""

    def __post_init__(self) -> None:
        channels = num_channels(self.modality, self.flow_stack)
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
    """A network that maps ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``.

    Networks with several pathways (SlowFast) also give each pathway by itself, the slow one first; ``forward`` then
    returns them as one map, so that every head works on every backbone.
    """

    num_features: int
    """F, a multiple of 8, so that eight attention heads can share them."""
    temporal_stride: int
    """Frames of the clip per time step that is left."""
    checkpointing = False
    """Whether :meth:`run` forgets what a stage computed in training, and computes it again for the gradients."""
    reduced: tuple[str, ...] = ()
    """Names of the submodules that a feature reduction made: published backbones have no weights for them."""
    idle_pools: tuple[str, ...] = ()
    """Names of the submodules whose input the published network pools by 1 first, which the papers count as work."""

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return -(-clip_length // self.temporal_stride)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError that says what the network admits, if it does not admit such a clip."""

    def reduce_append(self, width: int) -> None:
        """Append a block (``mapper``) that leaves ``width`` features: FRAB. Changes the network in place.

        Raises:
            ConfigError: If the network has no such block.
        """
        raise ConfigError(f"the backbone {type(self).__name__} has no feature reduction.")

    def reduce_replace(self, width: int) -> None:
        """Replace the last block by one that leaves ``width`` features: FRMB. Changes the network in place.

        Raises:
            ConfigError: If the network has no such block.
        """
        raise ConfigError(f"the backbone {type(self).__name__} has no feature reduction.")

    @property
    def path_features(self) -> tuple[int, ...]:
        """F of each pathway, slow first."""
        return (self.num_features,)

    def path_steps(self, clip_length: int) -> tuple[int, ...]:
        """Return the T' of each pathway, slow first."""
        return (self.num_steps(clip_length),)

    def paths(self, x_NCTHW: Tensor) -> tuple[Tensor, ...]:
        """Map ``(N, C, T, H, W)`` to one ``(N, F, T', H', W')`` per pathway, slow first."""
        return (self(x_NCTHW),)

    def run(self, stage: nn.Module, *inputs: Any) -> Any:
        """Return ``stage(*inputs)``; with :attr:`checkpointing`, what lies between is not kept for the gradients."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return run_checkpointed(stage, *inputs)
        return stage(*inputs)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        raise NotImplementedError


class Head(nn.Module):
    """Temporal pooling: maps ``(N, F, T, H, W)`` to ``(N, num_features)``."""

    num_features: int
    """Length of what it returns, the classifier's input."""
    num_steps: int | tuple[int, ...] | None
    """The only T that it takes (of each pathway where it takes several); None where it takes every T."""
    takes_paths = False
    """Called with a tuple of the backbone's pathways instead, and built as ``name(path_features, path_steps, ...)``."""
    per_step = False
    """Returns ``(N, T, num_features)``: every step is classified by itself, and the scores are averaged."""

    def forward(self, features: Any) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, num_features)``."""
        raise NotImplementedError


@dataclass(frozen=True)
class BackboneEntry:
    """A backbone's builder, called with ``channels_in``, ``width`` and options, and its normalisation by modality."""

    build: Callable[..., Backbone]
    normalization: Mapping[str, Normalization]
    head_options: Mapping[str, Any]
    """Options that its published heads have instead of their own defaults."""


BACKBONES: dict[str, BackboneEntry] = {}
HEADS: dict[str, Callable[..., Head]] = {}
BACKBONE_OPTIONS: dict[str, Mapping[str, Any]] = {}
"""By head: options that its published backbones have instead of their own defaults."""
REDUCTIONS: dict[str, Callable[[Backbone, int], None]] = {
    "frab": lambda backbone, width: backbone.reduce_append(width),
    "frmb": lambda backbone, width: backbone.reduce_replace(width),
}
"""What makes a backbone narrower in place: feature reduction with an appended block, and with a modified block."""

BackboneBuilder = TypeVar("BackboneBuilder", bound=Callable[..., Backbone])
HeadBuilder = TypeVar("HeadBuilder", bound=Callable[..., Head])
Entry = TypeVar("Entry")


def register_backbone(
    head_options: Mapping[str, Any] | None = None, **normalization: Normalization
) -> Callable[[BackboneBuilder], BackboneBuilder]:
    """Make ``build(channels_in, width, *, options)`` available under its own name.

    Its keyword-only arguments are options, plain values with defaults. ``normalization`` says what it expects for each
    modality that it takes, ``head_options`` with which options heads were published on it, where a head has them.
    """

    def register(build: BackboneBuilder) -> BackboneBuilder:
        _add(BACKBONES, build.__name__, BackboneEntry(build, normalization, head_options or {}), "backbones")
        return build

    return register


def register_head(build: HeadBuilder, backbone_options: Mapping[str, Any] | None = None) -> HeadBuilder:
    """Make ``build(num_features, num_steps, *, options)`` available under its own name.

    A head that takes several pathways is ``build(path_features, path_steps, *, options)``. ``backbone_options`` says
    with which options backbones were published under it, where a backbone has them.
    """
    _add(HEADS, build.__name__, build, "heads")
    BACKBONE_OPTIONS[build.__name__] = backbone_options or {}
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
    return _complete(find(HEADS, name, "head"), options, f"head {name!r}")


def backbone_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete ``options`` of the backbone called ``name`` with its defaults.

    Raises:
        ConfigError: For an unknown backbone, or an option that it does not have.
    """
    return _complete(find(BACKBONES, name, "backbone").build, options, f"backbone {name!r}")


def joint_options(
    backbone: str, of_backbone: Mapping[str, Any], head: str, of_head: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Complete the options of a backbone and of the head on it.

    What is given counts first, then that with which the two were published together, then each part's own default.

    Raises:
        ConfigError: For an unknown backbone or head, or an option that it does not have.
    """
    own_backbone, own_head = backbone_options(backbone, {}), head_options(head, {})
    for_backbone = {name: value for name, value in BACKBONE_OPTIONS[head].items() if name in own_backbone}
    for_head = {name: value for name, value in BACKBONES[backbone].head_options.items() if name in own_head}
    return backbone_options(backbone, {**for_backbone, **of_backbone}), head_options(head, {**for_head, **of_head})


def takes_paths(head: str) -> bool:
    """Whether the head of that name is built from the sizes of several pathways."""
    return "path_features" in inspect.signature(find(HEADS, head, "head")).parameters


def num_channels(modality: str, flow_stack: int = 1) -> int:
    """Return the channels of a clip of ``modality``.

    Raises:
        ConfigError: For an unknown modality, or for a stack of anything but flow.
    """
    channels = find(CHANNELS, modality, "modality")
    positive(flow_stack=flow_stack)
    if flow_stack > 1 and modality != "flow":
        raise ConfigError(f"flow_stack is {flow_stack}, but only flow is stacked, and this is {modality}.")
    return channels * flow_stack


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


def _complete(build: Callable[..., Any], options: Mapping[str, Any], owner: str) -> dict[str, Any]:
    parameters = inspect.signature(build).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    for option in options:
        if option not in defaults:
            raise ConfigError(f"The {owner} has no option {option!r}. {suggest(option, defaults)}")
    return {**defaults, **options}


def _add(entries: dict[str, Any], name: str, entry: object, kind: str) -> None:
    if name in entries:
        raise ValueError(f"two {kind} are called {name!r}: rename one of them")
    entries[name] = entry
