"""What training crops go through once they have the network's size: RandAugment, colour jitter, random erasing.

In this order, as programs for pictures have it; one draw for all images of a clip. Codes stay ``uint8``.

Axes: T frames, H height, W width, C channels.
"""

import math

import numpy as np

from kinebert.preprocessing.modalities import Modality
from kinebert.training.data import colours
from kinebert.training.data.colours import UInt8
from kinebert.training.data.rand_augment import rand_augment
from kinebert.training.recipe.augment import AugmentRecipe

IMAGENET_MEAN = (125, 122, 114)
"""Codes that random erasing puts into photographs ("Random erasing data augmentation", arXiv:1708.04896, section 4)."""
_TRIES = 10


def augmented(clip_THWC: UInt8, recipe: AugmentRecipe, modality: Modality, rng: np.random.Generator) -> UInt8:
    """Change a training crop ``(T, H, W, C)`` as ``rng`` decides, and return it; the given one may be written to."""
    if recipe.randaugment:
        clip_THWC = rand_augment(clip_THWC, recipe.randaugment, recipe.magnitude, rng)
    if recipe.colours:
        clip_THWC = jittered(clip_THWC, recipe, rng)
    if recipe.erase and rng.random() < recipe.erase:
        clip_THWC = erased(clip_THWC, recipe, modality, rng)
    return np.ascontiguousarray(clip_THWC)


def jittered(clip_THWC: UInt8, recipe: AugmentRecipe, rng: np.random.Generator) -> UInt8:
    """Change brightness, contrast, saturation and hue in any order, each by an even draw, as torchvision does."""
    for i in rng.permutation(4).tolist():
        name = ("brightness", "contrast", "saturation", "hue")[i]
        most: float = getattr(recipe, name)
        if not most:
            continue
        low, high = (-most, most) if name == "hue" else (max(0.0, 1 - most), 1 + most)
        clip_THWC = getattr(colours, name)(clip_THWC, float(rng.uniform(low, high)))
    return clip_THWC


def erased(clip_THWC: UInt8, recipe: AugmentRecipe, modality: Modality, rng: np.random.Generator) -> UInt8:
    """Fill one rectangle of every image with the same values (arXiv:1708.04896, algorithm 1).

    Its area is an even draw, its aspect one on a logarithmic scale. What does not fit is drawn again, ten times at
    most; then nothing is erased.
    """
    height, width, channels = clip_THWC.shape[1:]
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*recipe.erase_area)
        aspect = math.exp(rng.uniform(math.log(recipe.erase_aspect[0]), math.log(recipe.erase_aspect[1])))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < rows < height and 0 < columns < width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            fill = _mean(modality, channels)
            if recipe.erase_with == "random":
                fill = rng.integers(0, 256, (rows, columns, channels), np.uint8)
            clip_THWC = clip_THWC.copy()
            clip_THWC[:, top : top + rows, left : left + columns] = fill
            break
    return clip_THWC


def _mean(modality: Modality, channels: int) -> UInt8:
    """Return the codes of nothing special: no motion, or a modality's mean; of stacks for each image."""
    codes: tuple[int, ...]
    if modality.motion:
        codes = (128, 128)
    elif modality.mean is not None:
        codes = tuple(round(255 * value) for value in modality.mean)
    else:
        codes = IMAGENET_MEAN
    return np.tile(np.array(codes, np.uint8), channels // len(codes))
