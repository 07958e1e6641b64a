"""What a training clip costs a core: ours, by how the set is stored and read, and rivals that decode files anew.

python -m tests.benchmarks.feed [--source FOLDER] [--rounds R] [--frames T]

Clips of 64 frames as uint8 batches of one, cropped and resized for networks of 112 and 224 pixels. The rivals decode
H.264 files of 1280x720 and of 340x256 (ffmpeg's defaults) for every clip with one thread, from the first frame, which
spares them seeking; or read folders of JPEGs. One process, milliseconds of its processor, medians of interleaved
rounds. The frames are those of videos below FOLDER, by default of UT-Interaction beside the project. Rivals that are
not installed are named and left out.
"""

import argparse
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.export import export_frames
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.training.data.batches import collate
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import limit_threads
from kinebert.training.data.transforms import apply_crop, random_crop
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.paths import SHARED
from tests.helpers.sets import make_set
from tests.helpers.videos import manifest_rows, write_video

UInt8 = NDArray[np.uint8]
NUM_VIDEOS, LENGTH = 4, 150
STORED = FrameRecipe(width=340, height=256)
SMALL = replace(STORED, width=171, height=128)
GOALS = {112: 12.0, 224: 28.0}
"""Milliseconds of a core for 64 frames."""
GOAL_RATIO = 3.0
"""Times by which a clip of 112 px is to cost PyAV more, from 340x256."""
SCALES = (1.0, 0.875, 0.75, 0.66)


