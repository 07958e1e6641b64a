"""Temporal pooling without parameters.

Axes: N batch, F features, T time steps left by the backbone, H height, W width.
"""

from torch import Tensor

from training.models.registry import Head, register_head


class Tgap(Head):
    """Temporal global average pooling: the mean over T, H and W. Blind to the order of the time steps."""

    num_steps = None

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, F)``."""
        return features_NFTHW.mean(dim=(2, 3, 4))


@register_head
def tgap(num_features: int, num_steps: int) -> Tgap:
    """Average pooling; takes clips of every length, so ``num_steps`` is of no consequence."""
    del num_steps
    return Tgap(num_features)
