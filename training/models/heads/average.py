"""Heads without parameters: the mean over the time steps, of features or of scores.

Axes: N batch, F features, T time steps left by the backbone, H height, W width.
"""

from torch import Tensor
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive
from kinebert.training.models.interfaces import Head
from kinebert.training.models.registry import register_head


class Tgap(Head):
    """Temporal global average pooling: the mean over T, H and W. Blind to the order of the time steps."""

    num_steps = None

    def __init__(self, num_features: int, window: int = 1) -> None:
        super().__init__()
        positive(window=window)
        self.num_features, self.window = num_features, window

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, F)``.

        Raises:
            ConfigError: If T is less than the window.
        """
        if self.window == 1:
            return features_NFTHW.mean(dim=(2, 3, 4))
        if features_NFTHW.shape[2] < self.window:
            raise ConfigError(f"{features_NFTHW.shape[2]} time steps are less than the window, {self.window}.")
        return functional.avg_pool1d(features_NFTHW.mean(dim=(3, 4)), self.window, stride=1).mean(dim=2)


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
def tgap(num_features: int, num_steps: int, *, window: int = 1) -> Tgap:
    """Average pooling. It takes clips of every length.

    Args:
        num_features: F of the backbone.
        num_steps: Not used.
        window: Mean over all windows of so many neighbouring steps, in which those at the ends count less. The scores
            that were published with I3D's weights for Kinetics are those of 2; the BERT papers' I3D has 1.
    """
    del num_steps
    return Tgap(num_features, window)


@register_head
def none(num_features: int, num_steps: int) -> EveryStep:
    """Single frames: train it with clips of one frame, test it with longer ones, whose scores are averaged."""
    del num_steps
    return EveryStep(num_features)
