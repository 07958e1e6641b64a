"""Pairs of TV-L1 flow per second: one process, several that share the card, and several with CUDA's MPS.

    python -m tests.gpu.flow [--seconds 60] [--json flow.json]

Frames are generated and on the device already, 256 pairs of 340x256 with a scene cut among them; `flow_gpu.py` in
tests/benchmarks measures the kernels and the whole job. Where there is no CUDA device, torch's plain operations solve
tiny pictures, and Triton's interpreter runs the kernels.
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.tvl1 import TvL1Params
from tests.gpu.stage import Stage, stage_of
from tests.helpers.measuring import print_table
from tests.helpers.mps import NoMpsError, mps, serves
from tests.helpers.paths import ROOT

SHARING = (4, 2)
"""Processes that are compared with and without MPS."""
RUN_S, START_S = 3.0, 60.0
"""Seconds that are counted, and that processes may take to start, compile and capture."""
TINY = TvL1Params(warps=1, inner_iterations=2, outer_iterations=1)
Result = tuple[int, float, float] | str
"""Pairs, and when a process began and ended; or why it did not."""


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """``(count, H, W)``: a texture of several scales that moves by 1.5 px a picture and changes in the middle."""
    rng = np.random.default_rng(0)
    found = []
    for scene in range(2):
        texture_HW = np.zeros((2 * height, 2 * width + 3 * count))
        for zoom in (4, 16, 64):
            coarse = rng.normal(0, zoom, [size // zoom + 2 for size in texture_HW.shape])
            rows, columns = map(np.linspace, (0, 0), np.array(coarse.shape) - 1.001, texture_HW.shape)
            texture_HW += _between(_between(coarse, rows).T, columns).T
        texture_HW = 127 + 60 * texture_HW / texture_HW.std()
        for i in range(count // 2 if scene == 0 else count - count // 2):
            cut = texture_HW[:, 3 * i : 3 * i + 2 * width]
            found.append(cut.reshape(height, 2, width, 2).mean((1, 3)))
    return np.clip(found, 0, 255).astype(np.uint8)


def _between(rows_NM: NDArray[Any], at_K: NDArray[Any]) -> NDArray[Any]:
    """Rows of an array at places between them."""
    below, share = at_K.astype(int), (at_K % 1)[:, None]
    return (1 - share) * rows_NM[below] + share * rows_NM[below + 1]


def solve(is_tiny: bool, seconds: float, barrier: Any, results: Any) -> None:
    """What each process does: warm up, wait for the others, and solve one batch after the other."""
    try:
        results.put(_solve(is_tiny, seconds, barrier))
    except Exception as error:
        barrier.abort()
        results.put(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _solve(is_tiny: bool, seconds: float, barrier: Any) -> Result:
    import torch

    from kinebert.preprocessing.tvl1.gpu.solver import solve_pairs

    device = torch.device("cpu" if is_tiny else "cuda")
    frames = torch.from_numpy(pictures(4, 20, 24) if is_tiny else pictures(257, 256, 340)).to(device)
    first_BHW, second_BHW = frames[:-1], frames[1:]
    params, pairs = TINY if is_tiny else TvL1Params(), 0
    for _ in range(1 if is_tiny else 2):
        assert bool(solve_pairs(first_BHW, second_BHW, params).isfinite().all())
    barrier.wait(START_S * 4)
    began = time.time()
    while not pairs or time.time() - began < seconds:
        float(solve_pairs(first_BHW, second_BHW, params).sum())  # waits for the device
        pairs += len(first_BHW)
    return pairs, began, time.time()


def rate(tasks: int, stage: Stage, seconds: float) -> float:
    """Pairs per second of so many processes that share the card.

    Raises:
        RuntimeError: If one of them failed.
    """
    context = get_context("spawn")
    barrier, results = context.Barrier(tasks), context.Queue()
    given = stage.is_tiny, seconds, barrier, results
    processes = [context.Process(target=solve, args=given, daemon=True) for _ in range(tasks)]
    for process in processes:
        process.start()
    try:
        found: list[Result] = [results.get(timeout=max(1.0, stage.left())) for _ in processes]
    except Exception as error:
        raise RuntimeError(f"no answer in time ({type(error).__name__})") from None
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    failed = [one for one in found if isinstance(one, str)]
    if failed:
        raise RuntimeError(next((one for one in failed if "BrokenBarrier" not in one), failed[0]))
    done = [one for one in found if not isinstance(one, str)]
    return sum(pairs for pairs, _, _ in done) / (max(end for *_, end in done) - min(begin for _, begin, _ in done))


def rates(stage: Stage, tasks_of: Sequence[int], with_mps: bool = False) -> None:
    """Measure some numbers of processes while there is time; each rate is printed and kept."""
    found: list[dict[str, Any]] = stage.results.setdefault("rates", [])
    for tasks in tasks_of:
        if stage.left() < 4 * RUN_S:
            print(f"{tasks} processes: no time was left")
            break
        try:
            pairs_per_s = rate(tasks, stage, 0.0 if stage.is_tiny else RUN_S)
        except RuntimeError as error:
            print(f"{tasks} processes{' with MPS' * with_mps}: {error}", flush=True)
            continue
        found.append({"tasks": tasks, "mps": with_mps, "pairs_per_s": pairs_per_s})
        print(f"  {tasks} process(es){' with MPS' * with_mps}: {pairs_per_s:.1f} pairs/s", flush=True)
        stage.keep(rates=found)


def with_service(stage: Stage) -> None:
    """The same with MPS; says why where there is none."""
    try:
        with mps():
            rates(stage, SHARING, with_mps=True)
            words = "measured" if serves() else "it started, but CUDA did not use it"
    except NoMpsError as error:
        words = str(error)
    if words != "measured":
        stage.results["rates"] = [one for one in stage.results["rates"] if not one["mps"]]
        print(f"MPS: not measured: {words}")
    stage.keep(mps=words)


def interpreted() -> int:
    """Run the kernels that decide who goes on in Triton's interpreter; return the exit status.

    The others take a minute, and are among the fast tests.
    """
    if importlib.util.find_spec("triton") is None:
        print("Triton is not here: its kernels were not tried")
        return 0
    tests = ROOT / "tests/preprocessing/tvl1/interpreted_kernels.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "decide or order",
        str(tests),
    ]
    return subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, cwd=ROOT, check=False).returncode


def main(stage: Stage) -> int:
    """Print the table, and return the exit status."""
    print("without a CUDA device: tiny pictures by plain operations" * stage.is_tiny, flush=True)
    rates(stage, (1, 2) if stage.is_tiny else (1, *SHARING))
    if not stage.is_tiny:
        with_service(stage)
        rates(stage, (8,))
    found = sorted(stage.results["rates"], key=lambda one: (one["mps"], one["tasks"]))
    print_table(
        "Tiny pictures, no measurement"
        if stage.is_tiny
        else "256 pairs of 340x256 with a scene cut among them, classic",
        ["processes", "MPS", "pairs/s"],
        [[one["tasks"], "yes" if one["mps"] else "no", f"{one['pairs_per_s']:.0f}"] for one in found],
        words=0,
    )
    return int(not found) or (interpreted() if stage.is_tiny else 0)


if __name__ == "__main__":
    sys.exit(main(stage_of(__doc__)))
