"""Losses as sums over clips, so that cutting a batch into micro-batches changes nothing.

Axes: N clips, K classes.
"""

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LossSum = Callable[[Tensor, Tensor], Tensor]


def cross_entropy_sum(logits_NK: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy summed over the clips, in nats.

    Args:
        logits_NK: Scores before softmax.
        labels: Class indices ``(N,)``, or the share of each class ``(N, K)``, as mixed clips have them.
        label_smoothing: Share of the target that is spread over all classes.
    """
    labels = labels.to(logits_NK.dtype) if labels.is_floating_point() else labels
    return F.cross_entropy(logits_NK, labels, reduction="sum", label_smoothing=label_smoothing)


def no_loss_sum(logits_NK: Tensor, labels: Tensor) -> Tensor:
    """Return 0: labels are not learnt from."""
    del labels
    return logits_NK.new_zeros(())
