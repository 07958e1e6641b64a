"""From stored pictures to what a network is fed: crop, flip, and, on the device only, floating point.

All pictures of a clip are cut in the same way. A clip stays ``uint8`` until it is on the device, a quarter of the bytes
to move. Flow is resized like a picture; its values (pixels per frame step of the stored size) stay.

Axes: N batch, T frames or fields, H height, W width, C channels (RGB, or flow x and y).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinebert.preprocessing.modalities import streams_of, x_channels
from kinebert.training.data.windows import Windows
from kinebert.training.models.inputs import InputSpec

UInt8 = NDArray[np.uint8]

SNAP_PX = 3
"""A crop that is fewer pixels than this from the network's size takes that size, and needs no resizing (TSN)."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of the stored picture, in pixels, and whether it is mirrored after cutting."""

    top: int
    left: int
    height: int
    width: int
    flip: bool = False


def crop_positions(height: int, width: int, crop_height: int, crop_width: int) -> list[tuple[int, int]]:
    """Return the 13 ``(top, left)`` corners of multi-scale corner cropping, all with the crop inside the picture.

    Corners, centre, middles of the sides and the four points half-way from the centre to the corners. The steps are
    quarters of the room that *this* crop leaves, as TSN and the two-stream code have it ("Towards good practices for
    very deep two-stream ConvNets", arXiv:1507.02159); the code of the BERT paper steps by the network's size instead,
    so that its large crops run over the border and are stretched.
    """
    dy, dx = (height - crop_height) // 4, (width - crop_width) // 4
    grid = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (0, 2), (4, 2), (2, 0), (2, 4), (1, 1), (1, 3), (3, 1), (3, 3)]
    return [(row * dy, column * dx) for row, column in grid]


def crop_sizes(height: int, width: int, size: int, scales: Sequence[float]) -> list[tuple[int, int]]:
    """Return the ``(height, width)`` of the crops to draw from: pairs of equal or neighbouring ``scales``.

    Args:
        height: Of the stored picture, in pixels.
        width: Of the stored picture, in pixels.
        size: Side that the network takes, in pixels.
        scales: Parts of the shorter side, largest first.
    """
    sides = [crop_side(height, width, size, scale) for scale in scales]
    return [(sides[i], sides[j]) for i in range(len(sides)) for j in range(len(sides)) if abs(i - j) <= 1]


def crop_side(height: int, width: int, size: int, scale: float) -> int:
    """Return the side of a crop of ``scale`` times the picture's shorter side, in pixels."""
    shorter = min(height, width)
    side = max(1, int(shorter * scale + 1e-6))
    return size if abs(side - size) < SNAP_PX and size <= shorter else side


def random_crop(
    height: int, width: int, size: int, scales: Sequence[float], flip: bool, rng: np.random.Generator
) -> Crop:
    """Draw a crop: its size, one of 13 positions, and, if ``flip``, whether it is mirrored (even odds)."""
    sizes = crop_sizes(height, width, size, scales)
    crop_height, crop_width = sizes[rng.integers(len(sizes))]
    top, left = crop_positions(height, width, crop_height, crop_width)[rng.integers(13)]
    return Crop(top, left, crop_height, crop_width, flip and bool(rng.random() < 0.5))


def short_side_crop(
    height: int, width: int, size: int, sides: tuple[int, int], flip: bool, rng: np.random.Generator
) -> Crop:
    """Draw a square that has ``size`` pixels once the picture's shorter side is resized to a drawn length.

    It is cut out before anything is resized, to whole stored pixels.

    Args:
        height: Of the stored picture, in pixels.
        width: Of the stored picture, in pixels.
        size: Side of the crop, in pixels of the resized picture.
        sides: Least and largest shorter side of that, in pixels.
        flip: Whether it is mirrored, at even odds.
        rng: Decides everything.
    """
    shorter = min(height, width)
    side = max(1, round(shorter * size / int(rng.integers(sides[0], sides[1] + 1))))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    return Crop(top, left, side, side, flip and bool(rng.random() < 0.5))


