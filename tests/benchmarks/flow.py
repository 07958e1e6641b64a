"""What TV-L1 flow costs, and how near each solver is to OpenCV's.

    python -m tests.benchmarks.flow [--quick] [--sizes 340x256] [--presets classic fast] [--json numbers.json]

Times are of the processor, for every method in turn on the same core and the same pair; ratios are ratios of sums.
Pairs come from ../shared/data where it is there, else from generated videos; ``--videos FOLDER`` takes others.
What a GPU does is the subject of flow_gpu.py.
"""

import argparse
import functools
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.synthetic import write_synthetic_videos
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.plan import PlannedShard, PlannedVideo
from kinebert.preprocessing.sets.writer import ShardSummary
from kinebert.preprocessing.tvl1 import PRESETS, choose_backend, tvl1_flow
from tests.helpers.clips import SIZES, Material, Pair, other_videos, real_clips
from tests.helpers.flow_methods import Method, Row, measure, other_methods, our_methods, rows_of
from tests.helpers.measuring import cpu_ms, on_cores, peak_growth_bytes, print_table, processor, wall_s
from tests.helpers.paths import SHARED

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

DATA = SHARED / "data"


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print the lines of one size."""
    head = ["clips", "method", "preset", "pairs", "ms/pair", "median", "pairs/s", "x OpenCV"]
    head += ["EPE px", "worst pair", "p95", "8 bit >1", "EPE, same preset"]
    lines = []
    for row in rows:
        words = [row.clips, row.method, row.preset, row.pairs]
        speed = [f"{value:.1f}" for value in (row.ms, row.median_ms, row.pairs_per_s, row.times_opencv)]
        errors = [f"{value:.4f}" for value in (row.epe_px, row.worst_epe_px, row.p95_px)]
        same = None if row.same_epe_px is None else f"{row.same_epe_px:.4f}"
        lines.append([*words, *speed, *errors, f"{100 * row.share_8_bit:.2f} %", same])
    if all(row.same_epe_px is None for row in rows):
        head, lines = head[:-1], [line[:-1] for line in lines]
    print_table(title, head, lines, words=3)


def cuts(size: str, pairs: Sequence[Pair], methods: Sequence[Method], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What unrelated frames cost, compared with an ordinary pair of the same method."""
    ordinary = {(row.method, row.preset): row.ms for row in rows if row.clips == "moving"}
    found = []
    for method in methods:
        if method.name == "torch" or (method.name, method.preset) not in ordinary:
            continue  # torch without a GPU takes a minute, and stops for each pair as numba does
        ms = float(np.mean([cpu_ms(method.solve, pair.stacked())[0] for pair in pairs]))
        times = ms / ordinary[method.name, method.preset]
        found.append({"size": size, "method": method.name, "preset": method.preset, "ms": ms, "times_ordinary": times})
    return found


def two_threads(sizes: Sequence[str], presets: Sequence[str], frames: Callable[[str], UInt8]) -> list[dict[str, Any]]:
    """Seconds on the clock for a run of frames with one thread and with two, in turn; the best of three."""
    found = []
    for size in sizes:
        frames_THW = frames(size)
        for preset in presets:
            best = {1: float("inf"), 2: float("inf")}
            for _ in range(3):
                for threads in best:
                    solve = functools.partial(tvl1_flow, num_threads=threads)
                    best[threads] = min(best[threads], wall_s(solve, frames_THW, PRESETS[preset], "numba"))
            rate = {threads: (len(frames_THW) - 1) / seconds for threads, seconds in best.items()}
            found.append({"size": size, "preset": preset, "one": rate[1], "two": rate[2], "gain": rate[2] / rate[1]})
    return found


def memory(size: str, threads: int) -> int:
    """Bytes by which this process grows when ``threads`` pairs are first solved at once, the result not counted."""
    width, height = map(int, size.split("x"))
    frames = np.random.default_rng(0).integers(0, 255, (threads + 1, height, width), np.uint8)
    params = PRESETS["fast"]  # the presets differ in time, not in memory
    tvl1_flow(frames[:, :32, :32], params, "numba", num_threads=threads)  # compile
    grown = peak_growth_bytes(lambda: tvl1_flow(frames, params, "numba", num_threads=threads))
    return grown - threads * 2 * 4 * height * width


def in_fresh_process(work: Callable[..., int], *args: object) -> int:
    """Run ``work`` where nothing has been allocated yet."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


_STAGES = ("decode", "resize", "grey", "solve", "quantise", "encode", "write")


def stages(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Extract whole videos as a task does, and say what each stage cost, in ms of the processor per frame."""
    kinds = {"frames": FrameRecipe()} | {
        f"flow, {preset}": FlowRecipe(tvl1=PRESETS[preset]) for preset in ("classic", "fast")
    }
    extract(paths[0], kinds["frames"])  # what is paid once per process
    found = []
    for path in paths:
        for stored, recipe in kinds.items():
            summary = extract(path, recipe)
            assert summary.timing is not None
            count = summary.videos[0].num_frames
            ms = {
                name: 1e3 * summary.timing.stages[name].cpu_s / count
                for name in _STAGES
                if name in summary.timing.stages
            }
            found.append({"video": path.name, "stored": stored, "frames": count, "ms": ms})
    return found


def extract(path: Path, recipe: FrameRecipe) -> ShardSummary:
    """Make a shard of one video."""
    video = PlannedVideo(path.stem, str(path), path.stat().st_size, None)
    with tempfile.TemporaryDirectory() as folder:
        solver = FlowSolver(backend="numba")
        build = BuildShard(output=folder, recipe=recipe, limits=Limits(), run_id="bench", solver=solver, timed=True)
        return build(PlannedShard("shard-00000-of-00001.parquet", (video,)))


