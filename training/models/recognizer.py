"""A recognizer: backbone, optional feature reduction, temporal head and classifier, in every combination.

Axes: N batch, C channels, T frames, H height, W width, K classes.
"""

import copy
from typing import Any

from torch import Tensor, nn

from preprocessing.errors import ConfigError
from training.models.registry import (
    BACKBONES,
    HEADS,
    Backbone,
    Head,
    InputSpec,
    find,
    head_options,
    num_channels,
    positive,
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
    """

    def __init__(
        self, backbone: Backbone, head: Head, num_classes: int, dropout: float, spec: InputSpec, config: dict[str, Any]
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(head.num_features, num_classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.spec = spec
        self._config = copy.deepcopy(config)

    @property
    def config(self) -> dict[str, Any]:
        """A copy of the plain values with which :func:`build_recognizer` makes this network again."""
        return copy.deepcopy(self._config)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Score clips.

        Args:
            x_NCTHW: Normalised clips as :attr:`spec` says.

        Returns:
            Logits ``(N, K)``.

        Raises:
            ConfigError: If the clips have another number of channels, or of frames than the head was built for.
        """
        self._check(x_NCTHW)
        logits_NK: Tensor = self.classifier(self.dropout(self.head(self.backbone(x_NCTHW))))
        return logits_NK

    def _check(self, x_NCTHW: Tensor) -> None:
        channels = num_channels(self.spec.modality)
        if x_NCTHW.ndim != 5 or x_NCTHW.shape[1] != channels:
            raise ConfigError(
                f"a {self.spec.modality} recognizer takes clips (N, {channels}, T, H, W), got {tuple(x_NCTHW.shape)}."
            )
        frames = x_NCTHW.shape[2]
        steps, wanted = self.backbone.num_steps(frames), self.head.num_steps
        if wanted is not None and steps != wanted:
            raise ConfigError(
                f"got a clip of {frames} frames, which are {steps} time steps after the backbone; the head "
                f"{self._config['head']!r} was built for {self.spec.num_frames} frames, which are {wanted}."
            )


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
    **options: Any,
) -> Recognizer:
    """Build a network with fresh weights, the same ones after the same ``torch.manual_seed``.

    Args:
        backbone: ``resnet18``, ``r2plus1d_18`` or ``r2plus1d_34``.
        reduction: Only None (or ``"none"``) so far.
        head: ``tgap`` or ``bert``.
        modality: ``rgb`` or ``flow``.
        num_classes: Scores that it returns.
        clip_length: Images in a clip.
        size: Height and width of its input, pixels.
        width: Multiplier of the backbone's channels, for small machines.
        dropout: Probability to drop a pooled feature before the classifier.
        frame_interval: Stored images from one image of a clip to the next.
        frame_size: Width and height of the frame that crops are taken from, pixels; None for frames as stored.
        options: Of the head, see :func:`training.models.bert.bert`.

    Raises:
        ConfigError: For an unknown name or option, or a value out of range.
    """
    positive(num_classes=num_classes, clip_length=clip_length, size=size, width=width)
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be at least 0 and below 1, got {dropout}.")
    if reduction not in (None, "none"):
        raise ConfigError(f"There is no reduction {reduction!r}. There is only 'none' so far.")
    entry = find(BACKBONES, backbone, "backbone")
    options = head_options(head, options)
    channels = num_channels(modality)
    if modality not in entry.normalization:
        raise ConfigError(f"The backbone {backbone!r} does not take {modality}, only {', '.join(entry.normalization)}.")
    normalization = entry.normalization[modality]
    spec = InputSpec(
        modality=modality,
        num_frames=clip_length,
        frame_interval=frame_interval,
        size=None if frame_size is None else (frame_size[0], frame_size[1]),
        crop_size=size,
        mean=normalization.mean,
        std=normalization.std,
        value_range=normalization.value_range,
    )
    config = {
        "backbone": backbone,
        "reduction": None,
        "head": head,
        "modality": modality,
        "num_classes": num_classes,
        "clip_length": clip_length,
        "size": size,
        "width": width,
        "dropout": dropout,
        "frame_interval": frame_interval,
        "frame_size": None if frame_size is None else list(frame_size),
        **options,
    }
    trunk = entry.build(channels_in=channels, width=width)
    pool = HEADS[head](trunk.num_features, trunk.num_steps(clip_length), **options)
    return Recognizer(trunk, pool, num_classes, dropout, spec, config)
