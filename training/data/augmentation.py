"""What training crops go through once they have the network's size: RandAugment, colour jitter, random erasing.

In this order, as programs for pictures have it; one draw for all images of a clip. Codes stay ``uint8``.

Axes: T frames, H height, W width, C channels.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

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


def augmented_together(
    clip_THWC: UInt8, recipe: AugmentRecipe, streams: Mapping[Modality, slice], rng: np.random.Generator
) -> UInt8:
    """Change a crop of several streams: colours of photographs alone, and the same rectangle of all.

    Args:
        clip_THWC: ``(T, H, W, C)``; it is written to.
        recipe: What is done.
        streams: Channels of each, see :func:`.streams_of`.
        rng: Decides everything.
    """
    for modality, own in streams.items():
        if modality.is_photograph:
            clip_THWC[..., own] = augmented(
                np.ascontiguousarray(clip_THWC[..., own]), replace(recipe, erase=0.0), modality, rng
            )
    if recipe.erase and rng.random() < recipe.erase:
        place = _rectangle(clip_THWC.shape[1], clip_THWC.shape[2], recipe, rng)
        for modality, own in streams.items():
            clip_THWC[..., own] = _filled(clip_THWC[..., own], place, recipe, modality, rng)
    return clip_THWC


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
    place = _rectangle(clip_THWC.shape[1], clip_THWC.shape[2], recipe, rng)
    return _filled(clip_THWC, place, recipe, modality, rng)


def _rectangle(height: int, width: int, recipe: AugmentRecipe, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """Draw which rows and columns are erased."""
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*recipe.erase_area)
        aspect = math.exp(rng.uniform(math.log(recipe.erase_aspect[0]), math.log(recipe.erase_aspect[1])))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < rows < height and 0 < columns < width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            return slice(top, top + rows), slice(left, left + columns)
    return None


def _filled(
    clip_THWC: UInt8,
    place: tuple[slice, slice] | None,
    recipe: AugmentRecipe,
    modality: Modality,
    rng: np.random.Generator,
) -> UInt8:
    if place is None:
        return clip_THWC
    clip_THWC = clip_THWC.copy()
    inside_THWC = clip_THWC[:, place[0], place[1]]
    if recipe.erase_with == "random":
        inside_THWC[...] = rng.integers(0, 256, inside_THWC.shape[1:], np.uint8)
    else:
        inside_THWC[...] = _mean(modality, clip_THWC.shape[3])
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
