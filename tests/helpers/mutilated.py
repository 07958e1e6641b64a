"""Videos damaged as disks, networks and ill will do it, drawn from a seed; and what another reader counts of them."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from kinebert.preprocessing.video.probe import Facts
from tests.helpers.containers import LISTS_OF_OTHERS, WITH_SOUND, giant, with_cover, write_streams, write_with_sound
from tests.helpers.odd_videos import WHOLE
from tests.helpers.videos import moving_texture

Random = np.random.Generator
NUM_FRAMES = 40
_SIZES = (b"tkhd", b"mvhd", b"mdhd", b"stsz", b"stts", b"stco", b"stsc", b"stsd", b"avih", b"strh", b"idx1", b"mdat",
          b"\x2a\xd7\xb1", b"\x44\x89", b"\x1f\x43\xb6\x75", b"\x16\x54\xae\x6b", b"duration", b"OggS")  # fmt: skip
"""What sizes, numbers and lengths stand behind."""


@dataclass(frozen=True)
class Mutilated:
    """One file of the fuzzer."""

    name: str
    kind: str
    """What was done to it."""
    whole: int | None
    """Frames before it was damaged, where it may not have more."""


def sources(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Sane videos of every container, as bytes with their number of frames, by name."""
    folder.mkdir()
    made = {}
    for name in WITH_SOUND:
        made[name] = write_with_sound(folder / name, moving_texture(NUM_FRAMES), 1.6).read_bytes(), NUM_FRAMES
    for odd in WHOLE:
        if odd.count > 2:
            made[odd.name] = odd.write(folder).read_bytes(), odd.count
    return made


def flips(data: bytes, other: bytes, rng: Random) -> bytes:
    """A few bits anywhere."""
    changed = bytearray(data)
    for at in rng.integers(0, len(data), rng.integers(1, 40)):
        changed[at] ^= 1 << rng.integers(8)
    return bytes(changed)


def cut(data: bytes, other: bytes, rng: Random) -> bytes:
    """The end is missing."""
    return data[: rng.integers(1, len(data))]


def headless(data: bytes, other: bytes, rng: Random) -> bytes:
    """The first bytes are garbage."""
    size = int(rng.integers(4, 300))
    return rng.bytes(size) + data[size:]


def spliced(data: bytes, other: bytes, rng: Random) -> bytes:
    """One file goes on as another."""
    return data[: rng.integers(1, len(data))] + other[rng.integers(1, len(other)) :]


def absurd(data: bytes, other: bytes, rng: Random) -> bytes:
    """Sizes, lengths and numbers of a header are as large as they can be, or nothing, or negative."""
    places = [at for word in _SIZES if (at := data.find(word)) >= 0]
    changed = bytearray(data)
    at = places[rng.integers(len(places))] + 4 if places else 0
    for _ in range(rng.integers(1, 4)):
        value = [0xFFFFFFFF, 0x7FFFFFFF, 0, 1, 0x80000000][rng.integers(5)]
        place = at + 4 * int(rng.integers(0, 24))
        if place + 4 <= len(changed):
            struct.pack_into(">I", changed, place, value)
    return bytes(changed)


def zeros(data: bytes, other: bytes, rng: Random) -> bytes:
    """A stretch was never written, as in a download of many pieces."""
    start, end = sorted(rng.integers(0, len(data), 2))
    return data[:start] + bytes(end - start) + data[end:]


def lost(data: bytes, other: bytes, rng: Random) -> bytes:
    """A stretch is missing."""
    start = int(rng.integers(0, len(data)))
    return data[:start] + data[start + int(rng.integers(1, 2000)) :]


def added(data: bytes, other: bytes, rng: Random) -> bytes:
    """There is garbage in the middle."""
    start = int(rng.integers(0, len(data)))
    return data[:start] + rng.bytes(int(rng.integers(1, 2000))) + data[start:]


def noise(data: bytes, other: bytes, rng: Random) -> bytes:
    """Nothing of it is left but the first bytes, by which a reader is chosen."""
    size = int(rng.integers(0, 64))
    return data[:size] + rng.bytes(int(rng.integers(0, 5000)))


DAMAGES: tuple[Callable[[bytes, bytes, Random], bytes], ...] = (
    flips, cut, headless, spliced, absurd, zeros, lost, added, noise,
)  # fmt: skip
_MAY_GROW = (spliced, added, absurd, flips)


def mutilate(folder: Path, count: int, seed: int) -> list[Mutilated]:
    """Write ``count`` files into ``folder``, among them one of each known trap, all called like videos."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    made = sources(folder.parents[1] / "sources")
    names = sorted(made)
    files = _traps(folder)
    suffixes = (".avi", ".mp4", ".mkv", ".webm", ".mov", ".mpg", ".ts")
    for number in range(count - len(files)):
        damage = DAMAGES[number % len(DAMAGES)]
        source, other = (names[i] for i in rng.integers(0, len(names), 2))
        data, frames = made[source]
        suffix = suffixes[rng.integers(len(suffixes))] if rng.random() < 0.3 else Path(source).suffix
        name = f"{number:03d}-{damage.__name__}-{source.replace('.', '-')}{suffix}"
        (folder / name).write_bytes(damage(data, made[other][0], rng))
        files.append(Mutilated(name, damage.__name__, None if damage in _MAY_GROW else frames))
    return files


def _traps(folder: Path) -> list[Mutilated]:
    for kind, text in LISTS_OF_OTHERS.items():
        (folder / f"list-{kind}.avi").write_text(text.format(other=folder.parents[1] / "sources" / "a"))
    with_cover(folder / "cover.mp4", moving_texture(NUM_FRAMES))
    with_cover(folder / "song.mp4", [])
    write_streams(folder / "streams.mkv", [(64, 48, 5), (96, 64, NUM_FRAMES)], None)
    giant(folder / "giant.avi")
    (folder / "empty.mp4").write_bytes(b"")
    return [Mutilated(path.name, "trap", NUM_FRAMES) for path in sorted(folder.iterdir())]


def counted(path: str) -> Facts:
    """Count the frames that come before the first error, as plainly as can be; the number stands in ``duration_s``."""
    count, problem = 0, None
    try:
        with av.open(path, metadata_errors="ignore") as file:
            cover = av.stream.Disposition.attached_pic
            films = [one for one in file.streams.video if not one.disposition & cover and one.codec_context]
            best = max(films, key=lambda one: (bool(one.disposition & 1), one.width * one.height, -one.index))
            best.thread_count = 1
            for _ in file.decode(best):
                count += 1
    except Exception as error:
        problem = repr(error)
    return Facts(duration_s=count, problem=problem)
