"""Networks of several streams: a backbone for each modality, whose clips lie side by side in the channels of one.

A head that takes several pathways is given the maps of all streams, and so fuses features. Any other head is made once
for each stream, with a classifier of its own, and the streams' scores are fused.

Axes: N batch, C channels, T time steps, H height, W width, F features, S streams, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.preprocessing.modalities import streams_of
from kinebert.training.models.interfaces import Backbone, Head

Fusion = Literal["mean", "softmax", "l2"]
"""How scores of streams become one: their mean; the logarithm of the mean of their probabilities; the sum of the scores
after each stream's were divided by their L2 norm (as the BERT paper fuses), times a factor that is learnt, from 1."""


class Streams(Backbone):
    """Backbones side by side, one pathway each.

    Args:
        streams: By modality, in the order of their channels.
        channels: That each takes.
    """

    def __init__(self, streams: Mapping[str, Backbone], channels: Sequence[int]) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(streams)
        self.channels = tuple(channels)
        of_parts = [(f"streams.{name}", part) for name, part in streams.items()]
        self.reduced = tuple(f"{name}.{inside}" for name, part in of_parts for inside in part.reduced)
        self.idle_pools = tuple(f"{name}.{inside}" for name, part in of_parts for inside in part.idle_pools)
        self.lr_scales = {  # type: ignore[misc]  # of these backbones, and so of this instance
            f"{name}.{inside}": scale for name, part in of_parts for inside, scale in part.lr_scales.items()
        }

    @property
    def parts(self) -> list[Backbone]:
        """The backbones, in the order of their channels."""
        return [part for part in self.streams.values() if isinstance(part, Backbone)]

    @property
    def num_features(self) -> int:  # type: ignore[override]
        """Features of all streams."""
        return sum(self.path_features)

    @property
    def path_features(self) -> tuple[int, ...]:
        """F of each stream."""
        return tuple(part.num_features for part in self.parts)

    def path_steps(self, clip_length: int) -> tuple[int, ...]:
        """Return the T' of each stream."""
        return tuple(part.num_steps(clip_length) for part in self.parts)

    def num_steps(self, clip_length: int) -> int:
        """Return the T' of the first stream, which :meth:`forward` brings the others to."""
        return self.path_steps(clip_length)[0]

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless every stream admits its channels of the clip."""
        if channels != sum(self.channels):
            raise ConfigError(f"streams of {list(self.channels)} channels take {sum(self.channels)}, got {channels}.")
        for part, own in zip(self.parts, self.channels, strict=True):
            part.check_input(own, frames, height, width)

    def paths(self, x_NCTHW: Tensor) -> tuple[Tensor, ...]:
        """Map ``(N, C, T, H, W)`` to one ``(N, F, T', H', W')`` per stream."""
        clips = torch.split(x_NCTHW, list(self.channels), dim=1)
        return tuple(part(clip.contiguous()) for part, clip in zip(self.parts, clips, strict=True))

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to the streams' features side by side, each the mean over its pictures.

        Returns:
            ``(N, F, T', 1, 1)`` with the T' of the first stream.
        """
        maps = [path.mean(dim=(3, 4), keepdim=True) for path in self.paths(x_NCTHW)]
        steps = maps[0].shape[2]
        return torch.cat([functional.adaptive_avg_pool3d(one, (steps, 1, 1)) for one in maps], dim=1)


class StreamHeads(Head):
    """A head for each stream; what they pool lies side by side.

    Args:
        heads: By modality; none takes pathways.
        path_steps: Time steps of each stream in a clip of the length that the heads are built for.
    """

    takes_paths = True

    def __init__(self, heads: Mapping[str, Head], path_steps: Sequence[int]) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(heads)
        self.num_features = sum(head.num_features for head in heads.values())
        free = all(head.num_steps is None for head in heads.values())
        self.num_steps = None if free else tuple(path_steps)

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        """Pool one ``(N, F, T, H, W)`` per stream to ``(N, num_features)``; time steps that a head keeps are averaged.

        The mean of features has the mean of their scores, since classifiers are linear.
        """
        pooled = []
        for head, path in zip(self.streams.values(), paths, strict=True):
            features: Tensor = head(path)
            pooled.append(features.mean(dim=1) if head.per_step else features)
        return torch.cat(pooled, dim=1)

    @property
    def attention_names(self) -> list[str]:
        """What the entries of :meth:`attention_weights` are called."""
        return [
            f"{name}, layer {i}"
            for name, head in self.streams.items()
            for i in range(1, len(getattr(head, "blocks", ())) + 1)
        ]

    def attention_weights(self, paths: Sequence[Tensor]) -> list[Tensor]:
        """Return who looks at whom: one ``(N, A, S, S)`` for every layer of each stream, see :class:`.BertPool`.

        Raises:
            ConfigError: If a stream's head has no such layers.
        """
        found: list[Tensor] = []
        for (name, head), path in zip(self.streams.items(), paths, strict=True):
            if not hasattr(head, "attention_weights"):
                raise ConfigError(f"the head of the stream {name} has no classification token. Take bert heads.")
            found += head.attention_weights(path)  # type: ignore[operator]
        return found


class StreamClassifiers(nn.Module):
    """A linear classifier for each stream, and their scores fused.

    Args:
        streams: By modality; all of the same classes.
        fusion: How.
    """

    def __init__(self, streams: Mapping[str, nn.Linear], fusion: Fusion) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(streams)
        self.fusion = fusion
        self.sizes = [layer.in_features for layer in streams.values()]
        (self.out_features,) = {layer.out_features for layer in streams.values()}
        self.factor: nn.Parameter | None = nn.Parameter(torch.ones(())) if fusion == "l2" else None

    @property
    def weight(self) -> Tensor:
        """That of the first stream: says of what type and on which device all are."""
        weight: Tensor = next(self.parameters()) if self.factor is None else next(self.streams.parameters())
        return weight

    def forward(self, pooled_NF: Tensor) -> Tensor:
        """Score what :class:`StreamHeads` pools: logits ``(N, K)``."""
        features = torch.split(pooled_NF, self.sizes, dim=-1)
        scores_SNK = torch.stack([layer(one) for layer, one in zip(self.streams.values(), features, strict=True)])
        if self.fusion == "softmax":
            return scores_SNK.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(features))
        if self.factor is not None:
            return self.factor * functional.normalize(scores_SNK, dim=-1).sum(dim=0)
        return scores_SNK.mean(dim=0)


def stream_modules(module: Any) -> dict[str, Any]:
    """Return the parts of a :class:`Streams` and the like by modality."""
    found: Mapping[str, Any] = module.streams
    return dict(found.items())


STREAM_ARGUMENTS = ("backbone", "backbone_options", "reduction", "reduction_width", "width", "head", "head_options")
"""What may differ between streams, as arguments of :func:`.build_recognizer`; ``head_options`` are of the head."""
_LENT = "tgap"
"""Head of a stream that has none of its own, where it is looked at alone."""


def stream_choices(
    config: Mapping[str, Any],
    options: Mapping[str, Any],
    streams: Mapping[str, Mapping[str, Any]],
    fusion: str,
    together: bool,
) -> dict[str, dict[str, Any]]:
    """Return what each stream is built of, by modality.

    A stream that names a backbone or head of its own has none of the options of the common one.

    Args:
        config: Arguments of ``build_recognizer`` that all share.
        options: Of the common head.
        streams: What is otherwise, by modality.
        fusion: How scores are fused.
        together: Whether the streams have one head for all.

    Raises:
        ConfigError: If there is no such stream, argument or fusion.
    """
    names = [modality.name for modality in streams_of(config["modality"])]
    if len(names) == 1:
        raise ConfigError(
            f"streams and fusion are of networks of several streams, such as rgb+flow; this is one of {names[0]}."
        )
    for name in streams:
        find(dict.fromkeys(names), name, "stream")
    if fusion not in get_args(Fusion) or (together and fusion != "mean"):
        told = f"; the head {config['head']!r} fuses features, and no scores" * together
        raise ConfigError(f"fusion must be one of {', '.join(get_args(Fusion))}, got {fusion!r}{told}.")
    takes = [name for name in STREAM_ARGUMENTS if not (together and name.startswith("head"))]
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        own = dict(streams.get(name, {}))
        for argument in own:
            find(dict.fromkeys(takes), argument, f"argument of the stream {name}")
        common = {argument: config[argument] for argument in takes if argument != "head_options"}
        if "backbone" in own:
            common["backbone_options"] = {}
        if not together:
            common["head_options"] = {} if "head" in own else dict(options)
        found[name] = {**common, **own}
        if found[name]["reduction"] == "none":
            found[name]["reduction"] = None
    return found


def stream_arguments(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments of ``build_recognizer`` for one stream alone, of the config of a network of several."""
    shared = ("num_classes", "clip_length", "size", "dropout", "frame_interval", "frame_size", "checkpointing")
    own = {"head": _LENT, "head_options": {}, **config["streams"][name]}
    of_head = own.pop("head_options")
    return {**{argument: config[argument] for argument in shared}, **own, **of_head, "modality": name}
