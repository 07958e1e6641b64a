"""Images to bytes and back: JPEG, and flow as 8-bit pictures.

Axes: T frames or fields, H height, W width, C channels (BGR in the encoder's hands, RGB in a reader's; flow x, y).
"""

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.modalities import Modality
from kinebert.preprocessing.video.jpeg_parts import cut_out
from kinebert.preprocessing.video.parts import Part

UInt8 = NDArray[np.uint8]
HALF_TOLERANCE = 0.6
"""Grey levels, of 255, by which JPEGs decoded at half their size differ from means over 2x2 pixels, on average over the
pixels of filmed pictures (0.15 to 0.51 measured): the decoder leaves out the finest of its frequencies instead."""
_MODES = {
    (True, False): cv2.IMREAD_COLOR,
    (False, False): cv2.IMREAD_GRAYSCALE,
    (True, True): cv2.IMREAD_REDUCED_COLOR_2,
    (False, True): cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
"""OpenCV's by (in colour, at half the size)."""


def encode_jpeg(image: UInt8, quality: int, restart_interval: int = 0) -> bytes:
    """Encode one BGR ``(H, W, 3)`` or grey ``(H, W)`` picture.

    Args:
        image: The picture.
        quality: 1 to 100.
        restart_interval: Blocks between restart markers, which change no pixel; 0 for none.

    Raises:
        ValueError: If it is larger than a JPEG can be.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval] * (restart_interval > 0)
    ok, data = cv2.imencode(".jpg", image, options)
    if not ok:
        raise ValueError(f"a picture of {image.shape[1]}x{image.shape[0]} pixels cannot be a JPEG")
    return data.tobytes()


def decode_images(
    jpegs: Sequence[Sequence[Any]], modality: Modality, part: Part | None = None, half: bool = False
) -> UInt8:
    """Decode images of one size to ``(T, H, W, C)``, C as the modality's columns lie beside each other.

    Args:
        jpegs: For each image, the JPEG (bytes or a buffer) of every column.
        modality: What they show. Colours come as RGB.
        part: A rectangle of them, of which alone JPEGs with restart markers are decoded; None for all.
        half: At half their size, rounded up, which ``part`` then refers to; colours and edges are within
            :data:`HALF_TOLERANCE` of means over 2x2 pixels.

    Raises:
        ValueError: If one of them is not a picture, or the part does not lie in it.
    """
    return np.stack([_image(one, modality, part, half) for one in jpegs])


def _image(jpegs: Sequence[Any], modality: Modality, part: Part | None, half: bool) -> UInt8:
    planes = []
    for jpeg, column in zip(jpegs, modality.columns, strict=True):
        plane = _decode(jpeg, _MODES[column.colour, half], part, half)
        planes.append(cast(UInt8, cv2.cvtColor(plane, cv2.COLOR_BGR2RGB)) if column.colour else plane)
    image = planes[0] if len(planes) == 1 else cast(UInt8, cv2.merge(planes))
    return image if image.ndim == 3 else image[..., None]


def in_colour(images_THWC: UInt8) -> UInt8:
    """Return images for a figure, RGB ``(T, H, W, 3)``: as they are, or in grey, by their first channel."""
    return images_THWC if images_THWC.shape[-1] == 3 else np.repeat(images_THWC[..., :1], 3, axis=-1)


def _decode(jpeg: Any, mode: int, part: Part | None, half: bool) -> UInt8:
    top = left = 0
    data = np.frombuffer(jpeg, np.uint8)
    if part is not None:
        data, top, left = cut_out(data, part.doubled() if half else part)
    image = cv2.imdecode(data, mode) if len(jpeg) else None
    if image is None:
        raise ValueError(f"{len(jpeg)} bytes that are not a JPEG picture")
    if part is None:
        return cast(UInt8, image)
    top, left = (top // 2, left // 2) if half else (top, left)
    found = cast(UInt8, image)[top : top + part.height, left : left + part.width]
    if found.shape[:2] != (part.height, part.width):
        raise ValueError(f"a picture of {image.shape[1]}x{image.shape[0]} pixels that has not got {part}")
    return found


def halved(images_THWC: UInt8) -> UInt8:
    """Return images at half their size, rounded up: means over 2x2 pixels, and over what is left at odd edges."""
    height, width = images_THWC.shape[1:3]
    odd = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
    even_THWC = np.pad(images_THWC, odd, mode="edge") if height % 2 or width % 2 else images_THWC
    size = (width + 1) // 2, (height + 1) // 2
    small = [cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA) for image_HWC in even_THWC]
    return np.stack(small).reshape(len(images_THWC), size[1], size[0], -1)


def quantize_flow(flow: NDArray[np.float32], bound: float) -> UInt8:
    """Map ``[-bound, bound]`` pixels linearly to ``0..255``; larger motion is clipped, zero motion becomes 128.

    The value is ``round((flow + bound) * 255 / (2 * bound))`` in single precision, halves to the even number.
    """
    shifted: NDArray[np.float32] = flow + np.float32(bound)
    np.clip(shifted, 0, np.float32(2 * bound), out=shifted)
    rows = shifted.reshape(-1, shifted.shape[-1])  # OpenCV takes a third axis for colours
    codes = cast(UInt8, cv2.convertScaleAbs(rows, alpha=255 / (2 * bound)))  # scales, rounds and converts in one pass
    return codes.reshape(flow.shape)


def dequantize_flow(codes: UInt8, bound: float) -> NDArray[np.float32]:
    """Undo :func:`quantize_flow`; the error is at most ``bound / 255`` pixels, and zero reads back as that."""
    return codes.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)
