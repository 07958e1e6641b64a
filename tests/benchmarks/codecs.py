"""Frame sets of JPEGs and of H.264: what they take, and whether networks recognise as much from either.

python -m tests.benchmarks.codecs ../shared/data/ut-interaction [--width N] [--height N] [--epochs N] [--seeds N]

For UT-Interaction (`labels.csv` and `videos`): both sets are made, a narrow ResNet-18 with BERT is trained on each from
scratch, and each network is tested on both sets. The recipe is `ut_interaction/rgb_bert.toml`; the test part chooses
nothing. With its 130 epochs it takes about a quarter of an hour per network on an idle core.
"""

import argparse
import csv
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.evaluation.evaluate import VideoScores, average, score_views
from kinebert.training.evaluation.scorer import Scorer
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_set

RECIPE = ROOT / "pipelines" / "recipes" / "ut_interaction" / "rgb_bert.toml"
SPLIT = "quick_split"


def read_rows(folder: Path) -> list[ManifestRow]:
    """List the clips as a manifest would."""
    with open(folder / "labels.csv", newline="") as file:
        listed = list(csv.DictReader(file))
    return [
        ManifestRow(
            video_id=str(Path(row["path"]).with_suffix("")),
            path=str(folder / row["path"]),
            label=int(row["label"]),
            label_name=row["label_name"],
            group=row["sequence"],
            splits={SPLIT: row[SPLIT]},
            width=1,
            height=1,
            fps=30.0,
            duration_s=int(row["frames"]) / 30,
            bytes=(folder / row["path"]).stat().st_size,
        )
        for row in listed
    ]


def scores_of(checkpoint: Path, recipe: TrainRecipe, shards: ShardSet) -> VideoScores:
    """Test a network on all clips of each video, of whichever set."""
    recognizer, _ = load_recognizer(str(checkpoint))
    videos, protocol = shards.select(SPLIT, "test"), ProtocolRecipe(clips="multi")
    scorer = Scorer(recognizer, shards, videos, recipe.data, protocol, num_threads=1)
    return average(score_views(shards, videos, recipe.data, protocol, scorer, part="test"))


def top1(scores: VideoScores) -> float:
    """Share of the videos that are recognised."""
    return float((scores.scores.argmax(1) == np.asarray(scores.labels)).mean())


def difference(one: ShardSet, other: ShardSet) -> float:
    """Mean difference of the pictures of two sets, in grey levels, over three frames of every fourth video."""
    found = []
    for entry in list(one.videos)[::4]:
        indices = [0, entry.num_images // 2, entry.num_images - 1]
        theirs = other.read_clip(other.entry(entry.video_id), indices)
        found.append(np.abs(one.read_clip(entry, indices).astype(int) - theirs).mean())
    return float(np.mean(found))


def make_sets(rows: list[ManifestRow], folder: Path, recipe: FrameRecipe) -> dict[str, ShardSet]:
    """Make the sets of both codecs, and say what they take."""
    sets = {}
    for codec in ("jpeg", "h264"):
        began = time.process_time()
        sets[codec] = made = make_set(rows, folder / codec, replace(recipe, codec=codec), videos_per_shard=30)  # type: ignore[arg-type]
        spent, counts = time.process_time() - began, made.dataset.counts
        per_frame = f"{counts.bytes / counts.images / 1000:.2f} kB and {1000 * spent / counts.images:.2f} ms of a core"
        print(f"{codec}: {counts.bytes / 1e6:.1f} MB, {counts.images} frames; a frame {per_frame}", flush=True)
    print(f"mean difference of their pictures: {difference(sets['jpeg'], sets['h264']):.2f} grey levels", flush=True)
    return sets


def main() -> int:
    """Make, train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=340)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=130)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--crf", type=int, default=FrameRecipe.crf)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as name:
        folder = Path(name)
        frames = FrameRecipe(width=options.width, height=options.height, crf=options.crf)
        sets = make_sets(read_rows(options.folder.resolve()), folder, frames)
        print("\ntop-1 of 37 test videos, and how many get the same answer from both sets", flush=True)
        print("seed  trained on  tested on jpeg  tested on h264  same", flush=True)
        for seed in range(options.seeds):
            for codec, shards in sets.items():
                chosen = [f"data.shards={shards.uri}", f"epochs={options.epochs}", f"seed={seed}", "loader_workers=0"]
                recipe = load_config(TrainRecipe, RECIPE, chosen)
                output = folder / f"run-{codec}-{seed}"
                train(recipe, shards, WorkerContext(num_threads=1), str(output), lambda _: None)
                jpeg, h264 = (scores_of(output / "last.pt", recipe, tested) for tested in sets.values())
                same = int((jpeg.scores.argmax(1) == h264.scores.argmax(1)).sum())
                print(f"{seed:4}  {codec:10}  {top1(jpeg):14.1%}  {top1(h264):14.1%}  {same:4}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
