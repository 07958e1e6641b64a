"""Colours of clips changed as PIL and torchvision change those of pictures, to whole grey levels.

Each function takes and gives ``uint8`` clips ``(T, H, W, 3)``, RGB, and leaves the given one as it is. What depends on
the picture (its mean, its histogram) is that of each image by itself, as in the published programs for clips.

Axes: T frames, H height, W width, C channels.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
_LEVELS = np.arange(256, dtype=np.float32)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def brightness(clip_THWC: UInt8, factor: float) -> UInt8:
    """Multiply by ``factor``: 0 is black, 1 changes nothing."""
    return _looked_up(clip_THWC, _mixed(0, _LEVELS, factor))


def contrast(clip_THWC: UInt8, factor: float) -> UInt8:
    """Multiply the distance from each image's mean grey by ``factor``."""

    def changed(image_HWC: UInt8) -> UInt8:
        mean = int(_grey(image_HWC).mean() + 0.5)
        return _looked_up(image_HWC, _mixed(mean, _LEVELS, factor))

    return each(clip_THWC, changed)


def saturation(clip_THWC: UInt8, factor: float) -> UInt8:
    """Multiply the distance from the grey picture by ``factor``: 0 is grey."""
    return _mixed(_grey(clip_THWC)[..., None], clip_THWC, factor)


def hue(clip_THWC: UInt8, turn: float) -> UInt8:
    """Turn the hues by a part of the colour circle, -0.5 to 0.5."""
    hsv = cv2.cvtColor(_tall(clip_THWC), cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turn * 256) % 256)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8).reshape(clip_THWC.shape)


def sharpness(clip_THWC: UInt8, factor: float) -> UInt8:
    """Multiply the distance from the smoothed picture by ``factor``; the border stays."""

    def changed(image_HWC: UInt8) -> UInt8:
        smooth_HWC = np.asarray(cv2.filter2D(image_HWC, -1, _SMOOTH), np.uint8)
        for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            smooth_HWC[side] = image_HWC[side]
        return _mixed(smooth_HWC, image_HWC, factor)

    return each(clip_THWC, changed)


def posterize(clip_THWC: UInt8, bits: int) -> UInt8:
    """Keep the ``bits`` highest bits of each level, 0 to 8."""
    return clip_THWC & np.uint8(256 - 2 ** (8 - bits))


def solarize(clip_THWC: UInt8, threshold: float) -> UInt8:
    """Invert levels from ``threshold`` on."""
    return _looked_up(clip_THWC, np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS).astype(np.uint8))


def autocontrast(clip_THWC: UInt8) -> UInt8:
    """Stretch each channel of each image over all levels."""

    def levels(channel_HW: UInt8) -> UInt8:
        low, high = int(channel_HW.min()), int(channel_HW.max())
        if high <= low:
            return _LEVELS.astype(np.uint8)
        scale = 255 / (high - low)
        return np.asarray(np.clip(np.trunc(_LEVELS.astype(np.float64) * scale - low * scale), 0, 255), np.uint8)

    return _by_channel(clip_THWC, levels)


def equalize(clip_THWC: UInt8) -> UInt8:
    """Spread each channel of each image evenly over the levels, by its histogram."""

    def levels(channel_HW: UInt8) -> UInt8:
        counts = np.bincount(channel_HW.ravel(), minlength=256)
        step = (channel_HW.size - counts[counts > 0][-1]) // 255
        if step == 0:
            return _LEVELS.astype(np.uint8)
        below = np.cumsum(counts) - counts
        return np.asarray(np.minimum((step // 2 + below) // step, 255), np.uint8)

    return _by_channel(clip_THWC, levels)


def each(clip_THWC: UInt8, change: Callable[[UInt8], UInt8]) -> UInt8:
    """Change image by image."""
    return np.stack([change(image_HWC) for image_HWC in clip_THWC])


def _by_channel(clip_THWC: UInt8, levels: Callable[[UInt8], UInt8]) -> UInt8:
    def changed(image_HWC: UInt8) -> UInt8:
        return np.stack([levels(channel_HW)[channel_HW] for channel_HW in np.moveaxis(image_HWC, 2, 0)], axis=2)

    return each(clip_THWC, changed)


def _mixed(base: UInt8 | float, other: UInt8 | NDArray[np.float32], factor: float) -> UInt8:
    """Return ``base + factor * (other - base)``, cut off at the ends and without its fraction, as PIL blends."""
    low = np.asarray(base, np.float32)
    return np.clip(low + np.float32(factor) * (other - low), 0, 255).astype(np.uint8)


def _looked_up(picture: UInt8, levels: UInt8) -> UInt8:
    return np.take(levels, picture)


def _grey(picture: UInt8) -> UInt8:
    return np.asarray(cv2.cvtColor(_tall(picture), cv2.COLOR_RGB2GRAY), np.uint8).reshape(picture.shape[:-1])


def _tall(picture: UInt8) -> UInt8:
    """Lay the images of a clip below each other, as one picture."""
    return np.ascontiguousarray(picture).reshape(-1, picture.shape[-2], 3)
