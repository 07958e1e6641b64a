"""One picture that shows a video: frames in reading order, and their flow in the usual colour wheel.

Axes: H height, W width, 3 colours (RGB), 2 flow components (x, y).
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing import fonts
from kinebert.preprocessing.plain_text import visible
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.images import dequantize_flow, in_colour

UInt8 = NDArray[np.uint8]
_GAP, _CAPTION = 6, 18
_INK, _PAPER = (40, 40, 40), 255


def colour_wheel() -> NDArray[np.float32]:
    """The 55 hues ``(55, 3)``, RGB 0..1, by which flow is usually drawn.

    Source: Baker et al., "A database and evaluation methodology for optical flow", IJCV 92 (2011); the steps between
    red, yellow, green, cyan, blue and magenta are those of the Middlebury benchmark.
    """
    corners = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], np.float32)
    steps = (15, 6, 4, 11, 13, 6)
    parts = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(corners[:-1], corners[1:], steps, strict=True)]
    return np.concatenate(parts).astype(np.float32)


def flow_to_colour(flow_HW2: NDArray[np.float32], largest: float) -> UInt8:
    """Draw flow as RGB ``(H, W, 3)``: hue is the direction, saturation the speed up to ``largest`` pixels per step.

    No motion is white. Motion beyond ``largest`` is darkened.
    """
    wheel = colour_wheel()
    speed_HW = np.hypot(flow_HW2[..., 0], flow_HW2[..., 1]) / max(largest, 1e-6)
    turn_HW = (np.arctan2(-flow_HW2[..., 1], -flow_HW2[..., 0]) / np.pi + 1) / 2 * (len(wheel) - 1)
    low_HW = np.floor(turn_HW).astype(int)
    part_HW1 = (turn_HW - low_HW)[..., None]
    hue_HW3 = (1 - part_HW1) * wheel[low_HW] + part_HW1 * wheel[(low_HW + 1) % len(wheel)]
    inside_HW1 = (speed_HW <= 1)[..., None]
    colour_HW3 = np.where(inside_HW1, 1 - np.minimum(speed_HW, 1)[..., None] * (1 - hue_HW3), 0.75 * hue_HW3)
    drawn: UInt8 = np.floor(255 * colour_HW3).astype(np.uint8)
    return drawn


def contact_sheet(
    video_id: str,
    frames: ShardSet | None,
    flow: ShardSet | None,
    num_images: int = 12,
    columns: int = 6,
    beside: Sequence[ShardSet] = (),
) -> UInt8:
    """Draw evenly spaced frames of a video, each with the flow to its successor below it, and what else there is.

    Args:
        video_id: A video of every set that is given.
        frames: Set of frames, or of other pictures that are no flow, or None.
        flow: Set of flow made with the same frame_step, or None.
        num_images: Pictures of each kind.
        columns: Pictures in a row.
        beside: Further sets of pictures, such as poses, drawn below these two in their order.

    Returns:
        RGB picture ``(H, W, 3)``.

    Raises:
        UserError: If the video is not there.
    """
    drawn = [found for found in (frames, flow, *beside) if found is not None]
    assert drawn, "nothing to draw"
    length = min(found.entry(video_id).num_images for found in drawn)
    indices = np.unique(np.linspace(0, length - 1, min(num_images, length)).round().astype(int))
    caption, strips = f"{video_id}: {length} images", []
    if len(drawn) > 1:
        caption += f"; rows: {', '.join(found.modality for found in drawn)}"
    for found in drawn:
        images_THWC = found.read_clip(found.entry(video_id), indices.tolist())
        strips.append(_drawable(images_THWC, found.flow_bound))
        if found.flow_bound is not None:
            caption += f"; full colour = {_largest(dequantize_flow(images_THWC, found.flow_bound)):.1f} px per step"
    return _arrange(strips, indices.tolist(), columns, caption, _wheel_picture(61) if flow is not None else None)


def clip_sheet(clips: Sequence[tuple[str, UInt8]], bound: float | None, columns: int = 8, side: int = 112) -> UInt8:
    """Draw clips in rows, each with evenly spaced images of it below its caption.

    Args:
        clips: Caption and images ``(T, H, W, C)``; at least one, all of one size.
        bound: Of flow, whose images are codes of two channels: pixels per step that the largest code stands for; None
            without flow.
        columns: Most images of a row.
        side: Width of an image in pixels.

    Returns:
        RGB picture ``(H, W, 3)``.
    """
    height = max(1, round(side * clips[0][1].shape[1] / clips[0][1].shape[2]))
    num = min(columns, max(len(images) for _, images in clips))
    row_height = _CAPTION + height + _GAP
    sheet = np.full((len(clips) * row_height + _GAP, num * (side + _GAP) + _GAP, 3), _PAPER, np.uint8)
    for row, (caption, images_THWC) in enumerate(clips):
        top = row * row_height
        _write(sheet, caption, _GAP, top + _CAPTION - 5)
        chosen = np.linspace(0, len(images_THWC) - 1, min(num, len(images_THWC))).round().astype(int)
        for column, picture in enumerate(_drawable(images_THWC[chosen], bound)):
            left = _GAP + column * (side + _GAP)
            small = cv2.resize(picture, (side, height), interpolation=cv2.INTER_AREA)
            sheet[top + _CAPTION : top + _CAPTION + height, left : left + side] = small
    return sheet


def _drawable(images_THWC: UInt8, bound: float | None) -> UInt8:
    if bound is None or images_THWC.shape[-1] != 2:
        return in_colour(images_THWC)
    fields_THW2 = dequantize_flow(images_THWC, bound)
    largest = _largest(fields_THW2)
    return np.stack([flow_to_colour(field, largest) for field in fields_THW2])


def _largest(fields_THW2: NDArray[np.float32]) -> float:
    """Motion of full colour: nearly the largest of a clip, 1 px at least."""
    return max(1.0, float(np.percentile(np.hypot(fields_THW2[..., 0], fields_THW2[..., 1]), 99)))


def _wheel_picture(side: int) -> UInt8:
    """The key to the colours: the flow that points away from the middle."""
    line = np.linspace(-1, 1, side, dtype=np.float32)
    flow_HW2 = np.stack(np.meshgrid(line, line), axis=-1)
    picture = flow_to_colour(flow_HW2, 1.0)
    picture[np.hypot(flow_HW2[..., 0], flow_HW2[..., 1]) > 1] = _PAPER
    return picture


def _arrange(strips: list[UInt8], indices: list[int], columns: int, caption: str, key: UInt8 | None) -> UInt8:
    """Put the strips' pictures in rows, one strip below the other, with a caption above and a number on each column."""
    height, width = strips[0].shape[1:3]
    scale = 160 / width
    width, height = 160, max(1, round(height * scale))
    columns = min(columns, len(indices))
    rows = -(-len(indices) // columns)
    head = _CAPTION + _GAP if key is None else len(key) + 2 * _GAP
    row_height = _CAPTION + len(strips) * (height + _GAP) + _GAP
    sheet = np.full((head + rows * row_height, columns * (width + _GAP) + _GAP, 3), _PAPER, np.uint8)
    _write(sheet, caption, _GAP, _CAPTION - 4 if key is None else head // 2)
    if key is not None:
        sheet[_GAP : _GAP + len(key), sheet.shape[1] - _GAP - len(key) : sheet.shape[1] - _GAP] = key
    for i, index in enumerate(indices):
        top, left = head + (i // columns) * row_height, _GAP + (i % columns) * (width + _GAP)
        _write(sheet, f"{index + 1}", left, top + _CAPTION - 5)
        for strip in strips:
            place = top + _CAPTION
            sheet[place : place + height, left : left + width] = cv2.resize(
                strip[i], (width, height), interpolation=cv2.INTER_AREA
            )
            top += height + _GAP
    return sheet


def _write(sheet: UInt8, text: str, left: int, baseline: int) -> None:
    if not text.isascii():  # OpenCV's font has nothing else
        place = sheet[max(0, baseline - _CAPTION + 4) : baseline + 4, left:]
        np.minimum(place, fonts.line_image(text, place.shape[1], place.shape[0], 13) | _INK[0], out=place)
        return
    cv2.putText(sheet, visible(text), (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
