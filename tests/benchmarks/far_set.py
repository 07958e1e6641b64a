"""How fast one process reads clips from an object store that takes 30 ms for every request.

    python -m tests.benchmarks.far_set [--clips N] [--delay-ms N]

Clips of 64 frames, 340x256 JPEG at quality 95. Rivals in the same run: footers instead of the index's byte ranges, one
request after the other, as before; byte ranges without fetching ahead; the disk of this machine. Goal: 25 clips/s.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.schema import INDEX
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.data.batches import collate
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.loader import Requests, limit_threads
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.measuring import print_table, processor
from tests.helpers.object_store import KEYS, object_store
from tests.helpers.sets import make_set
from tests.helpers.videos import manifest_rows, moving_texture, write_video

VIDEOS, FRAMES, BATCH = 16, 120, 8


def make(folder: Path) -> None:
    """Make the set, and a second one as earlier versions left it."""
    for i in range(VIDEOS):
        frames = moving_texture(FRAMES, 340, 256, seed=i)
        write_video(folder / "videos" / f"class{i % 2}" / f"v{i:02d}.mp4", frames)
    rows = manifest_rows(folder / "videos", part=lambda i: "train")
    make_set(rows, folder / "new", FrameRecipe(jpeg_quality=95), videos_per_shard=4)
    shutil.copytree(folder / "new", folder / "old")
    index = folder / "old" / "index.parquet"
    pq.write_table(pq.read_table(index).select(INDEX.names), index)
    plain = json.loads((folder / "old" / "dataset.json").read_text())
    del plain["index"]
    (folder / "old" / "dataset.json").write_text(json.dumps(plain))


def rate(uri: str, num_clips: int, ahead: bool, cache: str = "", requests: Callable[[], int] = lambda: 0) -> list[str]:
    """Return clips per second of wall clock, of this process's own time, and requests a clip."""
    shards = ShardSet.open(uri)
    data = DataRecipe(shards=uri, clip_length=64, crop_size=112, cache_gib=8 if cache else 0, cache_folder=cache)
    dataset = ClipDataset(shards, shards.select("split1", "train"), data, training=True)
    keys: list[Key] = [(i // VIDEOS, i % VIDEOS) for i in range(num_clips)]
    batches = [keys[i : i + BATCH] for i in range(0, num_clips, BATCH)]
    if cache:  # an epoch before the one that is measured
        for key in keys[:VIDEOS]:
            dataset[key]
        found = shards._files.cache
        assert found is not None
        found.wait()
    before, began, own = requests(), time.perf_counter(), time.process_time()
    for request in Requests(batches, 0):
        if ahead:
            dataset.expect([*request.keys, *request.later])
        collate([dataset[key] for key in request.keys])
    rates = num_clips / (time.perf_counter() - began), num_clips / (time.process_time() - own)
    return [*(f"{value:.1f}" for value in rates), f"{(requests() - before) / num_clips:.1f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--delay-ms", type=float, default=30)
    asked = parser.parse_args()
    os.environ.update(KEYS)
    limit_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        frame_kb = sum(p.stat().st_size for p in (folder / "new").glob("shard*")) / VIDEOS / FRAMES / 1e3
        print(f"{processor()}, load {os.getloadavg()[0]:.1f}; {frame_kb:.1f} kB a frame", flush=True)
        with object_store(folder, asked.delay_ms / 1e3) as (query, requests):
            for what, which, ahead, cache in (
                ("footers, one request after the other", "old", False, ""),
                ("byte ranges", "new", False, ""),
                ("byte ranges, fetched ahead", "new", True, ""),
                ("kept on this node, second epoch", "new", True, str(folder / "kept")),
            ):
                uri = f"s3://bucket/{which}?{query}"
                rows.append([what, *rate(uri, asked.clips, ahead, cache, lambda: requests.value)])
        rows.append(["the disk of this machine", *rate(str(folder / "new"), asked.clips, ahead=True)])
    head = ["64 frames", "clips/s", "clips/s of own time", "requests a clip"]
    print_table(f"one process, {asked.delay_ms:g} ms a request", head, rows, 1)


if __name__ == "__main__":
    main()
