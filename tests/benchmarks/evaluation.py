"""Evaluation by pieces, as workers of a cluster take them: loader processes started for each, or once and kept fed.

python -m tests.benchmarks.evaluation [--videos N] [--pieces N] [--batches N] [--loaders N]

A piece is some batches of ten-crop views. Each line is the time of all pieces, the first one's start included; the
clips are made on the spot. With the defaults it takes about two minutes on two cores.
"""

import argparse
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.data.batches import in_whole_clips
from kinebert.training.data.dataset import ClipDataset, Key
from kinebert.training.data.loader import ClipLoader
from kinebert.training.evaluation.scorer import Scorer, score_clips
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe
from tests.helpers.measuring import print_table, processor, wall_s
from tests.helpers.sets import make_rows, make_set

PROTOCOL = ProtocolRecipe(crops=10)
Piece = list[list[Key]]


def started_for_each(model: Recognizer, dataset: ClipDataset, pieces: Sequence[Piece], loaders: int) -> None:
    """A loader of its own for each piece."""
    device = torch.device("cpu")
    for piece in pieces:
        for _ in score_clips(model, ClipLoader(dataset, piece, loaders, device), device, torch.inference_mode):
            pass


def kept(scorer: Scorer, pieces: Sequence[Piece], in_flight: int) -> None:
    """One loader, which always knows ``in_flight`` pieces."""
    waiting = deque[int]()
    for piece in pieces:
        scorer.feed(piece)
        waiting.append(len(piece))
        if len(waiting) == in_flight:
            deque(scorer.take(waiting.popleft()), 0)
    while waiting:
        deque(scorer.take(waiting.popleft()), 0)


def pieces_of(dataset: ClipDataset, num_pieces: int, num_batches: int) -> Iterator[Piece]:
    """Give views of all videos, again and again."""
    batches = in_whole_clips(dataset.test_keys(range(len(dataset))), 10, PROTOCOL.crops)
    for i in range(num_pieces):
        yield [batches[(i * num_batches + j) % len(batches)] for j in range(num_batches)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("videos", 24), ("pieces", 12), ("batches", 8), ("loaders", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as folder:
        rows = make_rows(Path(folder) / "videos", [40] * given.videos)
        shards = ShardSet.open(make_set(rows, Path(folder) / "rgb", FrameRecipe(resize="none")).uri)
        data = DataRecipe(shards=shards.uri, clip_length=16, crop_size=112)
        model = build_recognizer(
            backbone="resnet18",
            head="tgap",
            modality="rgb",
            num_classes=len(shards.classes),
            clip_length=16,
            size=112,
            width=0.125,
        ).eval()
        videos = shards.select("split1", "val")
        dataset = ClipDataset(shards, videos, data, protocol=PROTOCOL)
        pieces = list(pieces_of(dataset, given.pieces, given.batches))

        def scorer() -> Scorer:
            return Scorer(model, shards, videos, data, PROTOCOL, loader_workers=given.loaders)

        ways: dict[str, Callable[[], None]] = {
            "loaders started for each piece": lambda: started_for_each(model, dataset, pieces, given.loaders),
            "loaders kept, one piece at a time": lambda: kept(scorer(), pieces, 1),
            "loaders kept, two pieces in flight": lambda: kept(scorer(), pieces, 2),
        }
        table = []
        for name, run in ways.items():
            seconds = wall_s(run)
            table.append([name, f"{seconds:.1f}", f"{given.pieces / seconds:.2f}"])
    title = f"{given.pieces} pieces of {given.batches} batches of 10 views, {given.loaders} loader processes"
    print_table(f"{title}: {processor()}", ["", "s", "pieces/s"], table, 1)


if __name__ == "__main__":
    main()
