"""A non-local block on the last feature map, before average pooling, concatenation, or concatenation and a layer.

Source: "Non-local neural networks", CVPR 2018, arXiv:1711.07971 (embedded Gaussian), as the published implementation
of "Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232, has it: scores
are divided by the square root of the *number of positions*, neither by that of the features nor by nothing.

Axes: N batch, F features, T time steps left by the backbone, H height, W width.
"""

from torch import Tensor

from kinebert.training.models.heads.average import Tgap
from kinebert.training.models.heads.concatenation import Concat, ConcatFc
from kinebert.training.models.non_local import NonLocal
from kinebert.training.models.registry import register_head


class NonLocalTgap(Tgap):
    """A non-local block, then average pooling."""

    def __init__(self, num_features: int, inner_width: int) -> None:
        super().__init__(num_features)
        self.block = NonLocal(num_features, inner_width, scale="positions")

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, F)``."""
        return super().forward(self.block(features_NFTHW))


class NonLocalConcat(Concat):
    """A non-local block, then concatenation."""

    def __init__(self, num_features: int, num_steps: int, inner_width: int) -> None:
        super().__init__(num_features, num_steps)
        self.block = NonLocal(num_features, inner_width, scale="positions")

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, F x T)``; raises as :class:`Concat` does."""
        return super().forward(self.block(features_NFTHW))


class NonLocalConcatFc(ConcatFc):
    """A non-local block, then concatenation and a linear layer."""

    def __init__(self, num_features: int, num_steps: int, inner_width: int, head_width: int, fc_dropout: float) -> None:
        super().__init__(num_features, num_steps, head_width, fc_dropout)
        self.block = NonLocal(num_features, inner_width, scale="positions")

    def forward(self, features_NFTHW: Tensor) -> Tensor:
        """Pool ``(N, F, T, H, W)`` to ``(N, head_width)``; raises as :class:`Concat` does."""
        return super().forward(self.block(features_NFTHW))


@register_head
def nonlocal_tgap(num_features: int, num_steps: int, *, inner_width: int = 512) -> NonLocalTgap:
    """Non-local block and average pooling. It takes clips of every length.

    Args:
        num_features: F of the backbone.
        num_steps: Not used.
        inner_width: Features by which positions are compared; 512 is published.
    """
    del num_steps
    return NonLocalTgap(num_features, inner_width)


@register_head
def nonlocal_concat(num_features: int, num_steps: int, *, inner_width: int = 512) -> NonLocalConcat:
    """Non-local block, then all time steps side by side. Arguments as of :func:`nonlocal_concat_fc`."""
    return NonLocalConcat(num_features, num_steps, inner_width)


@register_head
def nonlocal_concat_fc(
    num_features: int, num_steps: int, *, inner_width: int = 512, head_width: int = 1000, fc_dropout: float = 0.0
) -> NonLocalConcatFc:
    """Non-local block, concatenation, one linear layer more, no activation.

    Args:
        num_features: F of the backbone.
        num_steps: T that the backbone leaves of a clip.
        inner_width: Features by which positions are compared; 512 is published.
        head_width: Features of the linear layer; 1000 is published, which makes it as large as BERT pooling.
        fc_dropout: Probability to drop a feature before the layer, see
            :func:`kinebert.training.models.heads.concatenation.concat_fc`.
    """
    return NonLocalConcatFc(num_features, num_steps, inner_width, head_width, fc_dropout)
