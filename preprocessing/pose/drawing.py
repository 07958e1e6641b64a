"""People drawn as OpenPose draws them, in the look of its CPU build or of its GPU build.

Source: OpenPose's renderers at 5c5d9652. Colours and limbs are in :mod:`.skeleton`.

Axes: P people, J joints, H height, W width, 3 colours (BGR) or numbers (x, y, score).
"""

import math
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.pose.skeleton import Skeleton, skeleton_of, swap_left_right

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Look = Literal["cpu", "gpu"]

THRESHOLD = 0.05
"""A joint is drawn if its score is above this, and a limb if both of its joints are."""
_BOX_THRESHOLD = 0.1
"""Joints above it make the box that the thickness of a CPU build's lines depends on."""
_OPACITY = np.float32(0.6)
"""Weight of a GPU build's colours over what is there."""


class Line(NamedTuple):
    """A line between two pixels."""

    start: tuple[int, int]
    end: tuple[int, int]
    bgr: tuple[int, int, int]
    thickness: int


class Circle(NamedTuple):
    """A circle around a pixel."""

    center: tuple[int, int]
    radius: int
    bgr: tuple[int, int, int]
    thickness: int


def draw(
    people_PJ3: Float,
    height: int,
    width: int,
    *,
    look: Look = "gpu",
    threshold: float = THRESHOLD,
    background_HW3: UInt8 | None = None,
    swap_sides: bool = False,
) -> UInt8:
    """Return a picture of people, BGR ``(H, W, 3)``, black where nobody is.

    Args:
        people_PJ3: People with 25 joints, or 18 of OpenPose's older model, in pixels of the picture.
        height: H.
        width: W.
        look: ``gpu`` has translucent ellipses and discs, as a CUDA build of OpenPose; ``cpu`` full lines and circles.
        threshold: Joints with a score of this or less are left out.
        background_HW3: What to draw over, in place of black. It is not changed.
        swap_sides: Exchange the colours of left and right: what a picture needs that will be flipped.

    Raises:
        ConfigError: If people, look or background are none of these.
    """
    skeleton = skeleton_of(people_PJ3)
    if background_HW3 is not None and (background_HW3.shape != (height, width, 3) or background_HW3.dtype != np.uint8):
        raise ConfigError(f"a background of {height}x{width} BGR bytes was expected, got {background_HW3.shape}.")
    people_PJ3 = np.nan_to_num(swap_left_right(people_PJ3) if swap_sides else people_PJ3)
    if look == "cpu":
        picture_HW3 = np.zeros((height, width, 3), np.uint8) if background_HW3 is None else background_HW3.copy()
        for shape in primitives(people_PJ3, height, width, threshold):
            if isinstance(shape, Line):
                cv2.line(picture_HW3, shape.start, shape.end, shape.bgr, shape.thickness, cv2.LINE_8)
            else:
                cv2.circle(picture_HW3, shape.center, shape.radius, shape.bgr, shape.thickness, cv2.LINE_8)
        return picture_HW3
    if look != "gpu":
        raise ConfigError(f"a look is one of {', '.join(get_args(Look))}, got {look!r}.")
    canvas_HW3 = np.zeros((height, width, 3), np.float32)
    if background_HW3 is not None:
        canvas_HW3[...] = background_HW3
    for joints_J3 in people_PJ3:
        _paint(canvas_HW3, joints_J3, skeleton, threshold)
    return (canvas_HW3 + np.float32(0.5)).astype(np.uint8)


