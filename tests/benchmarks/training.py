"""Training: what Ray Train costs beside the bare loop, and what a second worker brings.

python -m tests.benchmarks.training [--videos N] [--scaling-videos N] [--rounds R]

Each line is the median of interleaved runs over one epoch (clips read, learnt from, and the validation), start-up
aside; the clips are made on the spot. With the defaults it takes about 25 minutes on two cores.
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

from kinebert.orchestration.ray_train.fit import fit
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, OptimRecipe, TrainRecipe
from kinebert.training.run_folder import EpochRow
from tests.helpers.sets import make_rows, make_set

MOST_OVERHEAD = 0.05
LEAST_EPOCH_S = 120.0


def bare(recipe: TrainRecipe, shards: ShardSet, output: str, threads: int) -> EpochRow:
    """Train in this process, and return the epoch's numbers."""
    worker = WorkerContext(num_threads=threads)
    return train(recipe, shards, worker, output, lambda _: None).history[0]


def on_ray(recipe: TrainRecipe, output: str, threads: int) -> EpochRow:
    """Train by Ray Train, and return the epoch's numbers."""
    return fit(recipe, output, lambda _: None, cpus_per_worker=threads).summary.history[0]


def measure(variants: dict[str, Callable[[str], EpochRow]], rounds: int) -> dict[str, list[tuple[float, float]]]:
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


def make_recipe(folder: Path, num_videos: int) -> tuple[TrainRecipe, ShardSet]:
    """Write videos, extract them, and return what trains on them."""
    rows = make_rows(folder / "videos", [9] * num_videos)
    shards = make_set(rows, folder / "set", FrameRecipe(resize="none"), videos_per_shard=60)
    recipe = TrainRecipe(
        data=DataRecipe(shards=shards.uri, clip_length=8, crop_size=48),
        model=ModelRecipe(backbone="r2plus1d_18", head="bert"),
        optim=OptimRecipe(lr=1e-4),
        batch_size=16,
        micro_batch=8,
        epochs=1,
    )
    return recipe, shards


def overhead(num_videos: int, threads: int, rounds: int) -> bool:
    """Compare the bare loop with Ray Train, and return whether the latter costs too much."""
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as folder:
        recipe, shards = make_recipe(Path(folder), num_videos)
        variants: dict[str, Callable[[str], EpochRow]] = {
            "bare loop": lambda output: bare(recipe, shards, output, threads),
            "Ray Train, 1 worker": lambda output: on_ray(recipe, output, threads),
        }
        found = table(f"Ray Train, {threads} threads, {num_videos} videos", measure(variants, rounds))
    bare_s, ray_s = found.values()
    more = ray_s / bare_s - 1
    print(f"overhead of Ray Train: {more:+.1%} of an epoch of {bare_s:.0f} s (at most {MOST_OVERHEAD:.0%})")
    if bare_s < LEAST_EPOCH_S:
        print(f"the epoch should take {LEAST_EPOCH_S:.0f} s at least: give more --videos")
    return more > MOST_OVERHEAD


def scaling(num_videos: int, workers: int, rounds: int) -> None:
    """Compare one worker with several, each with one thread."""
    several = f"Ray Train, {workers} workers"
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as folder:
        recipe, shards = make_recipe(Path(folder), num_videos)
        variants: dict[str, Callable[[str], EpochRow]] = {
            "Ray Train, 1 worker": lambda output: on_ray(recipe, output, 1),
            several: lambda output: on_ray(replace(recipe, workers=workers), output, 1),
            f"bare loop, {workers} threads": lambda output: bare(recipe, shards, output, workers),
        }
        found = table(f"Workers with one thread each, {num_videos} videos", measure(variants, rounds))
    efficiency = found["Ray Train, 1 worker"] / found[several] / workers
    print(f"efficiency of {workers} workers against 1: {efficiency:.1%}")


def main() -> int:
    """Measure, print, and return whether Ray Train costs too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1100, help="a third of them is validated; 0 leaves this part out")
    parser.add_argument("--scaling-videos", type=int, default=180, help="0 leaves this part out")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    print(f"R(2+1)D-18 with BERT, clips of 8 images of 48 px, batches of 16; {threads} cores", flush=True)
    too_much = overhead(options.videos, threads, options.rounds) if options.videos else False
    if options.scaling_videos:
        scaling(options.scaling_videos, threads, options.rounds)
    return int(too_much)


if __name__ == "__main__":
    sys.exit(main())
