"""The kernels on a real CUDA device: the flow of plain operations, and bits that depend on nothing but the pair.

Run with -m gpu where there is one. Axes: B pairs, H height, W width, 2 flow components (x, y).
"""

import threading
import warnings
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params, choose_backend, tvl1_flow
from kinebert.preprocessing.tvl1.gpu import solver
from kinebert.preprocessing.tvl1.gpu.level import LevelSolver, all_levels
from tests.helpers.requirements import needs
from tests.helpers.videos import smooth

pytestmark = [
    pytest.mark.gpu,
    needs("gpu", torch.cuda.is_available(), "there is no CUDA device"),
]
CUDA = torch.device("cuda", 0)
BRIEF = TvL1Params(warps=2, inner_iterations=4, outer_iterations=2, epsilon=1e-6)
"""So few iterations that solvers differ by rounding only."""
SIZES = [(16, 16), (17, 23), (41, 57), (128, 171), (256, 340), (301, 199)]


@pytest.fixture(autouse=True)
def no_kept_solver() -> Iterator[None]:
    solver._kept.clear()
    yield
    solver._kept.clear()


def pictures(count: int, height: int = 120, width: int = 160, seed: int = 0) -> Tensor:
    """Blurred noise ``(count, H, W)``, uint8, on the device; it moves by 1.5 px a picture, and flickers."""
    rng = np.random.default_rng(seed)
    noise_HW = smooth(rng.uniform(0, 255, (height, 2 * width + 3 * count)).astype(np.float32), 3)
    moved = [cv2.resize(noise_HW[:, 3 * i : 3 * i + 2 * width], (width, height)) for i in range(count)]
    flicker = [picture + rng.normal(0, 1, picture.shape) for picture in moved]
    return torch.from_numpy(np.clip(flicker, 0, 255).astype(np.uint8)).to(CUDA)


def kernels_of(capacity: int, size: tuple[int, int], params: TvL1Params, dual_dtype: torch.dtype) -> LevelSolver:
    from kinebert.preprocessing.tvl1.gpu.fused import FusedSolver

    with torch.cuda.device(CUDA):
        return FusedSolver(capacity, all_levels(*size, params, dual_dtype), CUDA)


def error_px(found_B2HW: Tensor, expected_B2HW: Tensor) -> Tensor:
    """End-point error ``(B, H, W)`` on the CPU."""
    return (found_B2HW.cpu() - expected_B2HW.cpu()).norm(dim=1)


def test_kernels_are_used() -> None:
    """Not plain operations, and not a chunk that could not be captured."""
    assert choose_backend() == "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        frames = pictures(3)
        solver.solve_pairs(frames[:-1], frames[1:], BRIEF)
    from kinebert.preprocessing.tvl1.gpu.fused import FusedSolver

    kept = solver._kept[0].solver
    assert isinstance(kept, FusedSolver)
    assert all("replay" in str(chunk) for chunk in kept._chunks.values())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dual_dtype", [torch.float32, torch.int16], ids=str)
def test_brief_runs_are_those_of_plain_operations(size: tuple[int, int], dual_dtype: torch.dtype) -> None:
    frames = pictures(4, *size)
    levels = all_levels(*size, BRIEF, dual_dtype)
    found_B2HW = solver.solve_batch(frames[:-1], frames[1:], BRIEF, kernels_of(5, size, BRIEF, dual_dtype))
    on_cpu = frames.cpu()
    expected_B2HW = solver.solve_batch(on_cpu[:-1], on_cpu[1:], BRIEF, solver.PlainSolver(3, levels))
    error_BHW = error_px(found_B2HW, expected_B2HW)
    assert error_BHW.mean() < 2e-4
    assert error_BHW.flatten().quantile(0.99) < 2e-3


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("median_filtering", [1, 3, 5])
def test_whole_runs_are_near_those_of_plain_operations(preset: str, median_filtering: int) -> None:
    """0.01 px is chance: OpenCV is as far from itself when 0.001 grey levels are added."""
    params = TvL1Params(**{**vars(PRESETS[preset]), "median_filtering": median_filtering})
    frames = pictures(5)
    found_B2HW = solver.solve_pairs(frames[:-1], frames[1:], params)
    expected_B2HW = solver.solve_pairs(frames[:-1].cpu(), frames[1:].cpu(), params)
    assert error_px(found_B2HW, expected_B2HW)[:, 8:-8, 8:-8].mean() < 0.02


def test_plain_operations_on_the_device_are_those_on_a_cpu() -> None:
    """The way without Triton."""
    frames = pictures(4, 41, 57)
    plain_solver = solver.PlainSolver(3, all_levels(41, 57, BRIEF, torch.float32))
    found_B2HW = solver.solve_batch(frames[:-1], frames[1:], BRIEF, plain_solver)
    expected_B2HW = solver.solve_batch(frames[:-1].cpu(), frames[1:].cpu(), BRIEF, plain_solver)
    assert error_px(found_B2HW, expected_B2HW).mean() < 1e-4


