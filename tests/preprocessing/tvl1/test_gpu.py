"""What is special to the solver for many pairs: its parts against OpenCV, and bits that do not depend on the batch.

All of this runs on a CPU with plain torch operations; the kernels have tests of their own.

Axes: B pairs, H height, W width, 2 flow components (x, y).
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params
from kinebert.preprocessing.tvl1.gpu import plain, solver
from kinebert.preprocessing.tvl1.gpu.level import Late, LevelParams, all_levels
from kinebert.preprocessing.tvl1.gpu.resample import enlarge_flow, pyramid, with_gradients
from kinebert.preprocessing.tvl1.pyramid import level_sizes
from tests.helpers.requirements import needs
from tests.helpers.videos import smooth

BRIEF = TvL1Params(warps=2, inner_iterations=12, outer_iterations=2, nscales=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other at every small operation are slow on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(count: int, height: int = 40, width: int = 52, seed: int = 0) -> Tensor:
    """Blurred noise ``(count, H, W)``, uint8, each picture a little further to the side."""
    noise_HW = np.random.default_rng(seed).uniform(0, 255, (height, width + 2 * count)).astype(np.float32)
    smooth_HW = smooth(noise_HW, 2)
    return torch.from_numpy(np.stack([smooth_HW[:, i : i + width] for i in range(count)]).astype(np.uint8))


def unlike_pairs() -> tuple[Tensor, Tensor]:
    """Pairs that stop early and late: moving, identical, unrelated, constant, faint."""
    moving, other = pictures(4), pictures(2, seed=1)
    flat = torch.full_like(other[0], 90)
    first_BHW = torch.stack([moving[0], moving[1], moving[2], flat, moving[0]])
    second_BHW = torch.stack([moving[1], moving[1], other[0], flat, moving[3]])
    return first_BHW, second_BHW


# -- parts, against OpenCV's


@pytest.mark.parametrize("size", [(256, 340), (128, 171), (41, 57)], ids=str)
@pytest.mark.parametrize("step", [0.8, 0.5])
def test_pyramid_is_opencvs(size: tuple[int, int], step: float) -> None:
    params = TvL1Params(scale_step=step)
    expected_HW = pictures(1, *size)[0].numpy().astype(np.float32)
    for found_BHW in pyramid(pictures(1, *size), level_sizes(*size, params), step):
        assert np.abs(found_BHW[0].numpy() - expected_HW).max() < 1e-4  # grey levels; measured 2e-5
        smaller_HW = cv2.resize(expected_HW, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        expected_HW = smaller_HW.astype(np.float32)


@pytest.mark.parametrize(("coarse", "fine"), [((205, 272), (256, 340)), ((33, 46), (41, 57)), ((20, 20), (41, 40))])
def test_flow_is_enlarged_as_by_opencv(coarse: tuple[int, int], fine: tuple[int, int]) -> None:
    flow_B2HW = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (1, 2, *coarse)).astype(np.float32))
    found_2HW = enlarge_flow(flow_B2HW, fine, 0.8)[0].numpy()
    for found_HW, coarse_HW in zip(found_2HW, flow_B2HW[0].numpy(), strict=True):
        assert np.abs(found_HW - 1.25 * cv2.resize(coarse_HW, fine[::-1])).max() < 1e-5  # measured 2e-6


@needs("opencv5", cv2.__version__ >= "5", "OpenCV before 5 rounds where it samples to 1/32 px")
@pytest.mark.parametrize("spread", [0.5, 10, 1e4, 1e9])
def test_warp_is_opencvs(spread: float) -> None:
    """However far flow reaches: pixels from outside are 0."""
    image_B3HW = with_gradients(pictures(2, 33, 47).float())
    flow_B2HW = torch.from_numpy(np.random.default_rng(0).normal(0, spread, (2, 2, 33, 47)).astype(np.float32))
    found_B3HW = plain.warp(image_B3HW, flow_B2HW).numpy()
    x_HW, y_HW = np.meshgrid(np.arange(47, dtype=np.float32), np.arange(33, dtype=np.float32))
    for i in range(2):
        where = x_HW + flow_B2HW[i, 0].numpy(), y_HW + flow_B2HW[i, 1].numpy()
        for found_HW, image_HW in zip(found_B3HW[i], image_B3HW[i].numpy(), strict=True):
            expected_HW = cv2.remap(image_HW, *where, cv2.INTER_CUBIC)
            assert np.abs(found_HW - expected_HW).max() < 5e-4  # grey levels; measured 6e-5


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("size", [(16, 16), (33, 47)], ids=str)
def test_median_is_opencvs_to_the_bit(side: int, size: tuple[int, int]) -> None:
    flow_B2HW = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (3, 2, *size)).astype(np.float32))
    flow_B2HW[1] = flow_B2HW[1].round()  # many are equal
    found_B2HW = plain.median(flow_B2HW, side).numpy()
    for found_HW, flow_HW in zip(found_B2HW.reshape(-1, *size), flow_B2HW.numpy().reshape(-1, *size), strict=True):
        assert np.array_equal(found_HW, cv2.medianBlur(flow_HW, side))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 64, 1000, 1023, 1025])
def test_sums_miss_nothing(count: int) -> None:
    values_BN = torch.from_numpy(np.random.default_rng(0).integers(0, 1000, (3, count)).astype(np.float32))
    expected_B = values_BN.sum(1)  # whole numbers below 2**24: exact in any order
    assert torch.equal(plain.sum_of_each(values_BN.clone()), expected_B)


# -- bits


def test_bits_do_not_depend_on_the_batch() -> None:
    first_BHW, second_BHW = unlike_pairs()
    params = TvL1Params(outer_iterations=2)  # unrelated pictures never stop
    alone = [solver.solve_pairs(first_BHW[i : i + 1], second_BHW[i : i + 1], params) for i in range(5)]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 2, 0], [1, 4], [3, 0, 3, 2, 1, 4, 0, 2, 2]):
        together_B2HW = solver.solve_pairs(first_BHW[order], second_BHW[order], params)
        assert torch.equal(together_B2HW, torch.cat([alone[i] for i in order])), order


@pytest.mark.parametrize("capacity", [1, 2, 3, 100])
def test_bits_do_not_depend_on_how_many_are_solved_at_once(
    capacity: int, monkeypatch: pytest.MonkeyPatch, no_kept_solver: None
) -> None:
    first_BHW, second_BHW = unlike_pairs()
    usual_B2HW = solver.solve_pairs(first_BHW, second_BHW, BRIEF)
    solver._kept.clear()
    monkeypatch.setattr(solver, "_CPU_PIXELS", capacity * 40 * 52)
    assert torch.equal(solver.solve_pairs(first_BHW, second_BHW, BRIEF), usual_B2HW)
    assert solver._kept[0].solver.capacity == capacity


@pytest.mark.parametrize("look_every", [2, 5, 10, 1000])
@pytest.mark.parametrize("dual_dtype", [torch.float32, torch.int16], ids=str)
def test_bits_do_not_depend_on_when_pairs_that_stopped_are_taken_out(look_every: int, dual_dtype: torch.dtype) -> None:
    level = all_levels(40, 52, TvL1Params(outer_iterations=3), dual_dtype)[0]
    first_BHW, second_BHW = unlike_pairs()
    given = first_BHW.float(), with_gradients(second_BHW.float()), torch.zeros((5, 2, 40, 52))
    assert torch.equal(plain.solve_level(*given, level, look_every), plain.solve_level(*given, level))


class Leaving:
    """Plain operations; on one level some pairs are left to another solver, and forgotten."""

    def __init__(self, levels: tuple[LevelParams, ...], index: int, pairs: list[int]) -> None:
        self.capacity, self.levels, self.turn = 9, levels, nullcontext()
        self._usual, self._index, self._pairs = solver.PlainSolver(9, levels), index, pairs
        self.starts = 0

    def solve_level(
        self, index: int, first_BHW: Tensor, second_B3HW: Tensor, flow_B2HW: Tensor, without: Sequence[int] = ()
    ) -> tuple[Tensor, Late | None]:
        flow_B2HW, _ = self._usual.solve_level(index, first_BHW, second_B3HW, flow_B2HW)
        leaves = index == self._index
        flow_B2HW[self._pairs if leaves else list(without)] = 9.0
        return flow_B2HW, Late(self._pairs, self._usual, self.start) if leaves else None

    def start(self, work: Callable[[], Tensor]) -> "Future[Tensor]":
        self.starts += 1
        future: Future[Tensor] = Future()
        future.set_result(work())
        return future


@pytest.mark.parametrize(("index", "pairs"), [(1, [2]), (1, [4, 0]), (2, [0, 1, 2, 3, 4])])
def test_bits_do_not_depend_on_who_is_left_behind(index: int, pairs: list[int]) -> None:
    params = TvL1Params(warps=2, inner_iterations=12, outer_iterations=2, nscales=3)
    levels = all_levels(40, 52, params, torch.float32)
    usual_B2HW = solver.solve_batch(*unlike_pairs(), params, solver.PlainSolver(5, levels))
    leaving = Leaving(levels, index, pairs)
    assert torch.equal(solver.solve_batch(*unlike_pairs(), params, leaving), usual_B2HW)
    assert leaving.starts == 1


def test_a_failure_of_who_was_left_behind_is_the_batchs(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: Future[Tensor] = Future()
    failed.set_exception(torch.OutOfMemoryError("CUDA out of memory"))
    leaving = Leaving(all_levels(40, 52, BRIEF, torch.float32), 1, [2])
    monkeypatch.setattr(leaving, "start", lambda work: failed)
    with pytest.raises(torch.OutOfMemoryError):
        solver.solve_batch(*unlike_pairs(), BRIEF, leaving)


def test_bits_do_not_depend_on_threads() -> None:
    """At a size at which torch does use several."""
    pair_BHW = pictures(2, 200, 301)
    usual_B2HW = solver.solve_pairs(pair_BHW[:1], pair_BHW[1:], BRIEF)
    torch.set_num_threads(3)
    assert torch.equal(solver.solve_pairs(pair_BHW[:1], pair_BHW[1:], BRIEF), usual_B2HW)


@pytest.fixture
def odd_surroundings() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
        yield
    torch.set_default_dtype(torch.float32)


def test_training_in_lower_precision_around_it_changes_nothing(
    request: pytest.FixtureRequest, no_kept_solver: None
) -> None:
    first_BHW, second_BHW = unlike_pairs()
    usual_B2HW = solver.solve_pairs(first_BHW, second_BHW, BRIEF)
    request.getfixturevalue("odd_surroundings")
    solver._kept.clear()
    found_B2HW = solver.solve_pairs(first_BHW, second_BHW, BRIEF)
    assert found_B2HW.dtype == torch.float32
    assert not found_B2HW.requires_grad
    assert torch.equal(found_B2HW, usual_B2HW)


# -- 16-bit dual variables, as the kernels keep them


@pytest.mark.parametrize("preset", PRESETS)
def test_16_bits_change_less_than_chance(preset: str) -> None:
    """0.01 px is what OpenCV differs from itself when 0.001 grey levels are added. Measured 3e-5 to 0.002."""
    pair_BHW = pictures(2, 120, 160)
    flows = []
    for dual_dtype in (torch.float32, torch.int16):
        plain_solver = solver.PlainSolver(1, all_levels(120, 160, PRESETS[preset], dual_dtype))
        flows.append(solver.solve_batch(pair_BHW[:1], pair_BHW[1:], PRESETS[preset], plain_solver))
    difference_BHW = (flows[0] - flows[1]).norm(dim=1)[:, 8:-8, 8:-8]  # what enters at the border is anybody's guess
    assert difference_BHW.mean() < 0.01


@pytest.mark.parametrize("tau", [0.01, 0.25, 10])
def test_16_bits_never_wrap(tau: float) -> None:
    """Dual variables of the steepest flow come near the largest value, and stay below it."""
    level = all_levels(16, 16, TvL1Params(tau=tau), torch.int16)[0]
    x_W = torch.arange(16) * 1e6
    flow_B2HW = torch.stack([x_W.expand(16, 16), -x_W.expand(16, 16).T])[None].float()
    flat = torch.zeros((1, 3, 16, 16))
    linear = plain.linearise(flat[:, 0], flat, torch.zeros((1, 2, 16, 16)))
    dual_B4HW = torch.zeros((1, 4, 16, 16), dtype=torch.int16)
    for _ in range(20):
        _, dual_B4HW, _ = plain.step(flow_B2HW, flow_B2HW, dual_B4HW, linear, level)
    assert 31990 < dual_B4HW[0, 0].max() <= 32000
    assert -32000 <= dual_B4HW[0, 3].min() < -31990


# -- how it is called


def test_pairs_of_several_videos_in_one_batch() -> None:
    one, other = pictures(3), pictures(3, seed=5)
    flow_B2HW = solver.solve_pairs(torch.cat([one[:-1], other[:-1]]), torch.cat([one[1:], other[1:]]), BRIEF)
    expected = [solver.solve_torch(frames.numpy(), BRIEF, "cpu") for frames in (one, other)]
    assert np.array_equal(flow_B2HW.numpy(), np.concatenate(expected))


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 20, 20), (2, 20, 21)), ((2, 15, 20), (2, 15, 20)), ((20, 20), (20, 20)), ((0, 20, 20), (0, 20, 20))],
)
def test_refuses_what_are_not_pairs(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected two \(B >= 1, H >= 16, W >= 16\), got \("):
        solver.solve_pairs(torch.zeros(first), torch.zeros(second), BRIEF)


@pytest.fixture
def no_kept_solver() -> Iterator[None]:
    solver._kept.clear()
    yield
    solver._kept.clear()


def test_a_solver_is_kept_for_the_next_batch(no_kept_solver: None) -> None:
    find = lambda width, pairs: solver._find_solver(torch.device("cpu"), 40, width, BRIEF, pairs)  # noqa: E731
    kept = find(52, 5)
    assert find(52, 3) is kept
    assert find(52, 8) is kept  # made for a power of two
    assert find(52, 9) is not kept
    assert len(solver._kept) == 1
    find(60, 3)
    assert len(solver._kept) == 1


def test_without_triton_there_is_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "preprocessing.tvl1.gpu.fused", None)  # importing it fails
    solver._kernels_work.cache_clear()
    with pytest.warns(RuntimeWarning, match="plain torch operations"):
        assert not solver._kernels_work(torch.device("cpu"))
    solver._kernels_work.cache_clear()


def test_torch_is_imported_only_when_asked_for() -> None:
    code = (
        "import sys, preprocessing.tvl1 as t, numpy as np\n"
        "t.tvl1_flow(np.zeros((2, 16, 16), np.uint8), backend='opencv')\n"
        "sys.exit('torch' in sys.modules or 'triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
