"""Colours changed as PIL changes them: within a level or so, where the two round otherwise."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from kinebert.training.data import colours
from kinebert.training.data.colours import UInt8

RNG = np.random.default_rng(3)
NOISE = RNG.integers(0, 256, (20, 24, 3), np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[40:200:24j, 90:250:20j], 77), axis=2).astype(np.uint8)
CLIP = np.stack([NOISE, SMOOTH.transpose(1, 0, 2), NOISE // 3 + 60])


def theirs(change: Callable[[Image.Image], Image.Image]) -> UInt8:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in CLIP])


def far(ours: UInt8, other: UInt8) -> int:
    assert ours.dtype == np.uint8
    assert ours.shape == other.shape
    return int(np.abs(ours.astype(int) - other).max())


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize(
    ("ours", "enhance", "most"),
    [
        (colours.brightness, ImageEnhance.Brightness, 0),
        (colours.contrast, ImageEnhance.Contrast, 1),
        (colours.saturation, ImageEnhance.Color, 1),
        (colours.sharpness, ImageEnhance.Sharpness, 1),
    ],
)
def test_blends_are_those_of_pil(
    ours: Callable[[UInt8, float], UInt8],
    enhance: Callable[[Image.Image], ImageEnhance._Enhance],
    most: int,
    factor: float,
) -> None:
    assert far(ours(CLIP, factor), theirs(lambda image: enhance(image).enhance(factor))) <= most


def test_levels_are_those_of_pil() -> None:
    assert far(colours.autocontrast(CLIP), theirs(ImageOps.autocontrast)) == 0
    assert far(colours.equalize(CLIP), theirs(ImageOps.equalize)) == 0
    for bits in (4, 6, 8):
        assert far(colours.posterize(CLIP, bits), theirs(lambda image, bits=bits: ImageOps.posterize(image, bits))) == 0  # type: ignore[misc]
    for threshold in (0, 100, 255):
        other = theirs(lambda image, threshold=threshold: ImageOps.solarize(image, threshold))  # type: ignore[misc]
        assert far(colours.solarize(CLIP, threshold), other) == 0
    plain = np.full((1, 4, 4, 3), 9, np.uint8)
    np.testing.assert_array_equal(colours.autocontrast(plain), plain)
    np.testing.assert_array_equal(colours.equalize(plain), plain)


def test_hues_by_hand() -> None:
    """A third of the circle makes red green, green blue and blue red; greys stay."""
    pure = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]]], np.uint8)
    turned = colours.hue(pure, 1 / 3)
    expected = np.array([[[[0, 255, 0], [0, 0, 255], [255, 0, 0], [90, 90, 90]]]], np.uint8)
    assert far(turned, expected) <= 3  # half of the 6 levels from one of 256 hues to the next
    assert far(colours.hue(turned, -1 / 3), pure) <= 6  # and that twice
    assert far(colours.hue(CLIP, 0.0), CLIP) <= 8  # hues and saturations have 256 steps each


def test_what_depends_on_a_picture_is_of_each_image_by_itself() -> None:
    for change in (colours.autocontrast, colours.equalize, lambda clip: colours.contrast(clip, 0.5)):
        np.testing.assert_array_equal(change(CLIP)[1:2], change(CLIP[1:2]))
