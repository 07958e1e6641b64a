"""RandAugment for clips: a few operations in a row, drawn once for all images of a clip.

Source: "RandAugment: practical automated data augmentation with a reduced search space", arXiv:1909.13719. Operations
and ranges are those of torchvision's, whose magnitudes go from 0 to 30; turned and moved pictures are sampled at the
nearest pixel, and black where there was none.

Axes: T frames, H height, W width, C channels.
"""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.training.data import colours
from kinebert.training.data.colours import UInt8, each
from kinebert.training.recipe.augment import MOST_MAGNITUDE

Operation = Callable[[UInt8, float], UInt8]
"""Takes a clip and how strong it is, -1 to 1."""


def rand_augment(clip_THWC: UInt8, num_operations: int, magnitude: int, rng: np.random.Generator) -> UInt8:
    """Apply so many operations to RGB codes ``(T, H, W, 3)``, each drawn from all of them, and its sign from two.

    Args:
        clip_THWC: ``uint8``; it stays as it is.
        num_operations: At least 1.
        magnitude: 0 to 30.
        rng: Decides everything.
    """
    for _ in range(num_operations):
        name = NAMES[rng.integers(len(NAMES))]
        sign = 1 if rng.random() < 0.5 else -1
        clip_THWC = OPERATIONS[name](clip_THWC, sign * magnitude / MOST_MAGNITUDE)
    return clip_THWC


def _blend(change: Callable[[UInt8, float], UInt8], clip_THWC: UInt8, strength: float) -> UInt8:
    return change(clip_THWC, 1 + 0.9 * strength)


def _shear_x(clip_THWC: UInt8, strength: float) -> UInt8:
    return _moved(clip_THWC, np.array([[1, 0.3 * strength, 0], [0, 1, 0]]))


def _shear_y(clip_THWC: UInt8, strength: float) -> UInt8:
    return _moved(clip_THWC, np.array([[1, 0, 0], [0.3 * strength, 1, 0]]))


def _translate_x(clip_THWC: UInt8, strength: float) -> UInt8:
    pixels = int(150 / 331 * clip_THWC.shape[2] * strength)
    return _moved(clip_THWC, np.array([[1, 0, pixels], [0, 1, 0]], np.float64))


def _translate_y(clip_THWC: UInt8, strength: float) -> UInt8:
    pixels = int(150 / 331 * clip_THWC.shape[1] * strength)
    return _moved(clip_THWC, np.array([[1, 0, 0], [0, 1, pixels]], np.float64))


def _rotate(clip_THWC: UInt8, strength: float) -> UInt8:
    height, width = clip_THWC.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 30 * strength, 1)
    return _moved(clip_THWC, np.asarray(matrix, np.float64))


def _moved(clip_THWC: UInt8, where: NDArray[np.float64]) -> UInt8:
    """Put the pixel at (x, y) of every image to ``where`` (2, 3) times (x, y, 1), in pixels; the corner is (0, 0)."""
    height, width = clip_THWC.shape[1:3]

    def moved(image_HWC: UInt8) -> UInt8:
        return np.asarray(cv2.warpAffine(image_HWC, where, (width, height), flags=cv2.INTER_NEAREST), np.uint8)

    return each(clip_THWC, moved)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda clip_THWC, _: clip_THWC,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": partial(_blend, colours.brightness),
    "color": partial(_blend, colours.saturation),
    "contrast": partial(_blend, colours.contrast),
    "sharpness": partial(_blend, colours.sharpness),
    "posterize": lambda clip_THWC, strength: colours.posterize(clip_THWC, 8 - round(4 * abs(strength))),
    "solarize": lambda clip_THWC, strength: colours.solarize(clip_THWC, 255 * (1 - abs(strength))),
    "autocontrast": lambda clip_THWC, _: colours.autocontrast(clip_THWC),
    "equalize": lambda clip_THWC, _: colours.equalize(clip_THWC),
}
"""By the names of the paper."""
NAMES = tuple(OPERATIONS)