def primitives(people_PJ3: Float, height: int, width: int, threshold: float = THRESHOLD) -> list[Line | Circle]:
    """Return the lines and circles that a CPU build paints, in its order: each person's lines, then the circles.

    They are thinner the smaller the person. One whose joints have no extent is left out.
    """
    skeleton = skeleton_of(people_PJ3)
    shapes: list[Line | Circle] = []
    for joints_J3 in people_PJ3:
        box_w, box_h = _extent(joints_J3, _BOX_THRESHOLD)
        if not box_w * box_h > 0:
            continue
        share = min(1.0, max(box_w / width, box_h / height))
        thickness = max(int(math.sqrt(width * height) / 75 * share + 0.5), 2)
        at = [(int(x + 0.5), int(y + 0.5)) for x, y in joints_J3[:, :2].tolist()]
        seen = (joints_J3[:, 2] > threshold).tolist()
        line = max(1, int(0.75 * thickness + 0.5))
        shapes += [Line(at[a], at[b], skeleton.bgr[b], line) for a, b in skeleton.limbs if seen[a] and seen[b]]
        edge = thickness if share > 0.05 else 1
        shapes += [Circle(at[j], thickness // 2, skeleton.bgr[j], edge) for j in range(len(at)) if seen[j]]
    return shapes


def _extent(joints_J3: Float, threshold: float) -> tuple[float, float]:
    """Width and height of the box around the joints whose score is above ``threshold``."""
    at_N2 = joints_J3[joints_J3[:, 2] > threshold, :2]
    if not len(at_N2):
        return 0.0, 0.0
    width, height = (at_N2.max(0) - at_N2.min(0)).tolist()
    return width, height


def _paint(canvas_HW3: Float, joints_J3: Float, skeleton: Skeleton, threshold: float) -> None:
    """Blend the ellipses of one person's limbs into the canvas, then the discs of the joints."""
    scale = min(max(sum(_extent(joints_J3, threshold)) / 400, 0.33), 1.0)
    smaller_side = min(canvas_HW3.shape[:2])
    half_width, radius = scale * smaller_side / 120, scale * smaller_side / 100
    at = [(x, y) for x, y in joints_J3[:, :2].tolist()]
    seen = (joints_J3[:, 2] > threshold).tolist()
    for a, b in skeleton.limbs:
        if seen[a] and seen[b]:
            (x_a, y_a), (x_b, y_b) = at[a], at[b]
            half = ((x_b - x_a) / 2, (y_b - y_a) / 2)
            _ellipse(canvas_HW3, (x_a + half[0], y_a + half[1]), half, half_width, skeleton.bgr[b])
    for j, center in enumerate(at):
        if seen[j]:
            _ellipse(canvas_HW3, center, (radius, 0.0), radius, skeleton.bgr[j])


def _ellipse(
    canvas_HW3: Float, center: tuple[float, float], axis: tuple[float, float], other: float, bgr: tuple[int, int, int]
) -> None:
    """Blend a filled ellipse into the canvas.

    Args:
        canvas_HW3: What is painted on; only the ellipse's own box is looked at.
        center: Its x and y.
        axis: One half axis, as a vector.
        other: Length of the half axis at right angles to it.
        bgr: Its colour.
    """
    (x, y), (axis_x, axis_y) = center, axis
    length = math.hypot(axis_x, axis_y)
    if length == 0:
        return
    cos, sin = axis_x / length, axis_y / length
    reach_x, reach_y = math.hypot(axis_x, sin * other), math.hypot(axis_y, cos * other)
    height, width = canvas_HW3.shape[:2]
    left, right = max(math.ceil(x - reach_x - 0.01), 0), min(math.floor(x + reach_x + 0.01) + 1, width)
    top, bottom = max(math.ceil(y - reach_y - 0.01), 0), min(math.floor(y + reach_y + 0.01) + 1, height)
    if left >= right or top >= bottom:
        return
    dx_W = np.arange(left, right, dtype=np.float64) - x
    dy_H1 = np.arange(top, bottom, dtype=np.float64)[:, None] - y
    along_HW = (cos / length) * dx_W + (sin / length) * dy_H1
    across_HW = (sin / other) * dx_W - (cos / other) * dy_H1
    inside_HW = along_HW * along_HW + across_HW * across_HW <= 1
    part_HW3 = canvas_HW3[top:bottom, left:right]
    part_HW3[inside_HW] = part_HW3[inside_HW] * (1 - _OPACITY) + np.array(bgr, np.float32) * _OPACITY
