"""A recognizer: backbone, optional feature reduction, temporal head and classifier, in every combination.

Axes: N batch, C channels, T frames, H height, W width, F features, K classes.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.preprocessing.modalities import streams_of
from kinebert.preprocessing.private_folder import keep_compiled_code
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.inputs import InputSpec, joined_spec, num_channels
from kinebert.training.models.interfaces import Backbone, Head
from kinebert.training.models.registry import (
    BACKBONES,
    HEADS,
    REDUCTIONS,
    head_options,
    joint_options,
    normalization_of,
    takes_paths,
)
from kinebert.training.models.streams import (
    Fusion,
    StreamClassifiers,
    StreamHeads,
    Streams,
    stream_arguments,
    stream_choices,
    stream_modules,
)


class Recognizer(nn.Module):
    """Normalised clips in, one score per class out. Made by :func:`build_recognizer`.

    Args:
        backbone: ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``.
        head: ``(N, F, T', H', W')`` to ``(N, head.num_features)``.
        num_classes: K.
        dropout: Probability to drop a pooled feature before the classifier.
        spec: What the input must look like.
        config: Keyword arguments with which :func:`build_recognizer` makes this network again.
        classifier: ``(N, head.num_features)`` to ``(N, K)``; None for a fresh linear one.
    """

    classifier: nn.Linear
    """Of several streams that each have a head: a :class:`.StreamClassifiers`, which is used alike."""

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        num_classes: int,
        dropout: float,
        spec: InputSpec,
        config: dict[str, Any],
        classifier: StreamClassifiers | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.dropout = nn.Dropout(dropout)
        if classifier is None:
            self.classifier = nn.Linear(head.num_features, num_classes)
            self.reset_classifier()
        else:
            self.classifier = classifier  # type: ignore[assignment]
        self.spec = spec
        self._config = copy.deepcopy(config)

    def reset_classifier(self) -> None:
        """Give the classifier fresh weights."""
        for layer in self.classifier.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @property
    def config(self) -> dict[str, Any]:
        """A copy of the plain values with which :func:`build_recognizer` makes this network again."""
        return copy.deepcopy(self._config)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Score clips.

        Args:
            x_NCTHW: Normalised clips as :attr:`spec` says.

        Returns:
            Logits ``(N, K)``; the mean over the time steps for a head that keeps them.

        Raises:
            ConfigError: If the clips have another number of channels, or of frames than the head was built for, or
                are nothing that the backbone admits.
        """
        return self.scores(self.pooled(x_NCTHW))

    def pooled(self, x_NCTHW: Tensor) -> Tensor:
        """Return what the head makes of clips, before dropout: ``(N, F)``, or ``(N, T, F)`` if it keeps the time steps.

        Raises:
            ConfigError: As for a call.
        """
        self.check_input(x_NCTHW)
        features = self.backbone.paths(x_NCTHW) if self.head.takes_paths else self.backbone(x_NCTHW)
        pooled: Tensor = self.head(features)
        return pooled

    def scores(self, pooled: Tensor) -> Tensor:
        """Return the logits ``(N, K)`` of what :meth:`pooled` returns."""
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits.mean(dim=1) if self.head.per_step else logits

    def rebuild(self, backbone_options: Mapping[str, Any]) -> None:
        """Replace the backbone by a fresh one with other options; head and classifier stay as they are.

        Args:
            backbone_options: Options to change; the others keep their values.

        Raises:
            ConfigError: If there is no such option, or the features would no longer fit the head.
        """
        options = {**self._config["backbone_options"], **backbone_options}
        config = {**self._config, "backbone_options": options}
        parameter = self.classifier.weight
        with torch.device(parameter.device):
            fresh = build_recognizer(**config)
        if _shape(fresh) != _shape(self):
            raise ConfigError(
                f"with {dict(backbone_options)} the backbone {config['backbone']!r} leaves other features than those "
                f"that the head {config['head']!r} was built for: build the recognizer with these options."
            )
        self.backbone = fresh.backbone.to(parameter.dtype).train(self.backbone.training)
        self._config = fresh.config

    def stream(self, name: str) -> "Recognizer":
        """Return one stream of a network of several: a recognizer that shares its parts, for :meth:`put_stream`.

        Where streams have one head together, it has a head and a classifier of its own, which are fresh.

        Raises:
            ConfigError: If there is no such stream.
        """
        if not isinstance(self.backbone, Streams):
            raise ConfigError(f"a {self.spec.modality} recognizer has no streams.")
        backbones = stream_modules(self.backbone)
        trunk, spec = find(backbones, name, "stream"), self.spec.streams[list(backbones).index(name)]
        with torch.device(self.classifier.weight.device):
            one = build_recognizer(**stream_arguments(self._config, name))
        one.backbone, one.spec = trunk, spec
        if isinstance(self.classifier, StreamClassifiers):
            one.head, one.classifier = (stream_modules(part)[name] for part in (self.head, self.classifier))
        return one.to(self.classifier.weight.dtype).train(self.training)

    def put_stream(self, name: str, one: "Recognizer") -> None:
        """Take back what :meth:`stream` gave, whose backbone or input may have become another since."""
        assert isinstance(self.backbone, Streams), "it has given a stream"
        self.backbone.streams[name] = one.backbone
        self._config["streams"][name]["backbone_options"] = one.config["backbone_options"]
        index = list(self.backbone.streams).index(name)
        specs = [one.spec if i == index else spec for i, spec in enumerate(self.spec.streams)]
        self.spec = joined_spec(self.spec.modality, specs)

    def check_input(self, x_NCTHW: Tensor) -> None:
        """Raise a ConfigError unless the network takes such clips; only their shape is looked at."""
        channels = len(self.spec.mean)
        if x_NCTHW.ndim != 5 or x_NCTHW.shape[1] != channels:
            raise ConfigError(
                f"a {self.spec.modality} recognizer takes clips (N, {channels}, T, H, W), got {tuple(x_NCTHW.shape)}."
            )
        _, _, frames, height, width = x_NCTHW.shape
        self.backbone.check_input(channels, frames, height, width)
        wanted = self.head.num_steps
        if wanted is not None and (steps := self._num_steps(frames)) != wanted:
            raise ConfigError(
                f"got a clip of {frames} frames, which are {steps} time steps after the backbone; the head "
                f"{self._config['head']!r} was built for {self.spec.num_frames} frames, which are {wanted}."
            )

    def _num_steps(self, frames: int) -> int | tuple[int, ...]:
        return self.backbone.path_steps(frames) if self.head.takes_paths else self.backbone.num_steps(frames)


# Flat, however many they are: the names of its arguments are those of a recipe's [model] and of a checkpoint's config,
# and the options of a head stand among them.
def build_recognizer(
    *,
    backbone: str = "r2plus1d_18",
    reduction: str | None = None,
    head: str = "bert",
    modality: str = "rgb",
    num_classes: int,
    clip_length: int = 16,
    size: int = 112,
    width: float = 1.0,
    dropout: float = 0.8,
    frame_interval: int = 1,
    frame_size: tuple[int, int] | None = None,
    flow_stack: int = 1,
    reduction_width: int = 512,
    backbone_options: Mapping[str, Any] | None = None,
    checkpointing: bool = False,
    streams: Mapping[str, Mapping[str, Any]] | None = None,
    fusion: Fusion = "mean",
    **options: Any,
) -> Recognizer:
    """Build a network with fresh weights, the same ones after the same ``torch.manual_seed``.

    Args:
        backbone: A name of :data:`kinebert.training.models.BACKBONES`.
        reduction: ``frab``, ``frmb``, or None (``"none"``).
        head: A name of :data:`kinebert.training.models.HEADS`.
        modality: ``rgb``, ``flow`` or ``pose``; of a network of several streams theirs, joined: ``rgb+flow``.
        num_classes: Scores that it returns.
        clip_length: Images in a clip.
        size: Height and width of its input, pixels.
        width: Multiplier of the backbone's channels, for small machines.
        dropout: Probability to drop a pooled feature before the classifier.
        frame_interval: Stored images from one image of a clip to the next.
        frame_size: Width and height of the frame that crops are taken from, pixels; None for frames as stored.
        flow_stack: Flow fields in the channels of one image: flow then has twice as many channels.
        reduction_width: Features that the reduction leaves, to be multiplied by ``width``.
        backbone_options: Options of the backbone, by name: the keyword-only arguments of its builder.
        checkpointing: In training, compute the backbone's stages twice to save their memory.
        streams: Of several streams, by modality, what is otherwise than above: :data:`.STREAM_ARGUMENTS`.
        fusion: How scores of several streams become one, where the head takes no pathways and each has its own.
        options: Options of the head, the keyword-only arguments of its builder.

    Raises:
        ConfigError: For an unknown name or option, a value out of range, or parts that do not fit each other.
    """
    keep_compiled_code()  # drawing weights may wake torch's compiler
    positive(num_classes=num_classes, clip_length=clip_length, size=size, width=width, reduction_width=reduction_width)
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be at least 0 and below 1, got {dropout}.")
    config = {
        "backbone": backbone,
        "reduction": None if reduction == "none" else reduction,
        "head": head,
        "modality": modality,
        "num_classes": num_classes,
        "clip_length": clip_length,
        "size": size,
        "width": width,
        "dropout": dropout,
        "frame_interval": frame_interval,
        "frame_size": None if frame_size is None else list(frame_size),
        "flow_stack": flow_stack,
        "reduction_width": reduction_width,
        "backbone_options": dict(backbone_options or {}),
        "checkpointing": checkpointing,
    }
    if len(streams_of(modality)) > 1 or streams or fusion != "mean":
        return _build_streams(config, options, streams or {}, fusion)
    config["backbone_options"], of_head = joint_options(backbone, backbone_options or {}, head, options)
    config |= of_head
    spec = _input_spec(config)
    trunk = _build_backbone(config)
    trunk.check_input(len(spec.mean), clip_length, size, size)
    pool = _build_head(config, trunk)
    return Recognizer(trunk, pool, num_classes, dropout, spec, config)


def _build_streams(
    config: dict[str, Any], options: Mapping[str, Any], streams: Mapping[str, Mapping[str, Any]], fusion: Fusion
) -> Recognizer:
    """Build a network of several streams; see :func:`build_recognizer`, whose config is not complete here."""
    num_channels(config["modality"], config["flow_stack"])
    together = takes_paths(config["head"])
    choices = stream_choices(config, options, streams, fusion, together)
    config = {**config, "streams": choices, "fusion": fusion}
    members = {name: build_recognizer(**stream_arguments(config, name)) for name in choices}
    for name, one in members.items():
        choices[name]["backbone_options"] = one.config["backbone_options"]
        if not together:
            choices[name]["head_options"] = {
                option: one.config[option] for option in head_options(one.config["head"], {})
            }
    trunk = Streams({name: one.backbone for name, one in members.items()}, [len(m.spec.mean) for m in members.values()])
    spec = joined_spec(config["modality"], [one.spec for one in members.values()])
    num_classes, dropout = config["num_classes"], config["dropout"]
    if together:
        config |= head_options(config["head"], options)
        pool = _build_head(config, trunk)
        pool.path_names = tuple(members)
        return Recognizer(trunk, pool, num_classes, dropout, spec, config)
    heads = StreamHeads({name: one.head for name, one in members.items()}, trunk.path_steps(config["clip_length"]))
    layers = {name: one.classifier for name, one in members.items() if isinstance(one.classifier, nn.Linear)}
    return Recognizer(trunk, heads, num_classes, dropout, spec, config, StreamClassifiers(layers, fusion))


def _input_spec(config: Mapping[str, Any]) -> InputSpec:
    backbone, modality, stack = config["backbone"], config["modality"], config["flow_stack"]
    num_channels(modality, stack)
    normalization = normalization_of(backbone, modality).stacked(stack)
    frame_size = config["frame_size"]
    return InputSpec(
        modality=modality,
        num_frames=config["clip_length"],
        frame_interval=config["frame_interval"],
        size=None if frame_size is None else (frame_size[0], frame_size[1]),
        crop_size=config["size"],
        mean=normalization.mean,
        std=normalization.std,
        value_range=normalization.value_range,
        channel_order=normalization.channel_order,
        flow_stack=stack,
    )


def _build_backbone(config: Mapping[str, Any]) -> Backbone:
    reduce = None if config["reduction"] is None else find(REDUCTIONS, config["reduction"], "reduction")
    channels, width = num_channels(config["modality"], config["flow_stack"]), config["width"]
    trunk = BACKBONES[config["backbone"]].build(channels_in=channels, width=width, **config["backbone_options"])
    if reduce is not None:
        reduce(trunk, scaled(config["reduction_width"], width))
    trunk.checkpointing = config["checkpointing"]
    return trunk


def _build_head(config: Mapping[str, Any], trunk: Backbone) -> Head:
    name, frames = config["head"], config["clip_length"]
    options = {option: config[option] for option in head_options(name, {})}
    if not takes_paths(name):
        return HEADS[name](trunk.num_features, trunk.num_steps(frames), **options)
    if len(trunk.path_features) < 2:
        raise ConfigError(
            f"The head {name!r} takes several pathways, and the backbone {config['backbone']!r} has one. "
            "Take another head, or a backbone such as slowfast_50."
        )
    return HEADS[name](trunk.path_features, trunk.path_steps(frames), **options)


def _shape(net: Recognizer) -> object:
    """What the head was built for."""
    backbone, frames = net.backbone, net.spec.num_frames
    paths = net.head.takes_paths
    features = backbone.path_features if paths else backbone.num_features
    if net.head.num_steps is None:
        return features
    return features, backbone.path_steps(frames) if paths else backbone.num_steps(frames)
