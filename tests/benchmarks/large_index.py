"""What a loader process costs where a set has 650,000 videos (Kinetics-700): memory, opening, the first batch.

    python -m tests.benchmarks.large_index [--videos N] [--loaders N]

The rival is what was sent before: the videos as a list of objects. Goals: opening below 1 s, a loader process within
40 MB of one of a small set, the first batch within 10 s with 16 loaders.
"""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.data.batches import TrainBatches
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import ClipLoader
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.large_index import write_large_index
from tests.helpers.measuring import print_table, processor

SMALL, MANY_BATCHES = 1000, 40


class Blank(ClipDataset):
    """Clips of the videos that are drawn, without their pictures, of which there are none."""

    def _read(self, video: Any, indices: Any, part: Any = None) -> Any:
        del part
        assert video.num_images > max(indices)
        return np.zeros((1, 128, 128, 3), np.uint8)


@dataclass(frozen=True)
class Cost:
    """Of one pool of loader processes."""

    open_s: float
    first_s: float
    private_mb: float
    """Of a loader process, mean: what no other process has."""
    resident_mb: float


def memory_mb(pid: int) -> tuple[float, float]:
    """Private and resident megabytes of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {key: int(kb) / 1e3 for key, kb in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return found["Private_Clean"] + found["Private_Dirty"], found["Rss"]


def measure(uri: str, loaders: int, as_list: bool) -> Cost:
    """Open a set, start loaders, and look at them when they have made some batches."""
    began = time.perf_counter()
    shards = ShardSet.open(uri)
    videos: Sequence[Any] = shards.select("split1", "train")
    if as_list:
        videos = list(videos)
    opened = time.perf_counter()
    dataset = Blank(shards, videos, DataRecipe(shards=uri), training=True)
    loader = ClipLoader(dataset, TrainBatches(len(videos), 8, 8, 0, 1, 10**6, (0, 0)), loaders, torch.device("cpu"))
    batches = iter(loader)
    next(batches)
    first = time.perf_counter()
    for _ in range(MANY_BATCHES):
        next(batches)
    workers: Any = loader._loader._iterator
    costs = np.array([memory_mb(worker.pid) for worker in workers._workers])
    workers._shutdown_workers()
    return Cost(opened - began, first - opened, *costs.mean(axis=0))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=650_000)
    parser.add_argument("--loaders", type=int, default=16)
    asked = parser.parse_args()
    print(f"{processor()}, load {os.getloadavg()[0]:.1f}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in (SMALL, asked.videos):
            write_large_index(Path(folder) / f"{number}", number)
        for number, loaders, as_list in (
            (SMALL, asked.loaders, False),
            (asked.videos, asked.loaders, False),
            (asked.videos, 1, True),
        ):
            cost = measure(f"{folder}/{number}", loaders, as_list)
            what = f"{number} videos, {'a list of objects' if as_list else 'columns'}"
            times = f"{cost.open_s:.2f}", f"{cost.first_s:.1f}"
            rows.append([what, loaders, *times, f"{cost.private_mb:.0f}", f"{cost.resident_mb:.0f}"])
    head = ["set", "loaders", "opening s", "first batch s", "private MB each", "resident MB each"]
    print_table("loader processes of a large set", head, rows, 1)


if __name__ == "__main__":
    main()
