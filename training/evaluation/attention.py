"""Which moments of a clip a recognizer's classification token looks at. Numbers only; no plots.

Axes: N clips, T images, H height, W width, C channels, A attention heads, S steps with the token itself in front.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.aligned import OpenedSet, open_shards
from kinebert.training.checkpoints.recognizer import check_shards, load_recognizer
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.transforms import UInt8, to_device_batch
from kinebert.training.data.windows import Window
from kinebert.training.evaluation.evaluate import recipe_of
from kinebert.training.models import Recognizer
from kinebert.training.models.streams import StreamHeads, stream_modules
from kinebert.training.numerics import AS_USUAL, Inference, choose_device
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe
from kinebert.training.shards import Shards


@runtime_checkable
class Attentive(Protocol):
    """A head that can say who looks at whom."""

    def attention_weights(self, features: Any) -> list[Tensor]:
        """Return ``(N, A, S, S)`` for every layer, of the features that its forward pass takes; rows sum to 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """What the classification token looks at in one layer."""

    name: str
    """For people: ``layer 1``, or what the head calls it."""
    weights: NDArray[np.float32]
    """``(A, S)``: the share of itself, then of every time step; each row sums to 1. Where a layer looks at several
    streams, there is one of these for each, with its own steps: all rows of a head sum to 1, the token counted once."""

    @property
    def mean(self) -> NDArray[np.float32]:
        """The mean over the heads, ``(S,)``."""
        mean_S: NDArray[np.float32] = self.weights.mean(axis=0)
        return mean_S


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipAttention:
    """One clip, what the recognizer takes it for, and where it looked."""

    video_id: str
    label: str | None
    """Name of the video's class; None where it is not known."""
    predicted: str
    """Name of the class with the highest score."""
    probability: float
    """Softmax of that score."""
    indices: tuple[int, ...]
    """Images of the video that make the clip; of stacked flow the first field of each stack."""
    clip: UInt8
    """``(T, H, W, C)``, as stored, cropped as the network sees it."""
    layers: tuple[Layer, ...]
    """From the first to the last."""
    modality: str = ""
    """Of the clip's channels; empty where nobody has said."""

    def plain(self) -> dict[str, Any]:
        """Return the numbers as plain values: all but the pictures."""
        layers = [
            {
                "name": layer.name,
                "token": float(layer.mean[0]),
                "steps": layer.mean[1:].tolist(),
                "heads": [{"token": float(row_S[0]), "steps": row_S[1:].tolist()} for row_S in layer.weights],
            }
            for layer in self.layers
        ]
        return {
            "video_id": self.video_id,
            "label": self.label,
            "predicted": self.predicted,
            "probability": self.probability,
            "images": list(self.indices),
            "layers": layers,
        }


def step_edges(num_images: int, num_steps: int) -> list[int]:
    """Return where each time step begins among the images of a clip, and the end of the last.

    A step's receptive field reaches further: these are the images above its middle.
    """
    return [round(step * num_images / num_steps) for step in range(num_steps + 1)]


def attend(
    recognizer: Recognizer,
    shards: Shards,
    videos: Sequence[Any],
    data: DataRecipe,
    *,
    views: Literal["single", "multi"] = "single",
    device: torch.device | None = None,
    most: int | None = None,
    inference: Inference = AS_USUAL,
) -> list[ClipAttention]:
    """Look at the test clips of some videos, one at a time.

    Args:
        recognizer: Its head must be :class:`Attentive`. Moved to ``device`` and set to evaluation, in place.
        shards: Of the recipe that the recognizer was trained on.
        videos: Of ``shards``.
        data: Sampling and crops, as in training.
        views: ``single``: the centre clip of each video; ``multi``: all that fit without overlap.
        device: Where the network runs; None for where it is.
        most: Clips that the caller has room for.
        inference: How the network computes; it is not compiled.

    Raises:
        ConfigError: If the head has no classification token, or there are more clips than ``most``.
    """
    check_attentive(recognizer)
    device = device or next(recognizer.parameters()).device
    recognizer.to(device).eval()
    data = replace(data, resize_on="loader")  # figures show the pictures
    dataset = ClipDataset(shards, videos, data, protocol=ProtocolRecipe(clips=views))
    keys = dataset.test_keys(range(len(videos)))
    if most is not None and len(keys) > most:
        raise ConfigError(f"{len(keys)} clips are too many, {most} is the most: give fewer videos.")
    found = []
    for row, number in keys:
        video = videos[row]
        clip_THWC, label, _ = dataset[row, number]
        assert not isinstance(clip_THWC, Window)
        with inference.on(device):
            logits_K, layers = _look(recognizer, clip_THWC, device)
        best = int(logits_K.argmax())
        found.append(
            ClipAttention(
                video_id=video.video_id,
                label=shards.classes[label] if 0 <= label < len(shards.classes) else None,
                predicted=shards.classes[best],
                probability=float(logits_K.softmax(dim=0)[best]),
                indices=tuple(dataset.clips_of(row)[number].tolist()),
                clip=clip_THWC,
                layers=layers,
                modality=shards.modality,
            )
        )
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class AttendedVideos:
    """Clips of a set with what a checkpoint's recognizer looked at."""

    recognizer: Recognizer
    shards: OpenedSet
    clips: list[ClipAttention]


