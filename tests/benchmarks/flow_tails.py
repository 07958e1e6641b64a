"""How long a GPU would wait for the few pairs of a batch that take long.

    python -m tests.benchmarks.flow_tails

Numbers of iterations are measured, by the solver for CPUs on real clips (../shared/data, else generated ones); a clip
is a batch, as in extraction. What a GPU makes of them is counted from these: chunks, pairs that work in each, and the
times of `flow_arithmetic.py`.

Axes: P pairs, L levels (the finest first), W warps of a level.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.synthetic import write_synthetic_videos
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.tvl1 import PRESETS
from kinebert.preprocessing.tvl1.cpu.solver import solve_sequence
from kinebert.preprocessing.tvl1.cpu.workspace import Workspace
from kinebert.preprocessing.tvl1.gpu.fused import BUSY_PIXELS, FEW, PATIENCE, STEPS_PER_CHUNK
from kinebert.preprocessing.tvl1.pyramid import level_sizes
from kinebert.preprocessing.video.frames import VideoFrames
from tests.benchmarks.flow_arithmetic import (
    CARDS,
    FILTER_BYTES,
    HEIGHT,
    PAIRS,
    SLOWED,
    START_US,
    STEP_BYTES,
    WARP_BYTES,
    WIDTH,
    Card,
)
from tests.helpers.measuring import print_table
from tests.helpers.paths import SHARED

Counts = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
PARAMS = PRESETS["classic"]
PIXELS = [height * width for height, width in level_sizes(HEIGHT, WIDTH, PARAMS)]
DATA = SHARED / "data"


def grey_frames(path: Path) -> list[UInt8]:
    """The frames of a video that make a batch at most."""
    frames = islice(VideoFrames(str(path), FrameRecipe(width=WIDTH, height=HEIGHT)), PAIRS + 1)
    return [np.asarray(cv2.cvtColor(frame_HW3, cv2.COLOR_BGR2GRAY), np.uint8) for frame_HW3 in frames]


def iterations(frames: Sequence[UInt8]) -> Counts:
    """Iterations ``(P, L, W)`` of each pair of neighbouring frames."""
    found = []
    field_12HW = np.empty((1, 2, HEIGHT, WIDTH), np.float32)
    with Workspace.borrow(HEIGHT, WIDTH, PARAMS) as workspace:
        for i in range(len(frames) - 1):
            solve_sequence(np.stack(frames[i : i + 2]), workspace, field_12HW)
            found.append(workspace.iterations.copy())
    return np.stack(found)


def chunks(
    counts_PW: Counts, pixels: int, card: Card, capacity: int | None = None
) -> Iterator[tuple[int, float, float]]:
    """Yield for every chunk on a level how many pairs are left, its seconds, and those that memory is busy.

    With a ``capacity``, so many are solved at a time, and the next ones take the places of those that are finished.
    """
    places, done = np.zeros(len(counts_PW), int), np.zeros(len(counts_PW), int)
    waiting = np.arange(len(counts_PW))
    while len(waiting):
        left = waiting[:capacity]
        todo = counts_PW[left, places[left]] - done[left]
        steps = np.minimum(todo, STEPS_PER_CHUNK)
        moved = [
            np.sum(done[left] == 0) * WARP_BYTES,
            np.sum(done[left] % PARAMS.inner_iterations == 0) * 2 * FILTER_BYTES,
            *(np.sum(steps > i) * STEP_BYTES["int16"] for i in range(STEPS_PER_CHUNK)),
        ]
        busy = [float(count) * pixels / card.bytes_per_s for count in moved]
        starts = (STEPS_PER_CHUNK + 1) * START_US * 1e-6  # decide and order
        yield len(waiting), sum(max(START_US * 1e-6, s) for s in busy) + starts, sum(busy)
        done[left] += steps
        ended = left[todo <= STEPS_PER_CHUNK]
        done[ended] = 0
        places[ended] += 1
        waiting = waiting[places[waiting] < counts_PW.shape[1]]


def seconds(counts_PLW: Counts, card: Card, beside: bool) -> tuple[float, float]:
    """Seconds of a batch, and those that memory is busy; with pairs that take long waited for or solved beside."""
    taken = busy = alone = began = 0.0
    goes_on = np.ones(len(counts_PLW), bool)
    for level in reversed(range(len(PIXELS))):
        run = list(chunks(counts_PLW[goes_on, level], PIXELS[level], card))
        busy += sum(s for *_, s in run)
        waits = next((i for i, (left, *_) in enumerate(run) if left <= FEW), len(run)) + PATIENCE
        may_leave = beside and level and goes_on.all() and len(counts_PLW) * PIXELS[0] > BUSY_PIXELS
        if may_leave and len(run) > waits:
            taken += sum(s for _, s, _ in run[:waits])
            goes_on = np.ceil(counts_PLW[:, level] / STEPS_PER_CHUNK).sum(1) <= waits
            began = taken
            for below in range(level + 1):
                rest = list(chunks(counts_PLW[~goes_on, below], PIXELS[below], card))
                alone += sum(s for _, s, _ in rest)
                busy += sum(s for *_, s in rest) * (below < level)  # of this level they are in what runs
        else:
            taken += sum(s for _, s, _ in run)
    return taken + max(0.0, alone - (taken - began) / SLOWED), busy


def tails(batches: dict[str, Counts]) -> None:
    """Print how long each batch takes, and for how much of it the GPU's memory rests."""
    rows = []
    for name, counts_PLW in batches.items():
        each = counts_PLW.sum((1, 2))
        row: list[object] = [name, len(each), f"{each.mean():.0f}", each.max()]
        waiting, busy = seconds(counts_PLW, CARDS[0], beside=False)
        left, _ = seconds(counts_PLW, CARDS[0], beside=True)
        row += [f"{1e3 * waiting:.0f}", f"{1 - busy / waiting:.0%}", f"{1e3 * left:.0f}", f"{waiting / left:.2f}"]
        rows.append(row)
    print_table(
        f"Counted from measured iterations: a batch is a clip, 340x256, or {PAIRS} pairs; {CARDS[0].name}",
        ["batch", "pairs", "iterations", "most", "waited for: ms", "rests", "beside: ms", "gain"],
        rows,
        words=1,
    )


