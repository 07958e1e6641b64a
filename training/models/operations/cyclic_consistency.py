"""Cyclic consistency of two sequences: whether every step of one leads, by way of the other, back to itself.

Source: "Learn to cycle: time-consistent feature discovery for action recognition", Pattern Recognition Letters 2021,
arXiv:2006.08247, section 3.2.

Axes: N batch, T steps of the first sequence, S of the second, C features.
"""

import torch
from torch import Tensor


def soft_nearest(a_NTC: Tensor, b_NSC: Tensor) -> Tensor:
    """Return each step's soft nearest neighbour: the mean of ``b``, weighted by the softmax of negative distances.

    Distances are squared and Euclidean.

    Returns:
        ``(N, T, C)``.
    """
    weights_NTS = (-_distances(a_NTC, b_NSC)).softmax(dim=2)
    return (weights_NTS[..., None] * b_NSC[:, None]).sum(dim=2)


def cyclic_consistent(a_NTC: Tensor, b_NSC: Tensor) -> Tensor:
    """Return for every pair of sequences whether each step of ``a`` is nearest to its own soft neighbour: ``(N,)``."""
    with torch.no_grad():
        a_NTC, b_NSC = a_NTC.float(), b_NSC.float()
        back_NT = _distances(soft_nearest(a_NTC, b_NSC), a_NTC).argmin(dim=2)
        return (back_NT == torch.arange(a_NTC.shape[1], device=a_NTC.device)).all(dim=1)


def _distances(a_NTC: Tensor, b_NSC: Tensor) -> Tensor:
    # no matrix product: what it leaves of small differences would depend on the batch
    return (a_NTC[:, :, None] - b_NSC[:, None]).square().sum(dim=3)
