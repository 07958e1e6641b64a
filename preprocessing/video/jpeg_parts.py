"""A rectangle of a JPEG, with nothing else of it decoded: blocks outside are left out before the decoder sees them.

That takes restart markers, between which JPEG is coded independently. OpenCV writes them if it is asked, and every
decoder reads them. What comes out of the rectangle is what decoding the whole would have given, bit for bit.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.video.parts import Part

UInt8 = NDArray[np.uint8]
_MARGIN = 2
"""Pixels around a rectangle that decide about it: colours at half the resolution are smoothed over their neighbours."""
_SOF0, _DRI, _SOS, _RST0, _EOI = 0xC0, 0xDD, 0xDA, 0xD0, 0xD9


def restart_interval(width: int, colour: bool) -> int:
    """Return how many blocks (16x16 pixels in colour, 8x8 in grey) to put between two restart markers.

    Markers cost about 3 bytes: every 32 pixels in colour, every row of blocks in grey, whose blocks are a quarter.
    """
    if not colour:
        return -(-width // 8)
    return 2 if -(-width // 16) % 2 == 0 else 1


@dataclass(frozen=True)
class _Header:
    """What a JPEG says before its picture."""

    data: bytes
    size: tuple[int, int]
    """Height and width in pixels."""
    size_at: int
    """Where they stand."""
    block: tuple[int, int]
    """Height and width of what one step of the code holds, in pixels."""
    interval: int
    """Such blocks between two restart markers; 0 without any."""


@functools.lru_cache(maxsize=64)
def _header(data: bytes) -> _Header | None:
    """Read the header of a JPEG; None of one that is none, or of another kind than OpenCV writes."""
    size, size_at, block, interval, at = (0, 0), 0, (0, 0), 0, 2
    while at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOF0 and data[at + 9] in (1, 3):
            size_at = at + 5
            size = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            factors = data[at + 11 : at + 10 + 3 * data[at + 9] : 3]
            if len(factors) == 1:
                block = 8, 8
            elif factors[1:] == b"\x11\x11":
                block = 8 * (factors[0] & 15), 8 * (factors[0] >> 4)
        elif marker == _DRI:
            interval = int.from_bytes(data[at + 4 : at + 6], "big")
        at += 2 + length
    return _Header(data, size, size_at, block, interval) if size_at and all(block) else None


def _header_length(jpeg: UInt8) -> int:
    """Bytes before the code of the picture; 0 if that is not found."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        following = at + 2 + 256 * int(jpeg[at + 2]) + int(jpeg[at + 3])
        if jpeg[at + 1] == _SOS:
            return following
        at = following
    return 0


@dataclass(frozen=True)
class _Cut:
    """Which stretches between restart markers of a JPEG hold a rectangle."""

    header: UInt8
    """Of the JPEG that they make."""
    num_stretches: int
    """Of the whole JPEG."""
    first: NDArray[np.int64]
    """First stretch of each row that is kept."""
    last: NDArray[np.int64]
    """The one behind the last of each row."""
    kept: NDArray[np.int64]
    """All of them."""
    marks: UInt8
    """Second bytes of the markers behind them."""
    top: int
    """Where the rectangle begins in the new picture, in pixels."""
    left: int


@functools.lru_cache(maxsize=512)
def _plan(data: bytes, part: Part) -> _Cut | None:
    """Plan how to cut ``part`` out of a JPEG with the header ``data``; None if that is not possible, or all of it."""
    header = _header(data)
    if header is None or not header.interval:
        return None
    (height, width), block_height, step = header.size, header.block[0], header.block[1] * header.interval
    if -(-width // header.block[1]) % header.interval:
        return None
    rows, columns = -(-height // block_height), -(-width // step)
    above, before = max(0, part.top - _MARGIN) // block_height, max(0, part.left - _MARGIN) // step
    below = min(rows, -(-(part.top + part.height + _MARGIN) // block_height))
    behind = min(columns, -(-(part.left + part.width + _MARGIN) // step))
    if (below - above) * (behind - before) == rows * columns:
        return None
    new_height = min(height, below * block_height) - above * block_height
    new_width = min(width, behind * step) - before * step
    changed = bytearray(data)
    changed[header.size_at : header.size_at + 4] = new_height.to_bytes(2, "big") + new_width.to_bytes(2, "big")
    starts = np.arange(above, below, dtype=np.int64) * columns
    kept = (starts[:, None] + np.arange(before, behind)).ravel()
    marks = (_RST0 + np.arange(len(kept)) % 8).astype(np.uint8)
    marks[-1] = _EOI
    top, left = part.top - above * block_height, part.left - before * step
    new_header = np.frombuffer(bytes(changed), np.uint8)
    return _Cut(new_header, rows * columns, starts + before, starts + behind, kept, marks, top, left)


def cut_out(jpeg: Any, part: Part) -> tuple[UInt8, int, int]:
    """Return a JPEG that holds ``part`` of another one and as little else as may be, and where the part lies in it.

    Args:
        jpeg: Bytes or a buffer.
        part: Inside of its picture.

    Returns:
        The JPEG, and the part's top and left in it; the same JPEG if it has no restart markers or all is needed.
    """
    whole = np.frombuffer(jpeg, np.uint8)
    length = _header_length(whole)
    plan = _plan(whole[:length].tobytes(), part) if length else None
    if plan is None:
        return whole, part.top, part.left
    code = whole[length:]
    found = np.flatnonzero(code[:-1] == 0xFF)
    ends = found[code[found + 1] != 0] + 2  # behind the markers; 0xFF 0x00 is a byte of the code
    if len(ends) != plan.num_stretches:
        return whole, part.top, part.left  # damaged: the decoder says so
    begins = np.concatenate([[0], ends])
    first, last = begins[plan.first].tolist(), begins[plan.last].tolist()
    made = np.concatenate([plan.header, *(code[a:b] for a, b in zip(first, last, strict=True))])
    lengths = ends[plan.kept] - begins[plan.kept]
    made[len(plan.header) - 1 + np.cumsum(lengths)] = plan.marks
    return made, plan.top, plan.left
