"""Segments of files for tests: their rows, their extraction, and an independent decode to hold it against."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.video.intervals import Interval
from tests.helpers.videos import moving_texture

RGB = FrameRecipe(width=48, height=32, min_frames=1)
FLOW = FlowRecipe(width=48, height=32, tvl1=TvL1Params(warps=1, nscales=1, outer_iterations=1))
NUM_FRAMES = 40


def seconds(start: float, end: float | None) -> Interval:
    return Interval(start, end, "s")


def frames(start: float, end: float | None) -> Interval:
    return Interval(start, end, "frames")


def rows_of(path: Path, intervals: list[Interval | None], group: str = "g") -> list[ManifestRow]:
    return [
        ManifestRow(
            video_id=f"{path.stem}_{interval.suffix() if interval else 'whole'}",
            path=str(path),
            label=i % 2,
            label_name=f"class{i % 2}",
            group=group,
            splits={"split1": "train"},
            width=64,
            height=48,
            fps=25.0,
            duration_s=NUM_FRAMES / 25,
            bytes=path.stat().st_size,
            interval=interval,
        )
        for i, interval in enumerate(intervals)
    ]


def build(rows: list[ManifestRow], output: Path, recipe: FrameRecipe = RGB, **options: Any) -> ShardSummary:
    output.mkdir(exist_ok=True)
    (shard,) = plan_shards(rows, 99)
    return BuildShard(output=str(output), recipe=recipe, limits=Limits(), run_id="job", **options)(shard)


def by_id(made: ShardSummary) -> dict[str, VideoSummary]:
    return {video.video_id: video for video in made.videos}


def write_with_times(path: Path, pts: list[int], time_base: Fraction, codec: str = "libx264") -> Path:
    """Encode one frame for each presentation time."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = time_base
        for image, stamp in zip(moving_texture(len(pts)), pts, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def independent(path: Path) -> list[tuple[Fraction, NDArray[np.uint8]]]:
    """Frames in the order in which they are shown, with the container's own presentation times, from the first."""
    with av.open(str(path)) as container:
        decoded: Iterator[Any] = container.decode(container.streams.video[0])
        found = [(f.pts * f.time_base, f.to_ndarray(format="bgr24")) for f in decoded]
    found.sort(key=lambda entry: entry[0])
    return [(time - found[0][0], image) for time, image in found]