def unlike_pairs() -> tuple[Tensor, Tensor]:
    """Pairs that stop early and late: moving slowly and fast, identical, constant, faint, unrelated."""
    frames, other = pictures(4), pictures(1, seed=1)[0]
    flat = torch.full_like(other, 90)
    first_BHW = torch.stack([frames[0], frames[0], frames[1], flat, frames[0] // 9, frames[2]])
    second_BHW = torch.stack([frames[1], frames[3], frames[1], flat, frames[1] // 9, other])
    return first_BHW, second_BHW


@pytest.mark.parametrize("way", ["kernels", "plain"])
def test_bits_do_not_depend_on_the_batch(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "plain":
        monkeypatch.setattr(solver, "_kernels_work", lambda device: False)
    params = TvL1Params() if way == "kernels" else BRIEF
    first_BHW, second_BHW = unlike_pairs()
    alone = []
    for i in range(6):
        solver._kept.clear()  # a solver for one pair: one place, few programs
        alone.append(solver.solve_pairs(first_BHW[i : i + 1], second_BHW[i : i + 1], params))
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 2, 0], [1, 4] * 20, [3, 0, 5, 3, 2, 1, 4, 0, 2, 2]):
        together_B2HW = solver.solve_pairs(first_BHW[order], second_BHW[order], params)
        assert torch.equal(together_B2HW, torch.cat([alone[i] for i in order])), order


def test_the_same_bits_every_time() -> None:
    frames = pictures(33, 256, 340)
    runs = [solver.solve_pairs(frames[:-1], frames[1:], TvL1Params()) for _ in range(5)]
    assert all(torch.equal(runs[0], run) for run in runs[1:])


def test_the_same_bits_without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = pictures(5)
    usual_B2HW = solver.solve_pairs(frames[:-1], frames[1:], TvL1Params())
    solver._kept.clear()
    monkeypatch.setattr("kinebert.preprocessing.tvl1.gpu.fused._captured", lambda launch, priority: launch)
    assert torch.equal(solver.solve_pairs(frames[:-1], frames[1:], TvL1Params()), usual_B2HW)


def test_the_same_bits_from_several_threads_and_streams() -> None:
    """They share one set of buffers, one batch after the other."""
    frames = [pictures(9, seed=seed) for seed in range(4)]
    expected = [solver.solve_pairs(some[:-1], some[1:], TvL1Params()) for some in frames]
    found: list[Tensor | None] = [None] * 4
    torch.cuda.synchronize()

    def work(i: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            found[i] = solver.solve_pairs(frames[i][:-1], frames[i][1:], TvL1Params())
            torch.cuda.current_stream().synchronize()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for some, other in zip(found, expected, strict=True):
        assert some is not None
        assert torch.equal(some, other)


def test_lower_precision_around_it_changes_nothing() -> None:
    frames = pictures(5)
    usual_B2HW = solver.solve_pairs(frames[:-1], frames[1:], TvL1Params())
    solver._kept.clear()
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    with torch.autocast("cuda", dtype=torch.float16):
        found_B2HW = solver.solve_pairs(frames[:-1], frames[1:], TvL1Params())
    torch.backends.cuda.matmul.allow_tf32 = before
    assert torch.equal(found_B2HW, usual_B2HW)


def test_identical_frames_give_exactly_zero() -> None:
    frames = pictures(3)
    assert not solver.solve_pairs(frames, frames, TvL1Params()).any()


def test_everything_is_finite() -> None:
    generator = torch.Generator(CUDA).manual_seed(0)
    noise = torch.randint(0, 256, (3, 33, 47), dtype=torch.uint8, device=CUDA, generator=generator)
    flow_B2HW = solver.solve_pairs(noise[:-1], noise[1:], TvL1Params())
    assert flow_B2HW.isfinite().all()
    assert flow_B2HW.abs().max() < 100


def test_one_video_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    frames_THW = pictures(12).cpu().numpy()
    usual = tvl1_flow(frames_THW, backend="torch")
    solver._kept.clear()
    monkeypatch.setattr(solver, "_MOST_PIXELS", 5 * 120 * 160)
    assert np.array_equal(tvl1_flow(frames_THW, backend="torch"), usual)
    assert solver._kept[0].solver.capacity == 5
    monkeypatch.setattr(solver, "_PINNED_BYTES", 0)
    assert np.array_equal(tvl1_flow(frames_THW, backend="torch"), usual)


@pytest.mark.parametrize("way", ["kernels", "plain"])
def test_memory_is_what_was_reckoned_with(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "plain":
        monkeypatch.setattr(solver, "_kernels_work", lambda device: False)
    frames = pictures(65, 256, 340)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    solver.solve_pairs(frames[:-1], frames[1:], TvL1Params(outer_iterations=1))
    per_pixel = (torch.cuda.max_memory_allocated() - before) / (64 * 256 * 340)
    assert per_pixel < (solver._KERNEL_BYTES if way == "kernels" else solver._PLAIN_BYTES)


@pytest.mark.parametrize("cuts", [1, 8, 9])
def test_scene_cuts_are_solved_beside_the_others(cuts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight at most; several batches one after the other, on whose memory both streams work. Bits stay those alone."""
    from kinebert.preprocessing.tvl1.gpu import fused

    monkeypatch.setattr(fused, "BUSY_PIXELS", 0)
    frames, others = pictures(41), pictures(cuts, seed=1)
    first_BHW, second_BHW = frames[:-1].clone(), frames[1:].clone()
    second_BHW[4 : 4 + 3 * cuts : 3] = others
    params = TvL1Params(outer_iterations=3)
    alone_B2HW = torch.cat([solver.solve_pairs(first_BHW[i : i + 1], second_BHW[i : i + 1], params) for i in range(40)])
    for _ in range(5):
        assert torch.equal(solver.solve_pairs(first_BHW, second_BHW, params), alone_B2HW)
    kept = solver._kept[0].solver
    assert isinstance(kept, fused.FusedSolver)
    assert cuts > fused.FEW or "_small" in vars(kept)
