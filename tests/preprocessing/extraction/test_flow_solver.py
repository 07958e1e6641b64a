"""A solver in a task: ready before the first video, fed in batches that bound memory and time, named in the shard."""

import fcntl
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.extraction import flow_solver
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params

GREY = np.random.default_rng(0).integers(0, 256, (12, 16, 20), np.uint8)
OPENCV = FlowSolver(backend="opencv")


@pytest.mark.parametrize(
    ("solver", "size", "pairs"),
    [
        (FlowSolver(backend="opencv"), (256, 340), 1),
        (FlowSolver(backend="numba"), (256, 340), 8),
        (FlowSolver(backend="numba", num_threads=3), (256, 340), 24),
        (FlowSolver(backend="numba"), (64, 64), 8),
        (FlowSolver(backend="numba"), (1080, 1920), 1),
        (FlowSolver(backend="numba"), (360, 640), 3),
        (FlowSolver(backend="torch", on_gpu=True), (256, 340), 256),
        (FlowSolver(backend="torch", on_gpu=True), (128, 171), 256),
        (FlowSolver(backend="torch", on_gpu=True), (720, 1280), 24),
        (FlowSolver(backend="torch", on_gpu=True), (2160, 3840), 2),
        (FlowSolver(backend="torch"), (256, 340), 4),
    ],
)
def test_large_frames_come_in_small_batches(solver: FlowSolver, size: tuple[int, int], pairs: int) -> None:
    assert solver.pairs_at_once(*size) == pairs


def test_a_solver_says_who_it_is() -> None:
    assert OPENCV.ready(TvL1Params()).name().startswith("opencv ")
    assert FlowSolver(backend="numba").name().startswith("numba 0.")
    assert FlowSolver(backend="torch").name().startswith("torch 2.")
    assert FlowSolver(backend="torch", on_gpu=True).name().endswith(" on a GPU")


def test_auto_is_settled_by_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_solver, "_warm_up", lambda *_: None)
    monkeypatch.setattr(flow_solver, "choose_backend", lambda backend="auto": "torch" if backend == "auto" else backend)
    ready = FlowSolver().ready(TvL1Params())
    assert (ready.backend, ready.on_gpu) == ("torch", True)
    assert not FlowSolver(backend="numba").ready(TvL1Params()).on_gpu
    monkeypatch.setattr(flow_solver, "choose_backend", lambda backend="auto": "numba" if backend == "auto" else backend)
    assert FlowSolver().ready(TvL1Params()).backend == "numba"
    assert not FlowSolver(backend="torch").ready(TvL1Params()).on_gpu
    with pytest.raises(UserError, match="holds a GPU, but torch sees none there. Install a torch"):
        FlowSolver(backend="torch", on_gpu=True).ready(TvL1Params())


def test_what_a_backend_lacks_is_said_before_the_first_video() -> None:
    with pytest.raises(ConfigError, match="OpenCV's TV-L1 has no level_warps and no level_epsilon"):
        OPENCV.ready(replace(PRESETS["classic"], level_epsilon=(0.02,)))


class OutOfMemoryError(RuntimeError):
    """Bears the name of torch's."""


def test_a_gpu_without_memory_is_given_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def solve(grey_THW: NDArray[np.uint8], *_: object, **__: object) -> NDArray[np.float32]:
        sizes.append(len(grey_THW) - 1)
        if len(grey_THW) - 1 > 3:
            raise OutOfMemoryError("CUDA out of memory")
        return np.stack([np.stack(pair) for pair in pairwise(grey_THW)]).astype(np.float32)

    monkeypatch.setattr(flow_solver, "tvl1_flow", solve)
    flow = FlowSolver(backend="torch", on_gpu=True).solve(GREY, TvL1Params())
    assert np.array_equal(flow[:, 0], GREY[:-1])
    assert np.array_equal(flow[:, 1], GREY[1:])
    assert max(sizes[1:]) < 11

    def never(*_: object, **__: object) -> NDArray[np.float32]:
        raise OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(flow_solver, "tvl1_flow", never)
    with pytest.raises(OutOfMemoryError):
        FlowSolver(backend="torch", on_gpu=True).solve(GREY, TvL1Params())


