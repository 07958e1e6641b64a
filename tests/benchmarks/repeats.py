"""What repeated frames do to the recognition of flow, and what dropping them does: top-1 of a small network.

python -m tests.benchmarks.repeats [--videos N] [--epochs N] [--seeds N ...] [--list CSV --split NAME]

The demo's generated videos are written as they are, and with every third frame a repeat of the one before, as slower
cameras leave it in files of 30 frames per second. Flow of the former, and of the latter with and without its repeats,
trains the demo's flow network. With --list, a list of real videos takes the place of the generated ones. With the
defaults it takes about 10 minutes on two cores.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import kinebert
from kinebert.orchestration.reports.formatting import percent
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.datasets.synthetic import SYNTHETIC_CLASSES, synthetic_frames
from kinebert.preprocessing.recipe import FlowRecipe
from kinebert.training.run_folder import LAST_FILE
from tests.helpers.measuring import print_table
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_set
from tests.helpers.videos import UInt8, write_video
from tests.helpers.without_ray import train_here

RECIPES = ROOT / "pipelines" / "recipes"
FLOW = FlowRecipe(width=56, height=56, bound=8.0)
REAL_FLOW = FlowRecipe(width=114, height=86, bound=8.0)


@dataclass(frozen=True)
class Case:
    """Videos, and how their flow is stored."""

    name: str
    manifest: str
    flow: FlowRecipe
    recipe: str


def slowed(frames: list[UInt8]) -> list[UInt8]:
    """Repeat every second frame, so that every third is a repeat."""
    return [frame for i, frame in enumerate(frames) for _ in range(1 + i % 2)]


def generated(folder: Path, num_videos: int) -> Iterator[Case]:
    """The same videos as they are, with repeats, and with repeats that are dropped."""
    for kind in ("as drawn", "slowed"):
        for name in SYNTHETIC_CLASSES:
            for number in range(num_videos):
                frames = list(synthetic_frames(name, seed=0, number=number))
                frames = slowed(frames) if kind == "slowed" else frames
                write_video(folder / kind / name / f"{name}_{number:04d}.mp4", frames, fps=30)
    share: dict[str, Any] = {"val": 0.135, "test": 0.265}
    drawn = kinebert.index("folder", folder / "as drawn", output=folder / "drawn.parquet", **share).manifest
    slow = kinebert.index("folder", folder / "slowed", output=folder / "slow.parquet", **share).manifest
    yield Case("as drawn", drawn, FLOW, "demo/flow_bert.toml")
    yield Case("every third a repeat", slow, FLOW, "demo/flow_bert.toml")
    yield Case("the same, repeats dropped", slow, replace(FLOW, drop_repeats=True), "demo/flow_bert.toml")


def real(folder: Path, listed: str) -> Iterator[Case]:
    """Videos of a list, with their repeats and without."""
    manifest = kinebert.index("csv", listed, output=folder / "manifest.parquet").manifest
    yield Case("as filmed", manifest, REAL_FLOW, "ut_interaction/flow_bert.toml")
    yield Case("repeats dropped", manifest, replace(REAL_FLOW, drop_repeats=True), "ut_interaction/flow_bert.toml")


def top1(recipe: Path, run: Path, changes: dict[str, Any]) -> float:
    """Train, and measure the last epoch's weights on all clips of the test part; 0 to 1."""
    kinebert.train(recipe, run, changes=changes)
    return kinebert.evaluate(run / LAST_FILE, views="multi").scores.metrics().top[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=int, default=60, help="generated videos of each class")
    parser.add_argument("--epochs", type=int, help="of each training (default: the recipe's)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings")
    parser.add_argument("--list", help="CSV list of real videos")
    parser.add_argument("--split", default="split1", help="split of the list")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="kinebert-") as name, pytest.MonkeyPatch.context() as patch:
        train_here(patch)  # Ray's start would take as long as an epoch
        folder = Path(name)
        cases = real(folder, given.list) if given.list else generated(folder, given.videos)
        for i, case in enumerate(cases):
            shards = make_set(read_manifest(case.manifest), folder / f"flow{i}", case.flow)
            counts = shards.dataset.counts
            tops = []
            for seed in given.seeds:
                changes: dict[str, Any] = {"data.shards": shards.uri, "data.split": given.split, "seed": seed}
                changes |= {"epochs": given.epochs} if given.epochs else {}
                tops.append(top1(RECIPES / case.recipe, folder / f"run{i}-{seed}", changes))
                print(f"{case.name}, seed {seed}: {percent(tops[-1])}", flush=True)
            frames = counts.frames + (counts.repeated or 0) * case.flow.drop_repeats
            still = f"{100 * (counts.repeated or 0) / frames:.1f} %"
            rows.append([case.name, counts.images, still, ", ".join(map(percent, tops)), percent(fmean(tops))])
    print_table(
        "top-1 of flow on the test part, percent", ["videos", "fields", "repeats", "each seed", "mean"], rows, 1
    )


if __name__ == "__main__":
    main()
