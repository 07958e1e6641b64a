"""A made-up set of real encoded videos, for a demonstration that nobody has to download anything for.

The classes come in pairs, and the second class of a pair is the first one *played backwards*: every ``close`` is an
``open`` drawn from other random numbers, in reverse order. So the two classes of a pair are drawn from exactly the same
frames, and no single frame, no set of frames and no average over frames can tell them; only their order can. (This
holds before encoding; H.264's losses depend a little on a frame's place.)

- ``move_left``/``move_right`` and ``move_up``/``move_down``: an object crosses the picture, as optical flow shows.
- ``open``/``close`` and ``switch_on``/``switch_off``: an object that drifts slowly, in any direction, changes its look
  once: an opening appears in it, or its lamp is lit. The looks share outline and motion and are cross-faded, so
  that nothing grows or shrinks. TV-L1 still answers a change of light with some flow, a weak hint of the order.

Backgrounds are textured and move as well, slower than the objects, in any direction. Textures are random noise.

Axes: T frames, H height, W width, 3 colours (RGB).
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

PAIRS = (("move_left", "move_right"), ("move_up", "move_down"), ("open", "close"), ("switch_on", "switch_off"))
DIRECTION_CLASSES = ("move_left", "move_right", "move_up", "move_down")
ORDER_CLASSES = ("open", "close", "switch_on", "switch_off")
SYNTHETIC_CLASSES = DIRECTION_CLASSES + ORDER_CLASSES

_FPS = 15


def write_synthetic_videos(
    folder: str | Path,
    *,
    videos_per_class: int,
    seed: int,
    size: tuple[int, int] = (128, 128),
    num_frames: int = 16,
    classes: Sequence[str] = SYNTHETIC_CLASSES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write ``folder/CLASS/CLASS_0000.mp4`` (H.264), ``videos_per_class`` of each class.

    A video is a pure function of (``seed``, class, number, ``size``, ``num_frames``): a larger set contains the smaller
    one, and writing again gives the same bytes with the same versions of the libraries.

    Args:
        folder: Made if it is missing. Videos that it holds under the same names are replaced.
        videos_per_class: Videos of each class.
        seed: Another seed gives other videos of the same kind.
        size: Width and height in pixels, both even, each at least 32.
        num_frames: Frames of each video, at least 4. Speeds are set per video, so that a longer one is slower.
        classes: Names out of ``SYNTHETIC_CLASSES``.
        progress: Called with (videos written, videos in all) after each video.

    Returns:
        The paths, by class and number.

    Raises:
        ConfigError: If an argument is out of range.
        UserError: If a video cannot be written.
    """
    _check(videos_per_class, size, num_frames, classes)
    todo = [(name, number) for name in classes for number in range(videos_per_class)]
    paths = []
    for name, number in todo:
        path = Path(folder) / name / f"{name}_{number:04d}.mp4"
        frames_THW3 = synthetic_frames(name, seed=seed, number=number, size=size, num_frames=num_frames)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_h264(path, frames_THW3)
        except OSError as error:  # av's errors of the file system are OSErrors too
            raise UserError(f"{path}: cannot write the generated video: {error}. Choose another folder.") from None
        paths.append(path)
        if progress is not None:
            progress(len(paths), len(todo))
    return paths