def attend_videos(
    checkpoint: str,
    uri: str | None = None,
    video_ids: Sequence[str] = (),
    *,
    num_videos: int = 1,
    part: str | None = None,
    views: Literal["single", "multi"] = "single",
    device: str = "auto",
    most: int | None = None,
    beside: Sequence[str] = (),
) -> AttendedVideos:
    """Look at clips of stored videos with a checkpoint, in the numbers of its recipe.

    Args:
        checkpoint: ``best.pt`` of a training.
        uri: Shard set; None for that of the training.
        video_ids: Which videos.
        num_videos: Without ``video_ids``: so many, evenly spaced in the part.
        part: Of the training's split; by default the one that it measured itself on.
        views: As for :func:`attend`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        most: Clips that the caller has room for.
        beside: With ``uri``, of a recognizer of several streams: the further sets.

    Raises:
        UserError: If the checkpoint and the set do not fit, or there is no such video.
        ConfigError: If the head has no classification token, or there are more clips than ``most``.
    """
    chosen = choose_device(device)
    recognizer, info = load_recognizer(checkpoint)
    check_attentive(recognizer)
    recipe = recipe_of(checkpoint, info)
    data = recipe.data
    shards = open_shards(*data.places(uri, beside))
    check_shards(checkpoint, info, shards)
    if video_ids:
        videos = [shards.entry(video_id) for video_id in video_ids]
    else:
        found = shards.select(data.split, part or data.val_part)
        count = min(num_videos, len(found))
        videos = [found[(2 * i + 1) * len(found) // (2 * count)] for i in range(count)]
    how = Inference.of(recipe)
    clips = attend(recognizer, shards, videos, data, views=views, device=chosen, most=most, inference=how)
    return AttendedVideos(recognizer=recognizer, shards=shards, clips=clips)


def check_attentive(recognizer: Recognizer) -> None:
    """Raise a ConfigError if the recognizer's head cannot say where it looks."""
    head = recognizer.head
    heads = stream_modules(head).values() if isinstance(head, StreamHeads) else [head]
    if not all(isinstance(one, Attentive) for one in heads):
        raise ConfigError(
            f"the head {recognizer.config['head']!r} has no classification token that looks at time steps: take a "
            "checkpoint with a bert head."
        )


def _look(recognizer: Recognizer, clip_THWC: UInt8, device: torch.device) -> tuple[Tensor, tuple[Layer, ...]]:
    """Return the logits ``(K,)`` of one clip, and what its classification token looks at in every layer."""
    head, features = recognizer.head, []
    hook = head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    try:
        x_NCTHW = to_device_batch(torch.from_numpy(clip_THWC)[None], recognizer.spec, device)
        logits_NK = recognizer(x_NCTHW)
        assert isinstance(head, Attentive), "check_attentive has been asked"
        layers_NASS = head.attention_weights(features[0])
    finally:
        hook.remove()
    names = getattr(head, "attention_names", None) or [f"layer {i}" for i in range(1, len(layers_NASS) + 1)]
    parts: dict[str, slice] = getattr(head, "token_parts", {"": slice(1, None)})
    layers = []
    for name, weights_NASS in zip(names, layers_NASS, strict=True):
        row_AS = weights_NASS[0, :, 0].float().cpu().numpy()
        for part, own in parts.items():
            weights_AS = np.concatenate([row_AS[:, :1], row_AS[:, own]], axis=1)
            layers.append(Layer(name=f"{part}, {name}" if part else name, weights=weights_AS))
    return logits_NK[0].float().cpu(), tuple(layers)
