"""Concatenation: the classifier sees the features of all time steps side by side, each with weights of its own.

Source: "Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232, table 1,
and its published implementation: features first, then time steps (all steps of feature 0, all of feature 1, ...).

Axes: N batch, F features, T time steps left by the backbone, H height, W width.
"""

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive
from kinebert.training.models.interfaces import Head
from kinebert.training.models.registry import register_head


class Concat(Head):
    """Mean over H and W, then F x T features."""

    num_steps: int

    def __init__(self, num_features: int, num_steps: int) -> None:
        super().__init__()
        self.num_features, self.num_steps = num_features * num_steps, num_steps

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, F x T)``.

        Raises:
            ConfigError: If T is not the number of steps that this head was built for.
        """
        t = features_NFTHW.shape[2]
        if t != self.num_steps:
            raise ConfigError(f"got {t} time steps, this head was built for {self.num_steps}.")
        return features_NFTHW.mean(dim=(3, 4)).flatten(1)


class ConcatFc(Concat):
    """Concatenation and a linear layer. No activation follows: the published one has none before its classifier.

    Args:
        num_features: F.
        num_steps: T.
        head_width: Features out of the linear layer.
        fc_dropout: Probability to drop a feature before it.
    """

    def __init__(self, num_features: int, num_steps: int, head_width: int, fc_dropout: float) -> None:
        super().__init__(num_features, num_steps)
        positive(head_width=head_width)
        if not 0 <= fc_dropout < 1:
            raise ConfigError(f"fc_dropout must be at least 0 and below 1, got {fc_dropout}.")
        self.drop = nn.Dropout(fc_dropout)
        self.fc = nn.Linear(self.num_features, head_width)
        self.num_features = head_width

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, head_width)``; raises as :class:`Concat` does."""
        pooled_NF: Tensor = self.fc(self.drop(super().forward(features_NFTHW)))
        return pooled_NF


@register_head
def concat(num_features: int, num_steps: int) -> Concat:
    """Classify the features of all time steps at once."""
    return Concat(num_features, num_steps)


@register_head
def concat_fc(num_features: int, num_steps: int, *, head_width: int = 1550, fc_dropout: float = 0.0) -> ConcatFc:
    """Concatenation, one linear layer more, no activation.

    Args:
        num_features: F of the backbone.
        num_steps: T that the backbone leaves of a clip.
        head_width: Features of the layer; 1550 is published, which makes it as large as BERT pooling.
        fc_dropout: Probability to drop a feature before the layer. The published network drops 0.8 here and none
            before the classifier (``dropout`` of the recognizer).
    """
    return ConcatFc(num_features, num_steps, head_width, fc_dropout)