# -- the tables


def solver_tables(chosen: argparse.Namespace, source: Material) -> dict[str, Any]:
    """Solvers on one core, what a scene cut costs them, and flows that are not TV-L1."""
    rows: list[Row] = []
    of_cuts: list[dict[str, Any]] = []
    for size in chosen.sizes:
        ours = our_methods(chosen.backends, chosen.presets, chosen.quick)
        others = other_methods()
        found = rows_of(size, measure(evenly(source.pairs(size), chosen.pairs), ours + others))
        rows += found
        named = {method.name for method in ours}
        print_rows(
            f"{size}: TV-L1; errors against OpenCV's classic, the last column against OpenCV's own of that preset",
            [row for row in found if row.method in named],
        )
        print_rows(f"{size}: other methods, as points of comparison", [row for row in found if row.method not in named])
        if not chosen.quick:
            of_cuts += cuts(size, source.cuts(size), ours, found)
    if of_cuts:
        print_table(
            "Scene cuts: pairs of unrelated frames, on which nothing converges",
            ["size", "method", "preset", "ms/cut", "x an ordinary pair"],
            [[c["size"], c["method"], c["preset"], f"{c['ms']:.0f}", f"{c['times_ordinary']:.1f}"] for c in of_cuts],
            words=3,
        )
    return {"solvers": [asdict(row) for row in rows], "cuts": of_cuts}


def stage_table(videos: Sequence[Path]) -> list[dict[str, Any]]:
    """What else a frame costs."""
    found = stages(videos)
    rows = []
    for line in found:
        total, solve = sum(line["ms"].values()), line["ms"].get("solve", 0.0)
        cells = [f"{line['ms'][name]:.2f}" if name in line["ms"] else None for name in _STAGES]
        share = [f"{total - solve:.2f}", f"{100 * solve / total:.0f} %"]
        rows.append([line["video"][:28], line["stored"], line["frames"], *cells, *share])
    print_table(
        "The whole job: ms of the processor per frame, 340x256, solved by numba, JPEG quality 95",
        ["video", "stored", "frames", *_STAGES, "all but solving", "solving"],
        rows,
        words=2,
    )
    return found


def machine_tables(chosen: argparse.Namespace, source: Material) -> dict[str, Any]:
    """Two threads against one, and memory."""
    numbers: dict[str, Any] = {}
    if len(os.sched_getaffinity(0)) > 1:
        with on_cores(2):
            numbers["threads"] = two_threads(chosen.sizes, chosen.presets, source.run)
        print_table(
            "numba with two threads on two cores: pairs per second on the clock, a run of frames of one clip",
            ["size", "preset", "one thread", "two threads", "gain"],
            [
                [t["size"], t["preset"], f"{t['one']:.1f}", f"{t['two']:.1f}", f"{t['gain']:.2f}"]
                for t in numbers["threads"]
            ],
            words=2,
        )
    else:
        print("\nThere is one core here: two threads were not compared with one.")
    if Path("/proc/self/clear_refs").exists():
        rows = []
        for size in chosen.sizes:
            grown = {threads: in_fresh_process(memory, size, threads) / 1e6 for threads in (1, 4)}
            rows.append([size, f"{grown[1]:.1f}", f"{grown[4] / 4:.1f}"])
            numbers.setdefault("memory_mb", {})[size] = grown
        head = ["size", "one thread", "each of four"]
        print_table("numba: MB by which a process grows when it first solves, besides the result", head, rows, words=1)
    return numbers


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` of ``items``, evenly spaced."""
    if count >= len(items):
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="WIDTHxHEIGHT")
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--backends", nargs="*", default=["numba", "torch"], choices=["numba", "torch"])
    parser.add_argument("--pairs", type=int, default=1_000_000, help="most pairs per size")
    parser.add_argument("--quick", action="store_true", help="8 pairs per size, each once; no cuts")
    parser.add_argument("--videos", type=Path, help="folder of other videos to take pairs from")
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.pairs = min(chosen.pairs, 8)
    return chosen


def source_of(chosen: argparse.Namespace, folder: Path) -> Material:
    """Real clips if they are here, else other videos, else generated ones in ``folder``."""
    if chosen.videos is None and DATA.exists():
        return real_clips(DATA)
    if chosen.videos is None:
        print("There are no real clips at ../shared/data: these are generated videos, which say little of real ones.")
        write_synthetic_videos(folder, videos_per_class=2, seed=0, size=(320, 240))
    return other_videos(chosen.videos or folder)


def main() -> None:
    """Print the tables."""
    chosen = arguments()
    cv2.setNumThreads(1)
    gpu = choose_backend() == "torch"
    if gpu:
        chosen.backends = [name for name in chosen.backends if name != "torch"]
    elif "torch" in chosen.backends:
        import torch

        torch.set_num_threads(1)
    numbers: dict[str, Any] = {"processor": processor(), "opencv": cv2.__version__}
    print(
        f"{numbers['processor']}; OpenCV {cv2.__version__}; programs running beside this one: {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(chosen, Path(folder))
        with on_cores(1):
            numbers |= solver_tables(chosen, source)
            if "numba" in chosen.backends:
                numbers["stages"] = stage_table(source.videos[: 1 if chosen.quick else None])
        if "numba" in chosen.backends:
            numbers |= machine_tables(chosen, source)
    here = "this machine has one, and" if gpu else "there is no CUDA device here, so nothing was measured on one;"
    print(f"\nGPU: {here} tests/benchmarks/flow_gpu.py is about it.")
    if chosen.json:
        chosen.json.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