def queues(usual_PLW: Counts, cuts_PLW: Counts) -> None:
    """Print what it would bring to put waiting pairs in the places of finished ones, with a cut in every batch."""
    rows = []
    for batches in (1, 2, 4, 8, 16):
        queue_PLW = usual_PLW[np.random.default_rng(0).integers(0, len(usual_PLW), batches * PAIRS)]
        queue_PLW[::PAIRS] = cuts_PLW[0]
        row: list[object] = [batches * PAIRS]
        for capacity in (PAIRS // 4, PAIRS):
            levels = range(len(PIXELS))
            run = [part for i in levels for part in chunks(queue_PLW[:, i], PIXELS[i], CARDS[0], capacity)]
            taken, busy = (sum(part[i] for part in run) for i in (1, 2))
            row += [f"{len(queue_PLW) / taken:.0f}", f"{1 - busy / taken:.0%}"]
        rows.append(row)
    print_table(
        f"Counted, not built: finished pairs are replaced from a queue, level by level, one cut in {PAIRS} pairs",
        ["pairs in the queue", *(f"{n} at once: {what}" for n in (PAIRS // 4, PAIRS) for what in ("pairs/s", "rests"))],
        rows,
        words=0,
    )


def videos(folder: Path) -> list[Path]:
    """Real clips if they are here, else generated ones in ``folder``."""
    if DATA.exists():
        return [*sorted((DATA / "odd-clips").glob("*.*")), *sorted((DATA / "ut-interaction").rglob("*.avi"))[::20]]
    write_synthetic_videos(folder, videos_per_class=2, seed=0, size=(320, 240))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    batches: dict[str, Counts] = {}
    firsts: list[UInt8] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in videos(Path(folder)):
            frames = grey_frames(path)
            if len(frames) > FEW:
                batches[path.stem[:28]] = iterations(frames)
                firsts.append(frames[0])
    cuts_PLW = iterations(firsts)
    everything_PLW = np.concatenate(list(batches.values()))
    usual_PLW = everything_PLW[everything_PLW.sum((1, 2)) < np.quantile(everything_PLW.sum((1, 2)), 0.99)]
    for count in (0, 1, 4, 12):
        mixed_PLW = usual_PLW[np.random.default_rng(0).permutation(len(usual_PLW))[:PAIRS]]
        mixed_PLW[:count] = cuts_PLW[:count]
        batches[f"of all, with {count} cuts"] = mixed_PLW
    tails(batches)
    queues(usual_PLW, cuts_PLW)


if __name__ == "__main__":
    main()