def synthetic_frames(
    name: str, *, seed: int, number: int, size: tuple[int, int] = (128, 128), num_frames: int = 16
) -> UInt8:
    """Draw the video ``number`` of class ``name`` as RGB ``(T, H, W, 3)``, before it is encoded."""
    _check(1, size, num_frames, [name])
    first = next(pair[0] for pair in PAIRS if name in pair)
    digest = hashlib.sha256(f"{seed}/{name}/{number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    frames_THW3 = _draw(first, rng, size, num_frames)
    return frames_THW3 if name == first else np.ascontiguousarray(frames_THW3[::-1])


def _check(videos_per_class: int, size: tuple[int, int], num_frames: int, classes: Sequence[str]) -> None:
    if unknown := [name for name in classes if name not in SYNTHETIC_CLASSES]:
        raise ConfigError(f"There is no generated class {unknown[0]!r}. There are: {', '.join(SYNTHETIC_CLASSES)}.")
    if videos_per_class < 1:
        raise ConfigError(f"videos_per_class: expected at least 1, got {videos_per_class}.")
    if num_frames < 4:
        raise ConfigError(f"num_frames: expected at least 4, got {num_frames}.")
    if min(size) < 32 or any(side % 2 for side in size):
        raise ConfigError(f"size: expected an even width and height of at least 32 pixels, got {size[0]}x{size[1]}.")


def _draw(kind: str, rng: np.random.Generator, size: tuple[int, int], num_frames: int) -> UInt8:
    """Draw the first class of a pair. All lengths are in units of the picture's shorter side."""
    width, height = size
    unit = min(size)
    t_T = np.linspace(-0.5, 0.5, num_frames)  # time, 0 in the middle of the video
    moves = kind in DIRECTION_CLASSES

    # the path's middle, not its start, is drawn, so that where an object is says nothing of where it goes
    middle = np.array(size) / 2 + rng.uniform(-0.15, 0.15, 2) * size
    if moves:
        travel = rng.uniform(0.4, 0.75) * unit * {"move_left": np.array([-1, 0]), "move_up": np.array([0, -1])}[kind]
    else:
        travel = rng.uniform(0, 0.12) * unit * _any_direction(rng)
    radius = rng.uniform(0.17, 0.27) * unit
    turn = rng.uniform(0, 2 * np.pi)
    outline = _outline(rng)
    looks = _looks(kind, rng, outline, radius)
    change = rng.uniform(-0.12, 0.12)  # when the look changes
    fade = rng.uniform(1, 3) / num_frames

    reach = 0.25 * unit  # how far the background moves at most, each way
    scene_HW3 = _texture(rng, (int(width + 2 * reach) + 2, int(height + 2 * reach) + 2), unit)
    scene_travel = rng.uniform(0.05, 0.25) * unit * _any_direction(rng)
    gain, drift = rng.uniform(0.75, 1.15), rng.uniform(-0.2, 0.2)
    tint_3 = rng.uniform(0.92, 1.08, 3)

    frames = []
    for t in t_T:
        corner = reach + t * scene_travel
        frame_HW3 = _window(scene_HW3, corner, size)
        share = float(np.clip((t - change) / fade + 0.5, 0, 1))
        look_HW4 = (1 - share) * looks[0] + share * looks[-1]
        _paste(frame_HW3, look_HW4, middle + t * travel, turn)
        frame_HW3 *= gain * (1 + drift * t) * tint_3
        frame_HW3 += rng.normal(0, 2, frame_HW3.shape)  # a sensor's noise
        frames.append(np.clip(np.rint(frame_HW3), 0, 255).astype(np.uint8))
    return np.stack(frames)


def _any_direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _texture(rng: np.random.Generator, size: tuple[int, int], unit: float) -> Float32:
    """Noise of three grain sizes in two random colours, ``(H, W, 3)`` in 0..255."""
    width, height = size
    blend_HW = np.zeros((height, width))
    for grain, weight in ((0.3, 1.0), (0.12, 0.7), (0.05, 0.5)):
        cells = (max(2, round(height / (grain * unit))), max(2, round(width / (grain * unit))))
        noise = rng.normal(0, weight, cells)
        blend_HW += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    share_HW1 = (1 / (1 + np.exp(-1.5 * blend_HW)))[..., None]
    colours = rng.uniform(20, 235, (2, 3))
    return np.asarray(share_HW1 * colours[0] + (1 - share_HW1) * colours[1], np.float32)


def _outline(rng: np.random.Generator) -> Callable[[Float32, Float32], Float32]:
    """A shape as a function of x and y that is below 1 inside: between a disc and a square, more or less long."""
    power, aspect = rng.uniform(2, 6), rng.uniform(0.8, 1.25)
    return lambda x, y: ((np.abs(x * aspect) ** power + np.abs(y / aspect) ** power) ** (1 / power)).astype(np.float32)


def _looks(
    kind: str, rng: np.random.Generator, outline: Callable[[Float32, Float32], Float32], radius: float
) -> list[Float32]:
    """Draw the object before and after its change (once if it has none) as RGB and opacity ``(H, W, 4)``."""
    side = 2 * int(np.ceil(1.35 * radius)) + 3
    line = (np.arange(side, dtype=np.float32) - side // 2) / radius
    x_HW, y_HW = np.meshgrid(line, line)
    soft = 1 / radius  # edges are a pixel wide

    def inside(distance_HW: Float32) -> Float32:
        return np.asarray(np.clip((1 - distance_HW) / soft + 0.5, 0, 1), np.float32)

    body_HW3 = _texture(rng, (side, side), 2 * radius)
    edge_HW = outline(x_HW, y_HW)
    body_HW3 *= np.clip((1 - edge_HW) / 0.12, 0.35, 1)[..., None]  # a dark rim sets it off from the background
    opacity_HW1 = inside(edge_HW)[..., None]

    def with_spot(wide: float, high: float, colour_3: NDArray[np.float64]) -> Float32:
        spot_HW1 = inside(np.hypot(x_HW / wide, y_HW / high).astype(np.float32))[..., None]
        return np.concatenate([body_HW3 * (1 - spot_HW1) + colour_3 * spot_HW1, opacity_HW1], 2).astype(np.float32)

    if kind == "open":
        inner_3 = rng.uniform(5, 40, 3)
        wide = rng.uniform(0.6, 0.72)
        return [with_spot(wide, 0.1, inner_3), with_spot(wide, rng.uniform(0.5, 0.62), inner_3)]
    if kind == "switch_on":
        lamp = rng.uniform(0.42, 0.55)
        dark_3 = rng.uniform(60, 110) * np.array([1, 1, 1.05])
        lit_3 = rng.uniform(0.9, 1) * np.array([255, 240, rng.uniform(90, 200)])
        return [with_spot(lamp, lamp, dark_3), with_spot(lamp, lamp, lit_3)]
    return [np.concatenate([body_HW3, opacity_HW1], 2)]


def _window(scene_HW3: Float32, corner: NDArray[np.float64], size: tuple[int, int]) -> Float32:
    shift = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]], np.float32)
    return np.asarray(cv2.warpAffine(scene_HW3, shift, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _paste(frame_HW3: Float32, look_HW4: Float32, centre: NDArray[np.float64], turn: float) -> None:
    """Lay the object, turned by ``turn`` radians, over ``frame_HW3`` in place."""
    height, width = frame_HW3.shape[:2]
    half = look_HW4.shape[0] // 2
    cos, sin = np.cos(turn), np.sin(turn)
    place = np.array(
        [[cos, -sin, centre[0] - cos * half + sin * half], [sin, cos, centre[1] - sin * half - cos * half]], np.float32
    )
    placed_HW4 = cv2.warpAffine(look_HW4, place, (width, height), flags=cv2.INTER_LINEAR)
    opacity_HW1 = placed_HW4[..., 3:]
    frame_HW3 *= 1 - opacity_HW1
    frame_HW3 += placed_HW4[..., :3] * opacity_HW1


def _write_h264(path: Path, frames_THW3: UInt8) -> None:
    """Encode to a temporary name first, so that a video is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with av.open(part, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            # one thread, and no macroblock tree (it reads unset memory in small pictures): the same bytes every time
            options = {"crf": "16", "preset": "fast", "flags": "+bitexact", "x264-params": "mbtree=0"}
            stream = container.add_stream("libx264", rate=_FPS, options=options)
            stream.thread_count = 1
            stream.height, stream.width = frames_THW3.shape[1:3]
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, _FPS)
            for image_HW3 in frames_THW3:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image_HW3, format="rgb24")))
            container.mux(stream.encode())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