def write_sources(folder: Path, source: Path) -> dict[str, list[Path]]:
    """Write the same films at 1280x720 and at 340x256, and return their files by size."""
    files = sorted(path for path in source.rglob("*") if path.suffix in (".avi", ".mp4", ".mkv"))
    sizes = {"1280x720": (1280, 720), "340x256": (340, 256)}
    films: dict[str, list[Path]] = {name: [] for name in sizes}
    for i, path in enumerate(files[:: max(1, len(files) // NUM_VIDEOS)][:NUM_VIDEOS]):
        read = [
            np.ascontiguousarray(frame[..., ::-1]) for frame in islice(iter(VideoFrames(str(path), STORED)), LENGTH)
        ]
        frames = [*read, *read[::-1]] * (LENGTH // len(read) + 1)  # a short one goes back and forth
        for name, size in sizes.items():
            resized = [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames[:LENGTH]]
            made = folder / name / "class" / f"{i}.mp4"
            films[name].append(write_video(made, resized))  # type: ignore[arg-type]
    return films


class OurClips:
    """Training clips of a set, one to a batch, at random places."""

    def __init__(self, shards: Any, size: int, frames: int, **how: Any) -> None:
        data = DataRecipe(shards=shards.uri, clip_length=frames, crop_size=size, scales=SCALES, **how)
        self._dataset = ClipDataset(shards, shards.videos, data, training=True)

    def __call__(self, turn: int) -> None:
        collate([self._dataset[0, turn]])


def cropped(clip_THWC: UInt8, size: int, turn: int) -> None:
    """Crop as we do, for a rival: decoders leave that to whoever uses them."""
    rng = np.random.default_rng(turn)
    height, width = clip_THWC.shape[1:3]
    crop = random_crop(height, width, size, SCALES, True, rng)
    collate([(apply_crop(clip_THWC, crop, size, False), 0, 0)])


def by_pyav(path: Path, frames: int) -> UInt8:
    """Decode with PyAV, as its documentation has it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in islice(container.decode(stream), frames)])


def by_decord(path: Path, frames: int) -> UInt8:
    """Decode with decord."""
    reader = importlib.import_module("decord").VideoReader(str(path), num_threads=1)
    found: UInt8 = reader.get_batch(list(range(frames))).asnumpy()
    return found


def by_torchcodec(path: Path, frames: int) -> UInt8:
    """Decode with torchcodec."""
    decoders = importlib.import_module("torchcodec.decoders")
    decoder = decoders.VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    found: UInt8 = decoder.get_frames_in_range(0, frames).data.numpy()
    return found


class Folders(Dataset[Any]):
    """Clips of folders with a JPEG per frame, as many trainings read them."""

    def __init__(self, folder: Path, size: int, frames: int) -> None:
        self._folders = sorted(path for path in (folder / "class").iterdir() if path.is_dir())
        self._size, self._frames = size, frames

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, turn: int) -> torch.Tensor:
        rng = np.random.default_rng(turn)
        folder, start = self._folders[turn % len(self._folders)], int(rng.integers(LENGTH - self._frames + 1))
        names = [str(folder / f"img_{start + i + 1:05d}.jpg") for i in range(self._frames)]
        clip_THWC = np.stack([cv2.cvtColor(cv2.imread(name), cv2.COLOR_BGR2RGB) for name in names])  # type: ignore[arg-type]
        crop = random_crop(STORED.height, STORED.width, self._size, SCALES, True, rng)
        return torch.from_numpy(apply_crop(clip_THWC.astype(np.uint8, copy=False), crop, self._size, False))


def from_folders(folder: Path, size: int, frames: int) -> Callable[[int], None]:
    """Take batches from a DataLoader over folders, in this process."""
    batches: Iterator[Any] = iter(DataLoader(Folders(folder, size, frames), batch_size=1))

    def clip(turn: int) -> None:
        del turn  # the loader counts by itself
        next(batches)

    return clip


def rivals(films: dict[str, list[Path]], size: int, frames: int) -> dict[str, Callable[[int], None]]:
    """Return the rivals that are installed, and say which are not."""
    found: dict[str, Callable[[int], None]] = {}
    for name, decode in (("PyAV", by_pyav), ("decord", by_decord), ("torchcodec", by_torchcodec)):
        try:
            decode(films["340x256"][0], 2)
        except Exception as error:  # not installed, or for another torch or ffmpeg
            print(f"{name} is left out: {type(error).__name__}: {str(error).splitlines()[0][:90]}", flush=True)
            continue
        for stored, paths in films.items():

            def clip(turn: int, decode: Any = decode, paths: list[Path] = paths) -> None:
                cropped(decode(paths[turn % len(paths)], frames), size, turn)

            found[f"{name}, {stored} H.264"] = clip
    return found


def ours(sets: dict[str, Any], size: int, frames: int) -> dict[str, Callable[[int], None]]:
    """Return the ways in which we feed a network of that size."""
    make = partial(OurClips, size=size, frames=frames)
    ways: dict[str, Callable[[int], None]] = {
        "ours, 340x256 JPEG": make(sets["jpeg"]),
        "ours, 340x256 JPEG, device resizes": make(sets["jpeg"], resize_on="device"),
        "ours, 340x256 marked JPEG, device resizes": make(sets["marked"], resize_on="device"),
        "ours, 340x256 H.264, device resizes": make(sets["h264"], resize_on="device"),
    }
    if size == 112:
        ways["ours, 340x256 marked JPEG at half size, device"] = make(
            sets["marked"], resize_on="device", half_size=True
        )
        ways["ours, 171x128 JPEG"] = make(sets["small"])
        ways["ours, 171x128 JPEG, device resizes"] = make(sets["small"], resize_on="device")
        ways["ours, 171x128 H.264, device resizes"] = make(sets["small h264"], resize_on="device")
    return ways


def measure(ways: dict[str, Callable[[int], None]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of the processor that one clip takes each way."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, clip in ways.items():
            began = time.process_time()
            clip(turn)
            spent[name].append(1000 * (time.process_time() - began))
    return {name: statistics.median(times[1:]) for name, times in spent.items()}


def table(size: int, found: dict[str, float], frames: int) -> None:
    """Print one size's rows, with how much more each costs than our cheapest way, and what became of the goals."""
    best = min((name for name in found if name.startswith("ours")), key=found.__getitem__)
    print(f"\n{frames} frames for a network of {size} px{'':24}ms of a core  to the best of ours")
    for name, spent in found.items():
        print(f"  {name:48} {spent:12.1f} {spent / found[best]:20.1f}")
    goal = GOALS[size] * frames / 64
    print(f"  best: {best}, {found[best]:.1f} ms; the goal is {goal:.1f}: {'met' if found[best] <= goal else 'missed'}")
    if size == 112:
        ratio = found["PyAV, 340x256 H.264"] / found[best]
        print(f"  PyAV from 340x256 costs {ratio:.1f} times as much; the goal is {GOAL_RATIO:g}", flush=True)


def main() -> int:
    """Make the films and sets, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SHARED / "data" / "ut-interaction" / "videos")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=64)
    options = parser.parse_args()
    limit_threads(1)
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as name:
        folder = Path(name)
        films = write_sources(folder / "films", options.source)
        rows = manifest_rows(folder / "films" / "340x256")
        recipes = {
            "jpeg": STORED,
            "marked": replace(STORED, restart_markers=True),
            "h264": replace(STORED, codec="h264"),
            "small": SMALL,
            "small h264": replace(SMALL, codec="h264"),
        }
        sets = {kind: make_set(rows, folder / kind, recipe) for kind, recipe in recipes.items()}
        for kind, made in sets.items():
            counts = made.dataset.counts
            print(f"{kind:12} {counts.bytes / counts.images / 1000:6.2f} kB a frame", flush=True)
        export_frames(sets["jpeg"], folder / "folders")
        for size in GOALS:
            ways = ours(sets, size, options.frames) | rivals(films, size, options.frames)
            ways["DataLoader, folders of 340x256 JPEG"] = from_folders(folder / "folders", size, options.frames)
            table(size, measure(ways, options.rounds), options.frames)
    return 0


if __name__ == "__main__":
    sys.exit(main())