def resized_crop(
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    flip: bool,
    rng: np.random.Generator,
) -> Crop:
    """Draw a rectangle as torchvision's ``RandomResizedCrop`` does ("Going deeper with convolutions", arXiv:1409.4842).

    What does not fit is drawn again, ten times at most; then it is the largest in the middle whose aspect is in range.

    Args:
        height: Of the stored picture, in pixels.
        width: Of the stored picture, in pixels.
        area: Least and largest part of it.
        aspect: Least and largest width as a part of the height, on a logarithmic scale.
        flip: Whether it is mirrored, at even odds.
        rng: Decides everything.
    """
    for _ in range(10):
        pixels = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        rows, columns = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            break
    else:
        rows, columns = min(height, round(width / aspect[0])), min(width, round(height * aspect[1]))
        top, left = (height - rows) // 2, (width - columns) // 2
    return Crop(top, left, rows, columns, flip and bool(rng.random() < 0.5))


def centre_crop(height: int, width: int, size: int, scale: float, flip: bool = False) -> Crop:
    """Return the square in the middle of the picture, ``scale`` times its shorter side (0.875 is 224 of 256)."""
    side = crop_side(height, width, size, scale)
    return Crop((height - side) // 2, (width - side) // 2, side, side, flip)


def eval_crops(height: int, width: int, size: int, scale: float, num: int) -> list[Crop]:
    """Return the crops that a clip is tested on, the centre first; all are squares of ``scale`` times the shorter side.

    Args:
        height: Of the stored picture, in pixels.
        width: Of the stored picture, in pixels.
        size: Side that the network takes, in pixels.
        scale: Part of the shorter side.
        num: 1: the centre. 3: the centre and both ends of the longer side, which with ``scale`` 1 hold the whole
            picture (Chen et al., arXiv:2010.11757). 10: the centre and four corners, and then the mirror images of
            the five (arXiv:2008.01232: 224 of 340x256, or 112 of 170x128).

    Raises:
        ValueError: If ``num`` is another number.
    """
    centre = centre_crop(height, width, size, scale)
    side = centre.height
    bottom, right = height - side, width - side
    if num == 1:
        return [centre]
    if num == 3:
        ends = [(centre.top, 0), (centre.top, right)] if width >= height else [(0, centre.left), (bottom, centre.left)]
        return [centre, *(Crop(top, left, side, side) for top, left in ends)]
    if num == 10:
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
        upright = [centre, *(Crop(top, left, side, side) for top, left in corners)]
        return [*upright, *(replace(crop, flip=True) for crop in upright)]
    raise ValueError(f"1, 3 or 10 crops, not {num}")


def cut(clip_THWC: UInt8, crop: Crop) -> UInt8:
    """Return what lies inside ``crop`` of every picture, a view ``(T, crop.height, crop.width, C)``."""
    return clip_THWC[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def apply_crop(clip_THWC: UInt8, crop: Crop, size: int, is_flow: bool) -> UInt8:
    """Cut ``crop`` out of every picture, resize it bilinearly to ``size`` x ``size`` and mirror it if the crop says so.

    A mirrored x flow is negated: code ``v`` becomes ``255 - v``. Codes stand for ``v - 127.5`` times a factor, so this
    is the exact negation of what the network reads, and of what a quantiser would have stored for the mirrored video,
    but for a motion of exactly zero: stored as 128 (127.5 rounded up), it becomes 127. Its distance from zero stays
    half a code (0.08 px for a bound of 20). No mapping of codes does better: keeping 128 would put a whole code of
    bias on every slow motion to the left.
    """
    part_THWC = cut(clip_THWC, crop)
    if (crop.height, crop.width) == (size, size):
        out_THWC = part_THWC
    else:
        out_THWC = np.empty((len(clip_THWC), size, size, clip_THWC.shape[3]), np.uint8)
        for part_HWC, out_HWC in zip(part_THWC, out_THWC, strict=True):
            cv2.resize(part_HWC, (size, size), dst=out_HWC, interpolation=cv2.INTER_LINEAR)
    if not crop.flip:
        return np.ascontiguousarray(out_THWC)
    out_THWC = out_THWC[:, :, ::-1].copy()
    if is_flow:
        np.subtract(255, out_THWC[..., 0], out=out_THWC[..., 0])
    return out_THWC


def stacked(clip_KHWC: UInt8, order_TL: NDArray[np.int64]) -> UInt8:
    """Put the images ``order_TL[t]`` side by side in the channels of time step t: ``(T, H, W, L x C)``."""
    if order_TL.shape[1] == 1:
        return clip_KHWC if len(clip_KHWC) == len(order_TL) else clip_KHWC[order_TL[:, 0]]
    clip_TLHWC = clip_KHWC[order_TL]
    t, _, height, width, _ = clip_TLHWC.shape
    return np.ascontiguousarray(clip_TLHWC.transpose(0, 2, 3, 1, 4)).reshape(t, height, width, -1)


def normalise(clips_NTHWC: Tensor, spec: InputSpec) -> Tensor:
    """Turn codes into what the weights expect: float32 ``(N, C, T, H, W)``, contiguous, on the same device.

    Args:
        clips_NTHWC: Clips of codes 0 to 255, as ``uint8``; those of float32 may be overwritten.
        spec: Value range, mean and std per channel.
    """
    if spec.streams:
        sizes = [len(stream.mean) for stream in spec.streams]
        parts = zip(torch.split(clips_NTHWC, sizes, dim=4), spec.streams, strict=True)
        return torch.cat([normalise(part_NTHWC, stream) for part_NTHWC, stream in parts], dim=1)
    factor, offset = _scaling(spec.mean, spec.std, spec.value_range, clips_NTHWC.device)
    if spec.channel_order == "bgr":
        clips_NTHWC = clips_NTHWC.flip(4)
    x_NCTHW = clips_NTHWC.permute(0, 4, 1, 2, 3).to(torch.float32, memory_format=torch.contiguous_format)
    return x_NCTHW.mul_(factor.view(-1, 1, 1, 1)).sub_(offset.view(-1, 1, 1, 1))


@lru_cache(maxsize=64)
def _scaling(
    mean: tuple[float, ...], std: tuple[float, ...], value_range: tuple[float, float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return what a code is multiplied by and what is then taken off, per channel; kept on the device.

    A copy for every batch would make a GPU's process wait until the GPU has done all that it was given.
    """
    low, high = value_range
    with torch.inference_mode(False):  # whoever asks first, training uses it as well
        means, stds = (torch.tensor(values, dtype=torch.float32, device="cpu") for values in (mean, std))
        return ((high - low) / 255 / stds).to(device), ((means - low) / stds).to(device)


def to_device_batch(clips_NTHWC: Tensor | Windows, spec: InputSpec, device: torch.device) -> Tensor:
    """Move ``uint8`` clips to ``device`` (without waiting, from pinned memory) and :func:`normalise` them there.

    Windows are resized and mirrored first.
    """
    return normalise(on_device(clips_NTHWC, spec.modality, device), spec)


def on_device(clips_NTHWC: Tensor | Windows, modality: str, device: torch.device) -> Tensor:
    """Move clips to ``device``: codes ``(N, T, H, W, C)``, of uint8, or of float32 where windows are resized there."""
    if isinstance(clips_NTHWC, Windows):
        several = len(streams_of(modality)) > 1  # which are never stacked
        motion = x_channels(modality)
        return clips_NTHWC.resized(device, motion if several else bool(motion))
    return clips_NTHWC.to(device, non_blocking=True)


def without_waiting(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a small tensor of this process to ``device``; it lies in pinned memory first, from where nobody waits."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)
