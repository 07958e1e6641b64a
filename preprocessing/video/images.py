"""Images to bytes and back: JPEG, and flow as 8-bit pictures.

Axes: T frames or fields, H height, W width, C channels (BGR in the encoder's hands, RGB in a reader's; flow x, y).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.modalities import Modality

UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """A rectangle of a picture, in pixels, inside of it."""

    top: int
    left: int
    height: int
    width: int


def encode_jpeg(image: UInt8, quality: int) -> bytes:
    """Encode one BGR ``(H, W, 3)`` or grey ``(H, W)`` picture.

    Raises:
        ValueError: If it is larger than a JPEG can be.
    """
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"a picture of {image.shape[1]}x{image.shape[0]} pixels cannot be a JPEG")
    return data.tobytes()


def decode_images(jpegs: Sequence[Sequence[Any]], modality: Modality) -> UInt8:
    """Decode images of one size to ``(T, H, W, C)``, C as the modality's columns lie beside each other.

    Args:
        jpegs: For each image, the JPEG (bytes or a buffer) of every column.
        modality: What they show. Colours come as RGB.

    Raises:
        ValueError: If one of them is not a picture.
    """
    return np.stack([_image(one, modality) for one in jpegs])


def _image(jpegs: Sequence[Any], modality: Modality) -> UInt8:
    parts = []
    for jpeg, column in zip(jpegs, modality.columns, strict=True):
        part = _decode(jpeg, cv2.IMREAD_COLOR if column.colour else cv2.IMREAD_GRAYSCALE)
        parts.append(cast(UInt8, cv2.cvtColor(part, cv2.COLOR_BGR2RGB)) if column.colour else part)
    image = parts[0] if len(parts) == 1 else cast(UInt8, cv2.merge(parts))
    return image if image.ndim == 3 else image[..., None]


def in_colour(images_THWC: UInt8) -> UInt8:
    """Return images for a figure, RGB ``(T, H, W, 3)``: as they are, or in grey, by their first channel."""
    return images_THWC if images_THWC.shape[-1] == 3 else np.repeat(images_THWC[..., :1], 3, axis=-1)


def _decode(jpeg: Any, mode: int) -> UInt8:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), mode) if len(jpeg) else None
    if image is None:
        raise ValueError(f"{len(jpeg)} bytes that are not a JPEG picture")
    return cast(UInt8, image)


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
