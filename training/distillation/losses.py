"""What it costs a student to answer otherwise than its teacher: sums over clips, as those of :mod:`..optim.losses`.

Gradients reach the student alone where the teacher's answers were made without any.

Axes: N clips, T time steps, F features, K classes.
"""

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Reduction = Literal["mean", "sum"]
FLOOR = 1e-6
"""Least length that a vector is divided by: one of zeros stays one of zeros. Published programs have none."""


def feature_sum(ours_NF: Tensor, theirs_NF: Tensor) -> Tensor:
    """Return the squared difference of pooled features, its mean over F, summed over the clips.

    Source: MARS and MERS, "MARS: motion-augmented RGB stream for action recognition", CVPR 2019. Their programs take
    the mean over all N x F numbers, which is this sum divided by N.
    """
    return (ours_NF - theirs_NF).square().flatten(1).mean(1).sum()


def sequence_sum(
    ours_NTF: Tensor, theirs_NTF: Tensor, reduction: Reduction = "mean", hidden_NT: Tensor | None = None
) -> Tensor:
    """Return the squared distances of unit vectors at the time steps, summed over the clips.

    Source: equation 5.1 of Kalfaoglu's thesis (METU, 2020): ``ours_NTF`` are BERT's outputs at the time steps, and
    ``theirs_NTF`` a teacher's features before its temporal head.

    Args:
        ours_NTF: Of the student; of any length, as its teacher's.
        theirs_NTF: Of the teacher.
        reduction: ``sum`` over T and F, as the equation is written, or their ``mean``, T x F times less.
        hidden_NT: Steps that count, where not all do; the mean is over all of them nevertheless.
    """
    difference_NTF = unit(ours_NTF) - unit(theirs_NTF)
    if hidden_NT is not None:
        difference_NTF = difference_NTF * hidden_NT.unsqueeze(-1)
    squares_NX = difference_NTF.square().flatten(1)
    return (squares_NX.mean(1) if reduction == "mean" else squares_NX.sum(1)).sum()


def soft_label_sum(ours_NK: Tensor, theirs_NK: Tensor, temperature: float) -> Tensor:
    """Return the divergence of the student's classes from the teacher's, both softened, summed over the clips, in nats.

    Source: "Distilling the knowledge in a neural network", arXiv:1503.02531. Times the temperature squared, so that the
    gradient keeps its size when the temperature is changed. Its gradient is that of the cross-entropy with the
    teacher's shares, which is larger by their own entropy.

    Args:
        ours_NK: Logits of the student.
        theirs_NK: Logits of the teacher, of the same classes.
        temperature: What both are divided by.
    """
    ours, theirs = (F.log_softmax(logits / temperature, dim=1) for logits in (ours_NK, theirs_NK))
    return F.kl_div(ours, theirs, reduction="sum", log_target=True) * temperature**2


def unit(x: Tensor) -> Tensor:
    """Return vectors (the last axis) divided by their lengths, or by :data:`FLOOR` where they are shorter."""
    return F.normalize(x, dim=-1, eps=FLOOR)
