"""Heads without parameters: the mean over the time steps, of features or of scores.

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


class EveryStep(Head):
    """No temporal modelling: every time step is classified for itself, and the scores are averaged."""

    num_steps = None
    per_step = True

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, T, F)``."""
        return features_NFTHW.mean(dim=(3, 4)).transpose(1, 2)


@register_head
def tgap(num_features: int, num_steps: int) -> Tgap:
    """Average pooling; takes clips of every length, so ``num_steps`` is of no consequence."""
    del num_steps
    return Tgap(num_features)


@register_head
def none(num_features: int, num_steps: int) -> EveryStep:
    """Single frames: train it with clips of one frame, test it with longer ones, whose scores are averaged."""
    del num_steps
    return EveryStep(num_features)
