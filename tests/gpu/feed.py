"""What loaders deliver on this machine's cores: clips of the papers' networks from a set of JPEGs of 340x256.

    python -m tests.gpu.feed [--seconds 60] [--json feed.json]

The pictures are generated, with as many bytes as those of real videos. Where there is no CUDA device, a few small ones
are read.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.schema import SEGMENT_LENGTH, segment_schema
from kinebert.preprocessing.sets.folder import claim_output, finish_set
from kinebert.preprocessing.sets.plan import PlannedShard, plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary, open_shard
from kinebert.preprocessing.video.images import encode_jpeg
from kinebert.training.data.loader_bench import clip_cost, delivery
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from tests.gpu.flow import pictures
from tests.gpu.stage import Stage, stage_of
from tests.helpers.measuring import print_table, processor

VIDEOS, IMAGES, SIZE = 32, 96, (340, 256)
COST_S, DELIVERY_S = 1.5, 2.5
GRAIN = 6.0
"""Deviation of the noise in every picture, in grey levels: it makes them as large as those of real videos."""


@dataclass(frozen=True)
class Clips:
    """What a network is fed with."""

    frames: int
    size: int
    resize_on: str

    def recipe(self, uri: str) -> TrainRecipe:
        """Training clips of the set at ``uri``."""
        data: dict[str, Any] = {"clip_length": self.frames, "crop_size": self.size, "resize_on": self.resize_on}
        return TrainRecipe(data=DataRecipe(shards=uri, **data), batch_size=8, micro_batch=8)


KINDS = tuple(
    Clips(frames, size, where)
    for frames, size in ((64, 112), (64, 224), (32, 112), (16, 224))
    for where in ("loader", "device")
)


def write_set(output: Path, num_videos: int, num_images: int, size: tuple[int, int]) -> ShardSet:
    """Write a finished set without decoding any video."""
    rows = [
        ManifestRow(
            video_id=f"v{i:02d}", path="generated", label=i % 2, label_name=f"class{i % 2}", group="",
            splits={"split1": "train" if i % 8 else "val"}, width=size[0], height=size[1], fps=25.0,
            duration_s=num_images / 25, bytes=1,
        )
        for i in range(num_videos)
    ]  # fmt: skip
    recipe = FrameRecipe(width=size[0], height=size[1])
    output.mkdir(parents=True)
    jpegs = _jpegs(num_images, size, recipe.jpeg_quality)
    shards = claim_output(str(output), recipe, plan_shards(rows, 4))
    finish_set(str(output), recipe, rows, [_write_shard(output, shard, recipe, jpegs, size) for shard in shards])
    return ShardSet.open(str(output))


def _jpegs(count: int, size: tuple[int, int], quality: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    for picture_HW in pictures(count, size[1], size[0]):
        tint_HW3 = np.stack([picture_HW, np.roll(picture_HW, 9, 0), np.roll(picture_HW, 9, 1)], axis=-1)
        noisy_HW3 = tint_HW3 + rng.normal(0, GRAIN, tint_HW3.shape[:2])[..., None]
        found.append(encode_jpeg(np.clip(noisy_HW3, 0, 255).astype(np.uint8), quality))
    return found


def _write_shard(
    output: Path, shard: PlannedShard, recipe: FrameRecipe, jpegs: Sequence[bytes], size: tuple[int, int]
) -> ShardSummary:
    schema, written = segment_schema("rgb"), list[ShardSummary]()
    uri, digest = str(output / shard.name), shard.files_digest()
    with open_shard(uri, recipe, digest, None, on_written=written.append) as writer:
        videos = []
        for video in shard.videos:
            first = writer.num_row_groups
            for segment, start in enumerate(range(0, len(jpegs), SEGMENT_LENGTH)):
                some = jpegs[start : start + SEGMENT_LENGTH]
                values = [video.video_id, segment, start, len(some), *size, list(some)]
                columns = [pa.array([value], field.type) for value, field in zip(values, schema, strict=True)]
                writer.append(pa.record_batch(columns, schema))
            videos.append(
                VideoSummary(
                    video_id=video.video_id, first_row_group=first, num_row_groups=writer.num_row_groups - first,
                    num_frames=len(jpegs), num_images=len(jpegs), width=size[0], height=size[1],
                )
            )  # fmt: skip
        writer.describe(videos)
    return written[0]


def measure(kind: Clips, shards: ShardSet, loaders: int, stage: Stage) -> dict[str, Any]:
    """What a clip costs one process, and what so many deliver."""
    recipe = kind.recipe(shards.uri)
    cost = clip_cost(recipe, shards, 0.0 if stage.is_tiny else COST_S)
    delivered = delivery(recipe, shards, loaders, 0.0 if stage.is_tiny else DELIVERY_S)
    return {
        **asdict(kind),
        "clip_ms": {name: 1e3 * seconds for name, seconds in cost.parts().items()},
        "total_ms": 1e3 * cost.total,
        "loaders": loaders,
        "clips_per_s": delivered.clips_per_s,
        "first_s": delivered.first_s,
    }


def main(stage: Stage) -> int:
    """Print the table, and return the exit status."""
    cores = available_cores()
    loaders = 1 if stage.is_tiny else max(1, cores - 1)
    kinds = [Clips(4, 16, where) for where in ("loader", "device")] if stage.is_tiny else KINDS
    found = []
    with tempfile.TemporaryDirectory(prefix="kinebert-feed-") as folder:
        videos, images, size = (4, 8, (64, 48)) if stage.is_tiny else (VIDEOS, IMAGES, SIZE)
        shards = write_set(Path(folder, "set"), videos, images, size)
        stored = sum(path.stat().st_size for path in Path(folder, "set").glob("shard-*")) / (videos * images)
        print(f"{processor()}; {1e-3 * stored:.1f} kB a picture of {size[0]}x{size[1]}", flush=True)
        stage.keep(cores=cores, processor=processor(), picture_kb=1e-3 * stored)
        for kind in kinds:
            if stage.left() < COST_S + DELIVERY_S:
                print(f"{kind.frames} x {kind.size}, resized on the {kind.resize_on}: no time was left")
                continue
            found.append(measure(kind, shards, loaders, stage))
            print(f"  {kind.frames} x {kind.size}, resized on the {kind.resize_on}: "
                  f"{found[-1]['clips_per_s']:.1f} clips/s", flush=True)  # fmt: skip
            stage.keep(rows=found)
    print_table(
        f"{'Tiny clips, no measurement' if stage.is_tiny else 'Training clips'}: ms of one process for one, and what "
        f"{loaders} loader process(es) deliver",
        ["clip", "resized on", *found[0]["clip_ms"], "ms together", "clips/s", "first batch s"],
        [
            [f"{row['frames']} x {row['size']}", row["resize_on"], *(f"{ms:.1f}" for ms in row["clip_ms"].values()),
             f"{row['total_ms']:.1f}", f"{row['clips_per_s']:.1f}", f"{row['first_s']:.1f}"]
            for row in found
        ],
        words=2,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(stage_of(__doc__)))
