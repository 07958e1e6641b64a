"""Pictures as the networks see them: scaled, and put at the top left of an input whose size is a multiple of 16 or 8.

Axes: H height, W width of the input, 3 colours (BGR).
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.openpose.models import STRIDE
from kinebert.preprocessing.pose.openpose.settings import MULTIPLE, OpenPoseParams, scaled

UInt8 = NDArray[np.uint8]
_WIDEST = 16 / 9
_PORT_SCALE = 0.5
_PORT_PADDING = 128
"""What becomes 0 once a network's input is x / 256 - 0.5."""


class Placement(NamedTuple):
    """How pictures of one size become a network's input."""

    height: int
    width: int
    """Of the input."""
    factor: float
    """Pixels of the input for one of the picture."""
    inner: tuple[int, int]
    """Height and width that the picture itself takes up; the port's decoder cuts off the rest."""


def placements(height: int, width: int, params: OpenPoseParams) -> list[Placement]:
    """Return how pictures of this size are looked at, the largest scale first."""
    if params.decoder == "port":
        factor = _PORT_SCALE * params.net_height / height
        inner = max(round(height * factor), 1), max(round(width * factor), 1)
        tall, wide = (-(-side // STRIDE) * STRIDE for side in inner)
        return [Placement(tall, wide, factor, inner)]
    shape = min(width / height, _WIDEST) if params.limit_width else width / height
    wide = max(int(params.net_height * shape / MULTIPLE + 0.5), 1) * MULTIPLE
    found = []
    for scale in range(params.scales):
        tall_at, wide_at = (max(scaled(side, scale, params.scale_gap), MULTIPLE) for side in (params.net_height, wide))
        factor = min((wide_at - 1) / max(width - 1, 1), (tall_at - 1) / max(height - 1, 1))
        inner = min(round(height * factor), tall_at), min(round(width * factor), wide_at)
        found.append(Placement(tall_at, wide_at, factor, inner))
    return found


def placed(picture_HW3: UInt8, at: Placement, params: OpenPoseParams) -> UInt8:
    """Return a picture as the network's input, BGR bytes ``(H, W, 3)``; what is beside the picture is black.

    The port's way is grey beside the picture, and another scaling.
    """
    if params.decoder == "port":
        (height, width), size = at.inner, (at.height, at.width)
        resized_HW3 = cv2.resize(picture_HW3, (width, height), interpolation=cv2.INTER_CUBIC)
        if size == at.inner:
            return np.asarray(resized_HW3, np.uint8)
        beside = (0, at.height - height, 0, at.width - width)
        grey = (_PORT_PADDING,) * 3
        return np.asarray(cv2.copyMakeBorder(resized_HW3, *beside, cv2.BORDER_CONSTANT, value=grey), np.uint8)
    matrix = np.array([[at.factor, 0, 0], [0, at.factor, 0]])
    flags = cv2.INTER_CUBIC if at.factor > 1 else cv2.INTER_LINEAR  # OpenPose's "area" acts as linear for a warp
    size = (at.width, at.height)
    return np.asarray(cv2.warpAffine(picture_HW3, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT), np.uint8)
