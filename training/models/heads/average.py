"""Heads without parameters: the mean over the time steps, of features or of scores.

Axes: N batch, F features, T time steps left by the backbone, H height, W width.
"""

from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive
from kinebert.training.models.interfaces import Head
from kinebert.training.models.registry import register_head


class Tgap(Head):
    """Temporal global average pooling: the mean over T, H and W. Blind to the order of the time steps."""

    num_steps = None

    def __init__(self, num_features: int, window: int = 1, projection: int = 0) -> None:
        super().__init__()
        positive(window=window)
        if projection < 0:
            raise ConfigError(f"projection must be at least 0, got {projection}.")
        self.num_features, self.window = projection or num_features, window
        self.projection = nn.Linear(num_features, projection, bias=False) if projection else None
        self.relu = nn.ReLU()

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, F)``, or to ``(N, projection)`` where there is one.

        Raises:
            ConfigError: If T is less than the window.
        """
        pooled_NF = self._pooled(features_NFTHW)
        return pooled_NF if self.projection is None else self.relu(self.projection(pooled_NF))

    def _pooled(self, features_NFTHW: Tensor) -> Tensor:
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
def tgap(num_features: int, num_steps: int, *, window: int = 1, projection: int = 0) -> Tgap:
    """Average pooling. It takes clips of every length.

    Args:
        num_features: F of the backbone.
        num_steps: Not used.
        window: Mean over all windows of so many neighbouring steps, in which those at the ends count less. The scores
            that were published with I3D's weights for Kinetics are those of 2; the BERT papers' I3D has 1.
        projection: Features of a linear layer and a ReLU behind the mean, 0 for none; X3D is published with 2048.
    """
    del num_steps
    return Tgap(num_features, window, projection)


@register_head
def none(num_features: int, num_steps: int) -> EveryStep:
    """Single frames: train it with clips of one frame, test it with longer ones, whose scores are averaged."""
    del num_steps
    return EveryStep(num_features)