def test_a_lost_gpu_ends_the_process_and_blames_no_video(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> NDArray[np.float32]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def end(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(flow_solver, "tvl1_flow", lost)
    monkeypatch.setattr("os._exit", end)
    with pytest.raises(SystemExit):
        FlowSolver(backend="torch", on_gpu=True).solve(GREY, TvL1Params())
    with pytest.raises(RuntimeError, match="illegal memory access"):
        FlowSolver(backend="torch").solve(GREY, TvL1Params())


def test_kernels_are_compiled_by_one_and_kept_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first task of a node compiles while the others wait, into a folder that only the user can write to."""
    found: list[tuple[str, Path, int, bool]] = []

    def solve(grey_THW: NDArray[np.uint8], *_: object, **__: object) -> NDArray[np.float32]:
        cache = Path(os.environ.get("TRITON_CACHE_DIR", "none"))
        with open(flow_solver.__file__, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_alone = False
            except BlockingIOError:
                is_alone = True
        found.append(
            (cache.name, cache.parent, cache.parent.exists() and cache.parent.stat().st_mode & 0o777, is_alone)
        )
        return np.zeros((len(grey_THW) - 1, 2, *grey_THW.shape[1:]), np.float32)

    monkeypatch.setattr(flow_solver, "tvl1_flow", solve)
    monkeypatch.setattr(flow_solver, "choose_backend", lambda backend="auto": "torch")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", "")  # so that what is set here is undone
    monkeypatch.delenv("TRITON_CACHE_DIR")
    flow_solver._warm_up.cache_clear()
    FlowSolver(backend="torch", on_gpu=True).ready(TvL1Params())
    assert found == [("triton", tmp_path / "kinebert", 0o700, True)]
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "mine" / "kernels"))
    flow_solver._warm_up.cache_clear()
    FlowSolver(backend="torch", on_gpu=True).ready(TvL1Params())
    assert found[1][:2] == ("kernels", tmp_path / "mine")
    flow_solver._warm_up.cache_clear()


def hold_the_place(inside: Path, leave: Path) -> None:
    inside.with_suffix(".started").touch()
    with flow_solver._first_alone():
        inside.touch()
        while not leave.exists():
            time.sleep(0.02)


@pytest.mark.parametrize("killed", [False, True])
def test_the_first_of_a_node_compiles_alone_even_if_it_is_killed(killed: bool, tmp_path: Path) -> None:
    places = [tmp_path / name for name in "abc"]
    spawn = multiprocessing.get_context("spawn").Process
    processes = [spawn(target=hold_the_place, args=(place, place.with_suffix(".leave"))) for place in places]
    processes[0].start()
    wait_for(places[:1])
    for process in processes[1:]:
        process.start()
    wait_for([place.with_suffix(".started") for place in places])
    time.sleep(0.3)
    assert not any(place.exists() for place in places[1:])
    if killed:
        os.kill(processes[0].pid or 0, signal.SIGKILL)
    else:
        places[0].with_suffix(".leave").touch()
    wait_for(places)  # the others go together: neither waits for the other to leave
    for process, place in zip(processes, places, strict=True):
        place.with_suffix(".leave").touch()
        process.join(60)


def wait_for(paths: list[Path]) -> None:
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def get_ready(times: Path) -> None:
    start = time.thread_time()
    FlowSolver(backend="numba").ready(TvL1Params())
    times.write_text(str(time.thread_time() - start))


@pytest.mark.slow
def test_on_a_fresh_node_one_process_compiles_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    spawn = multiprocessing.get_context("spawn").Process
    processes = [spawn(target=get_ready, args=(tmp_path / name,)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    seconds = sorted(float((tmp_path / name).read_text()) for name in "abc")
    assert seconds[1] < 0.5 * seconds[2]  # measured 0.7 against 9 s
