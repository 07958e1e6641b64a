"""Small encoded videos, made by the tests that need them."""

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.manifest import ManifestRow

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


def smooth(noise: Float32, sigma: float) -> Float32:
    """Blur noise and stretch it to 0..255: a texture that optical flow can follow."""
    blurred = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.asarray(cv2.normalize(blurred, np.empty_like(blurred), 0, 255, cv2.NORM_MINMAX), np.float32)


def moving_texture(num_frames: int, width: int = 64, height: int = 48, step: float = 1.0, seed: int = 0) -> list[UInt8]:
    """RGB frames of a smooth random texture that moves right by ``step`` pixels per frame."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, 2 * width, 3)).astype(np.float32)
    texture = smooth(noise, 3)
    frames = []
    for t in range(num_frames):
        shift = np.array([[1, 0, (step * t) % width - width], [0, 1, 0]], np.float32)
        frames.append(cv2.warpAffine(texture, shift, (width, height), borderMode=cv2.BORDER_WRAP).astype(np.uint8))
    return frames


def write_video(path: Path, frames: list[UInt8], codec: str = "libx264", fps: int = 25) -> Path:
    """Encode RGB frames into ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def truncate_video(path: Path, keep: float = 0.6) -> Path:
    """Damage a video: the tail of its media data becomes rubbish, its header stays as it was."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov", start) - 4 if data.find(b"moov", start) > 0 else len(data)
    cut = start + int((end - start) * keep)
    data[cut:end] = b"\xff" * (end - cut)
    path.write_bytes(data)
    return path


def manifest_rows(folder: Path, part: Callable[[int], str] = lambda i: "train") -> list[ManifestRow]:
    """Manifest of the files under ``folder``; the class is the name of a file's folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = sorted({path.parent.name for path in paths})
    return [
        ManifestRow(
            video_id=str(path.relative_to(folder).with_suffix("")),
            path=str(path),
            label=names.index(path.parent.name),
            label_name=path.parent.name,
            group="",
            splits={"split1": part(i)},
            width=64,
            height=48,
            fps=25.0,
            duration_s=1.0,
            bytes=path.stat().st_size,
        )
        for i, path in enumerate(paths)
    ]
