"""Was a file cut off? Many formats simply end there, and no decoder complains.

Two things tell: bytes that the file announces at its beginning and does not have, and a length in time that its
streams do not reach.
"""

import struct
from collections.abc import Callable
from typing import Any

import av

from kinebert.preprocessing.storage import file_size, open_input

_OFF_BY = 16
"""Bytes by which the sizes that some programs write into AVI files are too large."""
_UNKNOWN = -1


class Ending:
    """Hears of every packet of a file, and says afterwards whether something is missing at its end."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._ends: dict[int, float] = {}
        self._corrupt = False

    def hear(self, packet: Any) -> None:
        """Take note of a packet of any stream, in the order in which they come."""
        if packet.size:
            self._corrupt = packet.is_corrupt
            index = packet.stream.index
            self._ends[index] = max(self._ends.get(index, 0.0), _end_s(packet))

    def problem(self, path: str) -> str | None:
        """Why the file at ``path``, all of whose packets were heard, is not whole; None if it seems to be."""
        if self._corrupt:
            return "the file ends in the middle of its data"
        has = file_size(path)
        with open_input(path) as file:
            announced = _announced(self._container.format.name, file, has)
        if has < announced:
            return f"the file ends early: {has} of {announced} bytes"
        declared_s, reached_s = self._declared_s(), self._ends.get(self._stream.index, 0.0)
        if declared_s:
            reached_s -= float((self._stream.start_time or 0) * self._stream.time_base)
        elif (declared_s := _tagged_s(self._stream)) == 0 and self._container.duration:
            declared_s, reached_s = self._container.duration / av.time_base, max(self._ends.values(), default=0.0)
        if reached_s and reached_s < declared_s - self._tolerance_s(declared_s):
            return f"the file ends early: {reached_s:.1f} of {declared_s:.1f} s"
        return None

    def _declared_s(self) -> float:
        if self._container.format.name == "asf" or not self._stream.duration:  # its streams all bear the file's length
            return 0.0
        return float(self._stream.duration * self._stream.time_base)

    def _tolerance_s(self, declared_s: float) -> float:
        """Seconds by which a header may be wrong: often a frame or two, and more where it is no more than a guess."""
        if self._container.format.name == "flv" and self._stream.average_rate:  # it says nothing of bytes
            return 0.005 * declared_s + 1.5 / float(self._stream.average_rate)
        return 0.1 * declared_s + 0.2


def _end_s(packet: Any) -> float:
    """Time at which what a packet holds ends, in seconds; 0 where the file does not say."""
    start = packet.pts if packet.pts is not None else packet.dts
    return 0.0 if start is None else float((start + (packet.duration or 0)) * packet.time_base)


def _tagged_s(stream: Any) -> float:
    """Length of a stream in seconds as Matroska's tag DURATION says it (``00:00:02.480000000``); 0 if there is none."""
    words = {name.upper().partition("-")[0]: value for name, value in stream.metadata.items()}
    try:
        hours, minutes, seconds = map(float, words["DURATION"].split(":"))
    except (KeyError, ValueError):
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


def _announced(name: str, file: Any, has: int) -> int:
    """Bytes that a file of the format ``name`` must have by its own account; 0 or less where it gives none."""
    known: dict[str, Callable[[Any, int], int]] = {
        "matroska": _of_matroska,
        "avi": _of_avi,
        "mov": _of_mp4,
        "asf": _of_asf,
        "ogg": _of_ogg,
        "mpegts": _of_transport,
    }
    reader = known.get(name.partition(",")[0])
    try:
        return reader(file, has) if reader is not None else _UNKNOWN
    except (struct.error, IndexError):  # a header of few bytes
        return _UNKNOWN


def _read(file: Any, at: int, size: int) -> bytes:
    file.seek(at)
    data: bytes = file.read(size)
    return data


def _of_matroska(file: Any, has: int) -> int:
    """The header and the segment, which is all the rest, have sizes, as numbers of one to eight bytes."""
    head, at = _read(file, 0, 4096), 0
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if not head.startswith(name, at):
            return _UNKNOWN
        at += len(name)
        width = 9 - head[at].bit_length()
        size = int.from_bytes(head[at : at + width], "big") - (1 << 7 * width)
        at += width
        if size == (1 << 7 * width) - 1:
            return _UNKNOWN
        at += size
    return at


def _of_avi(file: Any, has: int) -> int:
    """Lists called RIFF follow each other, the first of type AVI and the others AVIX."""
    at = 0
    while at + 12 <= has:
        name, size, kind = struct.unpack("<4sI4s", _read(file, at, 12))
        if name != b"RIFF" or kind not in (b"AVI ", b"AVIX") or not size:
            return _UNKNOWN
        at += 8 + size + size % 2
    return at - _OFF_BY


def _of_mp4(file: Any, has: int) -> int:
    """Boxes with sizes; those that hold pictures or say where they are must be whole."""
    at = 0
    while at + 8 <= has:
        size, name = struct.unpack(">I4s", _read(file, at, 8))
        if size == 1:
            (size,) = struct.unpack(">Q", _read(file, at + 8, 8))
        if size < 8:  # 0: up to the end, wherever that is
            return _UNKNOWN
        at += size
        if at > has:
            return at if name in (b"mdat", b"moof", b"moov") else _UNKNOWN
    return _UNKNOWN


def _of_asf(file: Any, has: int) -> int:
    """The header's object of file properties has the size, unless the file was broadcast."""
    head = _read(file, 0, 1 << 16)
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0:
        return _UNKNOWN
    (size,), (flags,) = struct.unpack_from("<Q", head, at + 40), struct.unpack_from("<I", head, at + 88)
    return _UNKNOWN if flags & 1 else int(size)


def _of_ogg(file: Any, has: int) -> int:
    """The last page must be whole: a head of 27 bytes, the lengths of its segments, and those."""
    at = max(0, has - (1 << 17))
    tail = _read(file, at, has - at)
    page = tail.rfind(b"OggS\0")
    if page < 0:
        return _UNKNOWN
    head = tail[page : page + 27]
    lengths = tail[page + 27 : page + 27 + head[26]] if len(head) == 27 else b""
    if len(head) < 27 or len(lengths) < head[26]:
        return has + 1
    end = page + 27 + len(lengths) + sum(lengths)
    return has + 1 if tail[end:] and b"OggS".startswith(tail[end:]) else at + end


def _of_transport(file: Any, has: int) -> int:
    """Packets of 188 bytes, or of 192 with a time in front, or of 204 with a check behind."""
    head = _read(file, 0, 4 * 204)
    for size in (188, 192, 204):
        first = size - 188 if size == 192 else 0
        if len(head) > first + 2 * size and all(head[first + i * size] == 0x47 for i in range(3)):
            return -(-has // size) * size
    return _UNKNOWN
