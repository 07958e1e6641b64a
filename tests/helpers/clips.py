"""Pairs of frames from real clips, chosen by eye for what they hold, and what OpenCV says of them.

Axes: H height, W width, 2 flow components (x, y).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.images import quantize_flow

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

BOUND = 20.0
"""Pixels per frame step that the 8-bit pictures hold."""
SIZES = ("340x256", "171x128")
LEAST_FLOOR = 0.01
"""Pixels that OpenCV moves at least, whatever is drawn: see :func:`noise_floors`."""

_CLIMBING = "(HQ)_Rock_Climbing_-_Free_Solo_Speed_Climb_-_Dan_Osman_climb_f_cm_np1_le_med_2.avi"
_GOLF, _KTH, _ROOM = "golfdb_portrait.mp4", "kth_person15_handwaving.avi", "gmdcsa_S3_Fall20_vfr15.mp4"
_MAKEUP, _BASEBALL = "v_ApplyEyeMakeup_g01_c01.avi", "v_BaseballPitch_g01_c01.avi"
_ARMS, _PANCAKE, _TABLE = "mmaction2_demo_sar64-51.mp4", "flipping_a_pancake.mkv", "gulpio_test_vp8.webm"
_HANDSHAKE, _HUG = "handshake/set1_seq01_clip4_handshake.avi", "hug/set2_seq17_clip36_hug.avi"
_KICK, _PUNCH = "kick/set1_seq03_clip13_kick.avi", "punch/set2_seq11_clip0_punch.avi"
_DARK_KICK = "kick/set1_seq09_clip50_kick.avi"
_DARK_PUSH, _DARK_POINT = "push/set1_seq09_clip49_push.avi", "point/set2_seq13_clip15_point.avi"
_DARK_HANDSHAKE, _POINT = "handshake/set2_seq13_clip17_handshake.avi", "point/set1_seq07_clip39_point.avi"

PLACES = {
    "moving camera": [(_CLIMBING, 20), (_CLIMBING, 170), (_ARMS, 0), (_ARMS, 222), (_BASEBALL, 11)],
    "fast": [(_PANCAKE, 264), (_PANCAKE, 269), (_KTH, 570), (_ARMS, 186), (_KICK, 50), (_BASEBALL, 83), (_PUNCH, 38)],
    "slow": [(_HANDSHAKE, 54), (_HUG, 21), (_ROOM, 36), (_MAKEUP, 97)],
    "dark": [(_DARK_KICK, 40), (_DARK_PUSH, 46), (_DARK_POINT, 26), (_DARK_HANDSHAKE, 60)],
    "noisy": [(_CLIMBING, 90), (_KTH, 347), (_MAKEUP, 69)],
    "portrait": [(_GOLF, 119), (_GOLF, 248), (_POINT, 40)],
    "still": [(_ROOM, 74), (_BASEBALL, 42), (_PANCAKE, 15)],
}
"""Clip and number of the first frame of each pair, from 0."""
CUTS = [((_CLIMBING, 20), (_KTH, 347)), ((_HANDSHAKE, 54), (_PANCAKE, 123))]
BLURRED = [(_TABLE, 60), (_TABLE, 62), (_ARMS, 205)]
"""Whip pans: smears of 10 to 40 px, on which OpenCV is 0.05 to 0.3 px from itself."""


@dataclass(frozen=True)
class Pair:
    """Two grey frames ``(H, W)``, and where they come from."""

    character: str
    where: str
    first: UInt8
    second: UInt8

    def __str__(self) -> str:
        height, width = self.first.shape
        return f"{self.character}: {self.where} at {width}x{height}"

    def stacked(self) -> UInt8:
        """``(2, H, W)``, as the solvers take it."""
        return np.stack([self.first, self.second])


def read_pairs(data: Path, size: str) -> list[Pair]:
    """Return the pairs of every character at one of ``SIZES``, as extraction sees them.

    The portrait ones are squeezed into that size, as the papers do; at 171x128 they come once more in their own shape.
    """
    width, height = _sides(size)
    pairs = _read(data, FrameRecipe(width=width, height=height), PLACES)
    if size == "171x128":
        own_shape = FrameRecipe(resize="short_side", short_side=128)
        pairs += _read(data, own_shape, {"portrait": PLACES["portrait"]})
    return pairs


def read_cuts(data: Path, size: str) -> list[Pair]:
    """Return pairs of frames that have nothing to do with each other."""
    width, height = _sides(size)
    frames = _frames(data, FrameRecipe(width=width, height=height), [place for cut in CUTS for place in cut])
    return [Pair("cut", f"{a[0][:24]} to {b[0][:24]}", frames[a], frames[b]) for a, b in CUTS]


def read_blurred(data: Path, size: str) -> list[Pair]:
    """Return pairs of frames that are hardly more to each other than those of a cut."""
    width, height = _sides(size)
    return _read(data, FrameRecipe(width=width, height=height), {"blurred": BLURRED})


def _sides(size: str) -> tuple[int, int]:
    width, height = size.split("x")
    return int(width), int(height)


def _read(data: Path, recipe: FrameRecipe, places: dict[str, list[tuple[str, int]]]) -> list[Pair]:
    wanted = [(clip, frame + i) for found in places.values() for clip, frame in found for i in (0, 1)]
    frames = _frames(data, recipe, wanted)
    return [
        Pair(character, f"{clip[:24]} from frame {frame}", frames[clip, frame], frames[clip, frame + 1])
        for character, found in places.items()
        for clip, frame in found
    ]


def _frames(data: Path, recipe: FrameRecipe, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], UInt8]:
    """Decode each clip once, as far as needed, to grey frames."""
    numbers = defaultdict(set)
    for clip, frame in wanted:
        numbers[clip].add(frame)
    found = {}
    for clip, needed in numbers.items():
        folder = data / ("ut-interaction/videos" if "/" in clip else "odd-clips")
        for i, frame_HW3 in enumerate(islice(VideoFrames(str(folder / clip), recipe), max(needed) + 1)):
            if i in needed:
                found[clip, i] = np.asarray(cv2.cvtColor(frame_HW3, cv2.COLOR_BGR2GRAY), np.uint8)
    return found


@dataclass(frozen=True)
class Material:
    """What a benchmark needs, at a size such as ``340x256``."""

    pairs: Callable[[str], list[Pair]]
    cuts: Callable[[str], list[Pair]]
    run: Callable[[str], UInt8]
    """Neighbouring frames ``(T, H, W)`` of one clip that moves."""
    videos: Sequence[Path]
    """Some whole videos."""


def real_clips(data: Path) -> Material:
    """Material from the real clips."""
    climbing, baseball, room = (data / "odd-clips" / name for name in (_CLIMBING, _BASEBALL, _ROOM))
    return Material(
        pairs=lambda size: read_pairs(data, size),
        cuts=lambda size: read_cuts(data, size),
        run=lambda size: _grey(climbing, size)[140:165],
        videos=[baseball, room, data / "ut-interaction/videos" / _HUG],
    )


def other_videos(folder: Path) -> Material:
    """Material from any videos below ``folder``: three pairs of each, evenly spaced."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())

    def pairs(size: str) -> list[Pair]:
        found = []
        for path in paths:
            grey = _grey(path, size)
            for i in np.linspace(0, len(grey) - 2, 3).astype(int) if len(grey) > 1 else ():
                character = "moving" if cv2.absdiff(grey[i], grey[i + 1]).mean() > 1 else "still"
                found.append(Pair(character, f"{path.name} from frame {i}", grey[i], grey[i + 1]))
        return found

    def cuts(size: str) -> list[Pair]:
        return [
            Pair("cut", "", _grey(paths[i], size)[0], _grey(paths[-1 - i], size)[0]) for i in range(len(paths) // 2)
        ]

    return Material(pairs, cuts, lambda size: _grey(paths[0], size)[:25], paths[:3])


def _grey(path: Path, size: str) -> UInt8:
    """The first frames ``(T, H, W)`` of a video, 300 at most."""
    width, height = _sides(size)
    frames = islice(VideoFrames(str(path), FrameRecipe(width=width, height=height)), 300)
    return np.stack([cv2.cvtColor(frame_HW3, cv2.COLOR_BGR2GRAY) for frame_HW3 in frames])


def opencv_flows(pairs: Sequence[Pair], num_threads: int = 2) -> list[Float32]:
    """Solve ``pairs`` with OpenCV's defaults, ``(2, H, W)`` each: seconds per pair."""
    return _side_by_side([(pair.first, pair.second) for pair in pairs], num_threads)


def noise_floors(
    pairs: Sequence[Pair], flows: Sequence[Float32], seeds: Sequence[int], num_threads: int = 2
) -> list[float]:
    """Say how far OpenCV itself moves when the frames change by 0.001 grey levels.

    That is chance: a change of rounding somewhere lets one warp stop an iteration sooner. Draws for one pair differ by
    a factor of two and more, and those of 0.00001 grey levels are no smaller.

    Returns:
        The largest mean end-point error over draws of noise with each of ``seeds``, in pixels, no less than
        LEAST_FLOOR.
    """
    drawn = [_with_noise(pair, seed) for seed in seeds for pair in pairs]
    moved = iter(_side_by_side(drawn, num_threads))
    errors = [[end_point_error(next(moved), flow).mean() for flow in flows] for _ in seeds]
    return [max(LEAST_FLOOR, *map(float, found)) for found in zip(*errors, strict=True)]


def _with_noise(pair: Pair, seed: int) -> tuple[Float32, Float32]:
    rng = np.random.default_rng(seed)
    first, second = (frame + 0.001 * rng.standard_normal(frame.shape) for frame in (pair.first, pair.second))
    return (first / 255).astype(np.float32), (second / 255).astype(np.float32)


def _side_by_side(frames: Sequence[tuple[UInt8 | Float32, UInt8 | Float32]], num_threads: int) -> list[Float32]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # pairs side by side scale better than the threads within one
    try:
        with ThreadPoolExecutor(num_threads) as pool:
            return list(pool.map(lambda pair: _opencv(*pair), frames))
    finally:
        cv2.setNumThreads(before)


def _opencv(first_HW: UInt8 | Float32, second_HW: UInt8 | Float32) -> Float32:
    """OpenCV's TV-L1; frames of bytes are 0..255, frames of floats 0..1."""
    solver: Any = cv2.optflow
    flow_HW2: Float32 = solver.DualTVL1OpticalFlow_create().calc(first_HW, second_HW, None)
    return flow_HW2.transpose(2, 0, 1)


def end_point_error(flow_2HW: Float32, reference_2HW: Float32) -> Float32:
    """Distance of the two vectors at each pixel, in pixels ``(H, W)``."""
    return np.hypot(*(flow_2HW - reference_2HW))


def differs_in_8_bits(flow_2HW: Float32, reference_2HW: Float32) -> NDArray[np.bool_]:
    """Where the stored value of x or of y differs by more than 1, ``(H, W)``."""
    codes = quantize_flow(flow_2HW, BOUND).astype(int) - quantize_flow(reference_2HW, BOUND)
    return np.asarray((np.abs(codes) > 1).any(axis=0))
