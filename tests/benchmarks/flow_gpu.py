"""What TV-L1 flow costs on a GPU, and what bounds the whole job of extraction there.

    python -m tests.benchmarks.flow_gpu [--quick] [--json numbers.json]

Where there is no CUDA device it prints what the traffic to memory would allow on one, and says that nothing was run.
Clips come from ../shared/data where it is there, else they are generated.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.synthetic import write_synthetic_videos
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.extraction.timing import TaskTiming
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.plan import PlannedShard, PlannedVideo
from kinebert.preprocessing.tvl1 import PRESETS, choose_backend, tvl1_flow
from kinebert.preprocessing.video.frames import VideoFrames
from tests.benchmarks.flow_arithmetic import CARDS, GOAL, STEP_BYTES, kernel_table, rate_table, roofline
from tests.helpers.clips import (
    Material,
    differs_in_8_bits,
    end_point_error,
    noise_floors,
    opencv_flows,
    read_cuts,
    real_clips,
)
from tests.helpers.measuring import print_table, processor
from tests.helpers.paths import SHARED

UInt8 = NDArray[np.uint8]

DATA = SHARED / "data"


# -- on a device


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Seconds on the clock for ``work`` on the device, the best of a few after one that does not count."""
    import torch

    from tests.gpu.cards import timed

    return min(timed(work, torch.device("cuda"), repeats))


def copy_bandwidth() -> float:
    """Bytes per second, reads and writes together, of copying 2 GiB."""
    import torch

    source = torch.empty(1 << 31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source), 5)


def step_rate(kept: str, tile: tuple[int, int, int], count: int = 256) -> float:
    """Pixel iterations per second of the kernel that almost all time goes into, with every pair busy.

    Args:
        kept: How dual variables are kept.
        tile: Rows, columns and warps of a tile.
        count: Pairs of 340x256.
    """
    import torch

    from kinebert.preprocessing.tvl1 import TvL1Params
    from kinebert.preprocessing.tvl1.gpu import fused
    from kinebert.preprocessing.tvl1.gpu.level import all_levels

    before = fused._TILE
    fused._TILE = {"BLOCK_Y": tile[0], "BLOCK_X": tile[1], "num_warps": tile[2]}
    try:
        endless = TvL1Params(nscales=1, inner_iterations=1 << 30, epsilon=1e-9)
        levels = all_levels(256, 340, endless, getattr(torch, kept))
        solver = fused.FusedSolver(count, levels, torch.device("cuda", torch.cuda.current_device()))
        for buffer in (solver._flow, solver._gradient, solver._constant):
            buffer.normal_()
        solver._dual.zero_()
        solver._state.zero_()
        solver._state[:, 0] = 2  # everybody iterates
        solver._launch_order()

        def steps() -> None:
            for _ in range(20):
                solver._launch_step(levels[0], is_first=False)

        return 20 * count * 256 * 340 / seconds(steps)
    finally:
        fused._TILE = before


def step_kernel(bytes_per_s: float) -> list[dict[str, Any]]:
    """One iteration by tiles of several shapes; the first is the one that is used."""
    found, rows = [], []
    for kept, step_bytes in STEP_BYTES.items():
        for tile in ((16, 32, 4), (8, 32, 4), (8, 32, 2), (16, 32, 8), (32, 32, 8), (8, 64, 4), (16, 64, 8)):
            rate = step_rate(kept, tile)
            share = rate * step_bytes / bytes_per_s
            found.append({"kept": kept, "tile": tile, "pixel_iterations_per_s": rate, "share_of_bandwidth": share})
            shape = f"{tile[0]} x {tile[1]}, {tile[2]} warps"
            rows.append([kept, shape, f"{rate / 1e9:.1f}", f"{rate * step_bytes / 1e12:.2f}", f"{100 * share:.0f} %"])
    print_table(
        "One iteration of 256 pairs of 340x256, all of them busy (the first tile is the one in use)",
        ["dual kept as", "tile", "G px-it/s", "TB/s", "of a copy"],
        rows,
        words=2,
    )
    return found


