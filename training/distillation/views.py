"""What of a network a teacher gives and a student answers: its pooled features, its time steps, or its scores.

Axes: N clips, C channels, T time steps, F features, H height, W width, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kinebert.training.models import Recognizer


@dataclass(frozen=True)
class View:
    """One of them."""

    name: str
    """In words."""
    of: Callable[[Recognizer, Tensor], Tensor]
    """Returns it for normalised clips ``(N, C, T, H, W)``."""
    shape: Callable[[Recognizer, int], tuple[int, ...]]
    """Returns its shape for one clip of so many images."""
    whole: bool = True
    """The head takes part, and so clips must be of the length that it was built for."""


def tokens(net: Recognizer, x_NCTHW: Tensor) -> Tensor:
    """Return the features before the temporal head, averaged over the picture: ``(N, T, F)``."""
    features_NFTHW: Tensor = net.backbone(x_NCTHW)
    return features_NFTHW.mean(dim=(3, 4)).transpose(1, 2)


def pooled(net: Recognizer, x_NCTHW: Tensor) -> Tensor:
    """Return what the head makes of clips, before dropout: ``(N, F)``."""
    return merged(net, net.pooled(x_NCTHW))


def merged(net: Recognizer, pooled: Tensor) -> Tensor:
    """Return pooled features as ``(N, F)``, the mean of the time steps where a head keeps them."""
    return pooled.mean(dim=1) if net.head.per_step else pooled


def _num_classes(net: Recognizer, _: int) -> tuple[int, ...]:
    return (net.classifier.out_features,)


POOLED = View("pooled features", pooled, lambda net, _: (net.head.num_features,))
TOKENS = View(
    "features of the time steps",
    tokens,
    lambda net, images: (net.backbone.num_steps(images), net.backbone.num_features),
    whole=False,
)
SCORES = View("scores of classes", lambda net, x_NCTHW: net(x_NCTHW), _num_classes)


def exact(x: Tensor) -> Tensor:
    """Return numbers as float32 at least, whatever a forward pass was computed in."""
    return x if x.dtype == torch.float64 else x.float()
