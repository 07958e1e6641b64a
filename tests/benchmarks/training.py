"""Training: what Ray Train costs beside the bare loop, and what a second worker brings.

python tests/benchmarks/training.py [--videos N] [--rounds R] [--scaling-videos N]

Each line is the median of interleaved runs over one epoch (clips read, learnt from, and the validation), start-up
aside; the clips are made on the spot. With the defaults it takes about 20 minutes on two cores.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from orchestration.fit import fit
from preprocessing.recipe import FrameRecipe
from preprocessing.shardset import ShardSet
from tests.sets import make_rows, make_set
from training.loop import WorkerContext, train
from training.recipe import DataRecipe, ModelRecipe, OptimRecipe, TrainRecipe

MOST_OVERHEAD = 0.05
LEAST_EPOCH_S = 120.0


def bare(recipe: TrainRecipe, shards: ShardSet, output: str, threads: int) -> dict[str, Any]:
    """Train in this process, and return the epoch's numbers."""
    worker = WorkerContext(num_threads=threads)
    return train(recipe, shards, worker, output, lambda _: None).history[0]


def on_ray(recipe: TrainRecipe, output: str, threads: int) -> dict[str, Any]:
    """Train by Ray Train, and return the epoch's numbers."""
    return fit(recipe, output, lambda _: None, cpus_per_worker=threads).summary.history[0]


def measure(variants: dict[str, Callable[[str], dict[str, Any]]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Run every variant in turn, ``rounds`` times; return seconds of its epochs and seconds beside them."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for turn in range(rounds):
        for name, run in variants.items():
            with tempfile.TemporaryDirectory(prefix="kb-bench-") as output:
                began = time.perf_counter()
                row = run(output)
                whole = time.perf_counter() - began
            spent[name].append((row["seconds"], whole - row["seconds"]))
            print(f"  round {turn + 1}, {name}: epoch {row['seconds']:.1f} s, beside it {whole - row['seconds']:.1f} s")
            sys.stdout.flush()
    return spent


def table(title: str, spent: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """Print medians, and return those of the epochs."""
    epochs = {name: statistics.median(epoch for epoch, _ in runs) for name, runs in spent.items()}
    first = next(iter(epochs.values()))
    print(f"\n{title}\n{'':36} {'epoch s':>8} {'beside s':>9} {'to the first':>13}")
    for name, runs in spent.items():
        beside = statistics.median(other for _, other in runs)
        print(f"{name:36} {epochs[name]:8.1f} {beside:9.1f} {epochs[name] / first:13.3f}")
    print(flush=True)
    return epochs


def main() -> int:
    """Measure, print, and return whether Ray Train costs too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1100, help="a third of them is validated")
    parser.add_argument("--scaling-videos", type=int, default=360)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as folder:
        sets = {}
        for num in (options.videos, options.scaling_videos):
            rows = make_rows(Path(folder) / f"videos{num}", [9] * num)
            sets[num] = make_set(rows, Path(folder) / f"set{num}", FrameRecipe(resize="none"), videos_per_shard=60)
        large, small = (
            TrainRecipe(
                data=DataRecipe(shards=sets[num].uri, clip_length=8, crop_size=48),
                model=ModelRecipe(backbone="r2plus1d_18", head="bert"),
                optim=OptimRecipe(lr=1e-4),
                batch_size=16,
                micro_batch=8,
                epochs=1,
            )
            for num in (options.videos, options.scaling_videos)
        )
        shards, few = sets[options.videos], sets[options.scaling_videos]
        print(f"R(2+1)D-18 with BERT, clips of 8 images of 48 px, batches of 16; {threads} cores", flush=True)
        overhead = table(
            f"Ray Train beside the bare loop, {threads} threads each, {options.videos} videos",
            measure(
                {
                    "bare loop": lambda output: bare(large, shards, output, threads),
                    "Ray Train, 1 worker": lambda output: on_ray(large, output, threads),
                },
                options.rounds,
            ),
        )
        scaling = table(
            f"Workers with one thread each, {options.scaling_videos} videos",
            measure(
                {
                    "bare loop": lambda output: bare(small, few, output, 1),
                    "Ray Train, 1 worker": lambda output: on_ray(small, output, 1),
                    f"Ray Train, {threads} workers": lambda output: on_ray(replace(small, workers=threads), output, 1),
                    f"bare loop, {threads} threads": lambda output: bare(small, few, output, threads),
                },
                options.rounds,
            ),
        )
    bare_s, ray_s = overhead.values()
    one, two = scaling["Ray Train, 1 worker"], scaling[f"Ray Train, {threads} workers"]
    print(
        f"overhead of Ray Train: {ray_s / bare_s - 1:+.1%} of an epoch of {bare_s:.0f} s (at most {MOST_OVERHEAD:.0%})"
    )
    print(f"efficiency of {threads} workers against 1: {one / two / threads:.1%}")
    if bare_s < LEAST_EPOCH_S:
        print(f"the epoch should take {LEAST_EPOCH_S:.0f} s at least: give more --videos")
    return int(ray_s / bare_s - 1 > MOST_OVERHEAD)


if __name__ == "__main__":
    sys.exit(main())