def neighbours(videos: Sequence[Path], size: tuple[int, int], count: int) -> UInt8:
    """Return ``(count, 2, H, W)`` grey pairs from all of ``videos``, as many of each as they have."""
    recipe = FrameRecipe(width=size[0], height=size[1])
    each = -(-count // len(videos))
    pairs: list[tuple[UInt8, UInt8]] = []
    for video in videos:
        frames = islice(VideoFrames(str(video), recipe), each + 1)
        grey: list[UInt8] = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]  # type: ignore[misc]
        pairs += pairwise(grey)
    return np.stack([np.stack(pair) for pair in (pairs * -(-count // len(pairs)))[:count]])


def rate(pairs_B2HW: Any, preset: str, kept: str, batch: int) -> float | None:
    """Pairs per second of whole solves in batches; None if a batch is too much for this device."""
    import torch

    from kinebert.preprocessing.tvl1.gpu import solver
    from kinebert.preprocessing.tvl1.gpu.fused import FusedSolver
    from kinebert.preprocessing.tvl1.gpu.level import all_levels

    device, params, (count, _, h, w) = pairs_B2HW.device, PRESETS[preset], pairs_B2HW.shape
    is_plain = kept == "plain"
    pixel_bytes = solver._PLAIN_BYTES if is_plain else solver._KERNEL_BYTES
    if batch > count or batch > solver._fitting(device, h * w * pixel_bytes):
        return None
    levels = all_levels(h, w, params, torch.float32 if is_plain else getattr(torch, kept))
    made = solver.PlainSolver(batch, levels) if is_plain else FusedSolver(batch, levels, device)
    starts = range(0, count - batch + 1, batch)

    def solve() -> None:
        for i in starts:
            solver.solve_batch(pairs_B2HW[i : i + batch, 0], pairs_B2HW[i : i + batch, 1], params, made)

    return len(starts) * batch / seconds(solve, 1 if is_plain else 3)


def rates(videos: Sequence[Path], quick: bool) -> list[dict[str, Any]]:
    """Pairs per second for sizes, presets, batches and ways to keep dual variables; frames already on the device."""
    import torch

    cases = [("classic", kept, batch) for kept in ("int16", "float32") for batch in (16, 64, 128, 256, 512)]
    cases += [("classic", "plain", 64), *((preset, "int16", 256) for preset in PRESETS if preset != "classic")]
    found, rows = [], []
    for size in ((340, 256), (171, 128)):
        pairs_B2HW = torch.from_numpy(neighbours(videos, size, 128 if quick else 512)).cuda()
        for preset, kept, batch in cases:
            pairs_per_s = rate(pairs_B2HW, preset, kept, batch)
            if pairs_per_s is None:
                continue
            name = f"{size[0]}x{size[1]}"
            found.append({"size": name, "preset": preset, "kept": kept, "batch": batch, "pairs_per_s": pairs_per_s})
            share = f"{100 * pairs_per_s / GOAL:.0f} %" if (name, preset) == ("340x256", "classic") else None
            rows.append([name, preset, kept, batch, f"{pairs_per_s:.0f}", share])
    print_table(
        "Pairs per second, frames and flow on the device ('plain': torch operations without Triton)",
        ["size", "preset", "dual kept as", "batch", "pairs/s", "of the goal"],
        rows,
        words=3,
    )
    return found


def accuracy(source: Material) -> dict[str, float]:
    """The kernels as extraction calls them, against OpenCV's classic."""
    pairs = [pair for size in ("340x256", "171x128") for pair in source.pairs(size)]
    threads = len(os.sched_getaffinity(0))
    references = opencv_flows(pairs, threads)
    floors = noise_floors(pairs, references, (0, 1), threads)
    flows = [tvl1_flow(pair.stacked(), PRESETS["classic"], "torch")[0] for pair in pairs]
    both = list(zip(flows, references, strict=True))
    errors = [end_point_error(flow, reference) for flow, reference in both]
    differs = np.concatenate([differs_in_8_bits(flow, reference).ravel() for flow, reference in both])
    over = [float(error.mean()) / floor for error, floor in zip(errors, floors, strict=True)]
    found = {
        "pairs": float(len(pairs)),
        "mean": float(np.mean([error.mean() for error in errors])),
        "p95": float(np.percentile(np.concatenate([error.ravel() for error in errors]), 95)),
        "differs": float(differs.mean()),
        "worst_over_floor": max(over),
    }
    print_table(
        "Against OpenCV (noise floor: the larger of two draws, at least 0.01 px)",
        ["pairs", "EPE px", "p95 px", "8 bit >1", "worst / floor"],
        [[len(pairs), f"{found['mean']:.4f}", f"{found['p95']:.4f}", f"{100 * found['differs']:.2f} %",
          f"{found['worst_over_floor']:.2f}"]],
        words=0,
    )  # fmt: skip
    return found


def cut_cost(source: Material) -> None:
    """How much longer a batch takes that holds a scene cut, on which nothing converges."""
    import torch

    from kinebert.preprocessing.tvl1.gpu import solver

    usual = torch.from_numpy(neighbours(source.videos, (340, 256), 256)).cuda()
    cut = usual.clone()
    pair = (read_cuts(DATA, "340x256") if DATA.exists() else source.cuts("340x256"))[0]
    cut[100] = torch.from_numpy(pair.stacked()).cuda()
    rows = []
    for preset, params in PRESETS.items():
        ms = [
            1e3 * seconds(lambda x=x, p=params: solver.solve_pairs(x[:, 0], x[:, 1], p))  # type: ignore[misc]
            for x in (usual, cut)
        ]
        rows.append([preset, f"{ms[0]:.0f}", f"{ms[1]:.0f}", f"{(ms[1] - ms[0]) / ms[0] * 256:.1f}"])
    print_table(
        "A scene cut among 256 pairs of 340x256",
        ["preset", "ms without", "ms with", "cut costs as much as so many pairs"],
        rows,
        words=1,
    )


# -- the whole job


def as_h264(video: Path, folder: Path) -> Path:
    """Encode a clip again, as most data sets come."""
    path = folder / f"{video.stem}.mp4"
    with av.open(str(path), "w") as container:
        stream = None
        for frame_HW3 in VideoFrames(str(video), FrameRecipe(resize="none")):
            h, w = (side // 2 * 2 for side in frame_HW3.shape[:2])
            if stream is None:
                stream = container.add_stream("libx264", rate=25, options={"crf": "20"})
                stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
            picture = np.ascontiguousarray(frame_HW3[:h, :w])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        if stream is not None:
            container.mux(stream.encode())
    return path


def build(paths: list[str]) -> tuple[int, TaskTiming]:
    """What one task does, in a process of its own; frames and times."""
    solver = FlowSolver(backend="torch").ready(PRESETS["classic"])
    videos = tuple(PlannedVideo(f"{i}", path, Path(path).stat().st_size, None) for i, path in enumerate(paths))
    with tempfile.TemporaryDirectory() as folder:
        task = BuildShard(
            output=folder, recipe=FlowRecipe(), limits=Limits(), run_id="bench", solver=solver, timed=True
        )
        task(PlannedShard("shard-00000-of-00001.parquet", videos[:1]))  # graphs are captured, caches filled
    with tempfile.TemporaryDirectory() as folder:
        summary = replace(task, output=folder)(PlannedShard("shard-00000-of-00001.parquet", videos))
    assert summary.timing is not None
    return sum(video.num_frames for video in summary.videos), summary.timing


def whole_job(videos: Sequence[Path], quick: bool) -> list[dict[str, Any]]:
    """Decode H.264, resize, solve, encode, write: per stage, and with more and more tasks that share the GPU."""
    found, rows = [], []
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(as_h264(video, Path(folder))) for video in videos]
        names: list[str] = []
        for tasks in [n for n in (1, 2, 4, 8, 16) if n <= max(1, cores // 2)][: 2 if quick else None]:
            with ProcessPoolExecutor(tasks, mp_context=get_context("spawn")) as pool:
                results = list(pool.map(build, [paths] * tasks))
            frames = sum(count for count, _ in results)
            taken = max(t.end for _, t in results) - min(t.start for _, t in results)
            names = names or [name for name in results[0][1].stages if name != "prepare"]
            cpu = {name: 1e3 * sum(t.stages[name].cpu_s for _, t in results) / frames for name in names}
            wall = {name: 1e3 * sum(t.stages[name].wall_s for _, t in results) / frames for name in names}
            found.append({"tasks": tasks, "frames_per_s": frames / taken, "cpu_ms": cpu, "wall_ms": wall})
            rows.append([tasks, f"{frames / taken:.0f}", *(f"{cpu[n]:.2f} / {wall[n]:.2f}" for n in names)])
    print_table(
        f"The whole job, H.264 to shards, 340x256 classic, on {cores} cores: ms per frame and task (processor / clock)",
        ["tasks", "frames/s", *names],
        rows,
        words=0,
    )
    return found


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pairs and tasks; no comparison with OpenCV")
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    chosen = arguments()
    cv2.setNumThreads(1)
    if choose_backend() != "torch":
        for card in CARDS:
            roofline(card.bytes_per_s, f"{card.name}, on paper")
        kernel_table()
        rate_table()
        print("\nNOT RUN: there is no CUDA device here. The tables are arithmetic; no number of them was measured.")
        return
    import torch

    numbers: dict[str, Any] = {"device": torch.cuda.get_device_name(), "processor": processor()}
    print(f"{numbers['device']}; {numbers['processor']}; torch {torch.__version__}")
    numbers["copy_bytes_per_s"] = copy_bandwidth()
    roofline(numbers["copy_bytes_per_s"], "measured by copying")
    with tempfile.TemporaryDirectory() as folder:
        source = material(Path(folder))
        numbers["step"] = step_kernel(numbers["copy_bytes_per_s"])
        numbers["rates"] = rates(source.videos, chosen.quick)
        cut_cost(source)
        if not chosen.quick:
            numbers["accuracy"] = accuracy(source)
        numbers["job"] = whole_job(source.videos, chosen.quick)
    if chosen.json:
        chosen.json.write_text(json.dumps(numbers, indent=1))


def material(folder: Path) -> Material:
    """Real clips if they are here, else generated ones in ``folder``."""
    if DATA.exists():
        return real_clips(DATA)
    from tests.helpers.clips import other_videos

    print("There are no real clips at ../shared/data: these are generated videos, which say little of real ones.")
    write_synthetic_videos(folder, videos_per_class=2, seed=0, size=(320, 240))
    return other_videos(folder)


if __name__ == "__main__":
    main()
