"""Pictures of people drawn anew from the joints of a shard set, left and right exchanged: for clips that are mirrored.

Axes: T images, H height, W width, C colours (RGB), P people, J joints (25).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.pose.drawing import draw
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.index import VideoEntry
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.frames import resized
from kinebert.preprocessing.video.images import decode_images, encode_jpeg
from kinebert.preprocessing.video.parts import Part

UInt8 = NDArray[np.uint8]


def check_redrawable(shards: ShardSet) -> None:
    """Raise a ConfigError unless the pictures of a set can be drawn anew: from joints, and on black."""
    if not shards.has_joints:
        raise ConfigError(
            f"{shards.uri}: holds no joints to draw mirrored people from, as data.flip_swaps_sides asks. Make the set "
            "with kinebert extract-pose, which keeps them, or leave data.flip_swaps_sides out."
        )
    if shards.recipe["background"] != "black":
        raise ConfigError(
            f"{shards.uri}: its people are drawn over frames, which are not in the set, so that they cannot be drawn "
            "anew, as data.flip_swaps_sides asks. Draw them on black, or leave data.flip_swaps_sides out."
        )


def read_swapped(
    shards: ShardSet, entry: VideoEntry, indices: Sequence[int], part: Part | None = None, half: bool = False
) -> UInt8:
    """Return images as :meth:`.ShardSet.read_part` does, with the colours of left and right exchanged.

    They are what the extraction would have stored of the same people with their sides exchanged, as JPEGs also where
    the set holds video. Mirrored, they show what it would have stored of the mirrored frames, had the same people been
    found there.

    Args:
        shards: A set that :func:`check_redrawable` lets pass.
        entry: The video.
        indices: Of its images.
        part: A rectangle, of images of half the size with ``half``; None for all of them.
        half: Images of half their height and width.
    """
    return redrawn(shards, entry, indices, part, half, swap_sides=True)


def redrawn(
    shards: ShardSet,
    entry: VideoEntry,
    indices: Sequence[int],
    part: Part | None = None,
    half: bool = False,
    *,
    swap_sides: bool = False,
) -> UInt8:
    """Return images as they are stored, or with left and right exchanged; see :func:`read_swapped`."""
    recipe, size = shards.recipe, (entry.width, entry.height)
    joints = shards.read_joints(entry, indices)
    how = FrameRecipe(interpolation=recipe["interpolation"], jpeg_quality=recipe.get("jpeg_quality", 95))
    jpegs = []
    for people_PJ3 in joints.people:
        picture_HW3 = draw(
            np.asarray(people_PJ3, np.float32),
            joints.height,
            joints.width,
            look=recipe["look"],
            threshold=recipe["threshold"],
            swap_sides=swap_sides,
        )
        jpegs.append((encode_jpeg(resized(picture_HW3, size, how), how.jpeg_quality),))
    return decode_images(jpegs, modality_of(shards.modality), part, half)
