"""Mixup and cutmix: two clips of a micro-batch become one, and so do their targets.

Axes: N clips, C channels, T frames, H height, W width, K classes.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kinebert.training.data.transforms import without_waiting
from kinebert.training.recipe.optim import MixRecipe


def mix_batch(
    x_NCTHW: Tensor, labels_N: Tensor, num_classes: int, recipe: MixRecipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix every clip with another one of the batch.

    Mixup (arXiv:1710.09412) adds clips in the shares lam and 1 - lam, drawn from Beta(alpha, alpha) once per batch.
    Cutmix (arXiv:1905.04899) puts a rectangle of the other clip into all frames, as "VideoMix" (arXiv:2012.03457) found
    best for videos: its sides are the picture's times the root of 1 - lam, cut off at the border, and lam becomes the
    share of the area that is left.

    Args:
        x_NCTHW: Normalised clips; they stay as they are.
        labels_N: Their classes.
        num_classes: K.
        recipe: What is drawn from.
        rng: Decides everything.

    Returns:
        Clips, and the share of each class ``(N, K)``; the labels themselves for a batch that is not mixed.
    """
    if rng.random() >= recipe.share:
        return x_NCTHW, labels_N
    both = recipe.mixup > 0 and recipe.cutmix > 0
    cut = rng.random() < 0.5 if both else recipe.cutmix > 0
    alpha = recipe.cutmix if cut else recipe.mixup
    lam = float(rng.beta(alpha, alpha))
    partner_N = without_waiting(torch.from_numpy(rng.permutation(len(x_NCTHW))), x_NCTHW.device)
    if cut:
        rows, columns = _rectangle(x_NCTHW.shape[3], x_NCTHW.shape[4], lam, rng)
        mixed_NCTHW = x_NCTHW.clone()
        mixed_NCTHW[..., rows, columns] = x_NCTHW[partner_N][..., rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        lam = 1 - area / (x_NCTHW.shape[3] * x_NCTHW.shape[4])
    else:
        mixed_NCTHW = x_NCTHW * lam + x_NCTHW[partner_N] * (1 - lam)
    own_NK = F.one_hot(labels_N, num_classes).to(x_NCTHW.dtype)
    return mixed_NCTHW, own_NK * lam + own_NK[partner_N] * (1 - lam)


def _rectangle(height: int, width: int, lam: float, rng: np.random.Generator) -> tuple[slice, slice]:
    side = (1 - lam) ** 0.5
    parts = []
    for size in (height, width):
        middle, length = int(rng.integers(size)), int(size * side)
        parts.append(slice(max(0, middle - length // 2), min(size, middle - length // 2 + length)))
    return parts[0], parts[1]
