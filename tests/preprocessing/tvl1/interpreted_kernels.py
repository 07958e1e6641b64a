"""The Triton kernels in Triton's interpreter, against plain torch operations. Run by test_gpu_kernels.py, which sets
TRITON_INTERPRET before Triton is imported: by itself this file does nothing.

The interpreter takes about 0.1 s for one tile, so pictures are small, and tiles are cut to them.

Axes: B pairs, H height, W width, 2 flow components (x, y), 4 dual variables.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs TRITON_INTERPRET=1")

# ruff: noqa: E402 - the kernels must not be imported without the interpreter
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.tvl1.gpu import beside, fused, kernels, plain, solver, warping
from kinebert.preprocessing.tvl1.gpu.level import LevelParams, all_levels
from kinebert.preprocessing.tvl1.gpu.resample import with_gradients

CPU = torch.device("cpu")
NEEDS_WARP, NEEDS_MEDIAN, ITERATES, DONE = 0, 1, 2, 3


torch.set_num_threads(1)  # in a process of its own


def tiles(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    tile = {"BLOCK_Y": height, "BLOCK_X": width}
    monkeypatch.setattr(fused, "_TILE", tile)
    monkeypatch.setattr(fused, "_SMALL_TILE", tile)


def normal(*shape: int, scale: float = 1, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32))


def level_of(height: int, width: int, dual_dtype: torch.dtype = torch.float32, **params: Any) -> LevelParams:
    return all_levels(height, width, TvL1Params(nscales=1, **params), dual_dtype)[0]


def ready(level: LevelParams, states: list[tuple[int, int, int]], capacity: int = 4) -> fused.FusedSolver:
    """A solver in the middle of its work: (phase, slot, warp) of each pair; every plane holds noise."""
    made = fused.FusedSolver(capacity, (level,), CPU)
    for i, name in enumerate(("_flow", "_gradient", "_constant")):
        buffer = getattr(made, name)
        buffer.copy_(normal(buffer.numel(), scale=(2, 5, 10)[i], seed=i))
    dual = normal(made._dual.numel(), scale=0.3, seed=4)
    made._dual.copy_((dual * level.dual_scale).round() if level.dual_dtype == torch.int16 else dual)
    for pair, state in enumerate(states):
        made._state[pair, :5] = torch.tensor([*state, 0, 0])
    made._launch_order()
    return made


# -- one kernel each


@pytest.mark.parametrize("dual_dtype", [torch.float32, torch.int16], ids=str)
@pytest.mark.parametrize("is_first", [False, True])
def test_step(dual_dtype: torch.dtype, is_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles with and without a border, pairs in every phase, in one launch; the rows of a picture end inside of a tile.

    The pair that is new has dual variables that rest; the one that starts a round goes on from its filtered flow.
    """
    tiles(monkeypatch, 8, 16)
    h, w = 21, 45
    level = level_of(h, w, dual_dtype)
    made = ready(level, [(ITERATES, 0, 1), (NEEDS_WARP, 1, 0), (DONE, 0, 4), (NEEDS_MEDIAN, 1, 2)])
    flow_B32HW, dual_B24HW = made._flow.view(4, 3, 2, h, w), made._dual.view(4, 2, 4, h, w)
    dual_B24HW[..., :, -1:][:, :, 0::2] = 0  # what a derivative across the border leaves: nothing
    dual_B24HW[..., -1:, :][:, :, 1::2] = 0
    dual_B24HW[1] = 0
    flow_before, dual_before = flow_B32HW.clone(), dual_B24HW.clone()
    gradient_B2HW, constant_BHW = made._gradient.view(4, 2, h, w), made._constant.view(4, h, w)
    gradient_B2HW[:, :, 3:5, 7:9] = 0
    square_BHW = gradient_B2HW.square().sum(1)
    inverse_BHW = torch.where(square_BHW > 1.2e-7, -1 / square_BHW, 0)
    state_before = made._state.clone()

    made._launch_step(level, is_first)

    steps = {0: (0, 0, True)}  # pair: slot, slot of the flow to start from, whether the dual variables move
    if is_first:
        steps |= {1: (1, 2, False), 3: (1, 2, True)}
    for pair in range(4):
        if pair not in steps:
            assert torch.equal(flow_B32HW[pair], flow_before[pair])
            assert torch.equal(dual_B24HW[pair], dual_before[pair])
            assert torch.equal(made._state[pair], state_before[pair])
            continue
        slot, source, moves = steps[pair]
        one = slice(pair, pair + 1)
        linear = plain.Linearised(gradient_B2HW[one], constant_BHW[one], inverse_BHW[one])
        flow_B2HW, dual_B4HW, change_B = plain.step(
            flow_before[one, source], flow_before[one, slot], dual_before[one, slot], linear, level, moves
        )
        assert (flow_B32HW[one, 1 - slot] - flow_B2HW).abs().max() < 1e-5
        one_count = 1.01 if dual_dtype == torch.int16 else 1e-5  # a value that lies between two may go to either
        assert (dual_B24HW[one, 1 - slot].float() - dual_B4HW.float()).abs().max() < one_count
        assert torch.equal(flow_B32HW[pair, slot], flow_before[pair, slot])
        partial_BN = made._partial[: 4 * 9].view(4, 9)
        assert partial_BN[pair].sum() == pytest.approx(float(change_B), rel=1e-5)
        assert made._state[pair, 1] == 1 - slot


@pytest.mark.parametrize("spread", [0.7, 30, 1e6])
def test_warp(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles(monkeypatch, 16, 32)
    h, w = 19, 37
    made = ready(level_of(h, w), [(NEEDS_WARP, 1, 0), (ITERATES, 0, 0), (NEEDS_MEDIAN, 0, 1), (NEEDS_WARP, 0, 3)])
    made._flow *= spread
    first_BHW = normal(4, h, w, scale=60, seed=8)
    second_B3HW = with_gradients(normal(4, h, w, scale=60, seed=9))
    made._first.copy_(first_BHW.flatten())
    made._second.copy_(second_B3HW.flatten())
    gradient_before, constant_before = made._gradient.clone().view(4, 2, h, w), made._constant.clone().view(4, h, w)

    warping.warp_kernel[(3,)](
        made._flow, made._first, made._second, made._gradient, made._constant, made._state, made._order, h, w,
        BLOCK_Y=16, BLOCK_X=32,
    )  # fmt: skip

    gradient_B2HW, constant_BHW = made._gradient.view(4, 2, h, w), made._constant.view(4, h, w)
    for pair, slot in ((0, 1), (3, 0)):
        one = slice(pair, pair + 1)
        linear = plain.linearise(first_BHW[one], second_B3HW[one], made._flow.view(4, 3, 2, h, w)[one, slot])
        assert (gradient_B2HW[one] - linear.gradient).abs().max() < 1e-4
        assert torch.allclose(constant_BHW[one], linear.constant, rtol=1e-5, atol=1e-3)
    for pair in (1, 2):
        assert torch.equal(gradient_B2HW[pair], gradient_before[pair])
        assert torch.equal(constant_BHW[pair], constant_before[pair])


@pytest.mark.parametrize("side", [3, 5])
def test_median(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: nothing is computed, only chosen."""
    h, w = 19, 37
    made = ready(level_of(h, w), [(NEEDS_WARP, 1, 0), (ITERATES, 0, 0), (NEEDS_MEDIAN, 0, 1), (DONE, 0, 4)])
    flow_B32HW = made._flow.view(4, 3, 2, h, w)
    before = flow_B32HW.clone()
    warping.median_kernel[(3,)](
        made._flow, made._state, made._order, h, w, **fused._network(side), BLOCK_Y=16, BLOCK_X=32
    )
    for pair, slot in ((0, 1), (2, 0)):
        assert torch.equal(flow_B32HW[pair, 2], plain.median(before[pair : pair + 1, slot], side)[0])
    assert torch.equal(flow_B32HW[:, :2], before[:, :2])
    assert torch.equal(flow_B32HW[[1, 3]], before[[1, 3]])


def decided(phase: int, slot: int, warp: int, round_: int, iteration: int, stops: bool, is_first: bool) -> list[int]:
    """What a pair needs next, in words of Python: 3 warps of 2 rounds of 4 iterations."""
    if phase == DONE or (phase != ITERATES and not is_first):
        return [phase, slot, warp, round_, iteration]
    iteration += 1
    if stops or (iteration == 4 and round_ == 1):
        return [DONE if warp == 2 else NEEDS_WARP, 1 - slot, warp + 1, 0, 0]
    if iteration == 4:
        return [NEEDS_MEDIAN, 1 - slot, warp, round_ + 1, 0]
    return [ITERATES, 1 - slot, warp, round_, iteration]


@pytest.mark.parametrize("is_first", [False, True])
def test_decide(is_first: bool) -> None:
    """Every state that there is, with as many tiles as take several turns."""
    cases = [(p, s, w, r, 0 if p < ITERATES else i, stops) for p, s, w, r, i, stops in
             product(range(4), (0, 1), range(3), (0, 1), (1, 3), (False, True))]  # fmt: skip
    cases = sorted(set(cases))
    state = torch.zeros((len(cases), kernels.FIELDS.value), dtype=torch.int32)
    state[:, :5] = torch.tensor([case[:5] for case in cases])
    partial_BN = torch.ones((len(cases), 21))
    partial_BN[[case[5] for case in cases], 20] = 0.5  # the last one decides
    before = state.clone()
    listed = [i for i in range(len(cases)) if i % 3]
    order = torch.tensor([len(listed), *listed, *[0] * (len(cases) - len(listed))], dtype=torch.int32)
    programs = len(listed) + 2  # more than are needed: a chunk is made for so many
    kernels.decide_kernel[(programs,)](state, order, partial_BN, 21, 20.5, 3, 2, 4, IS_FIRST=is_first, BLOCK=8)
    for i, (found, case) in enumerate(zip(state.tolist(), cases, strict=True)):
        expected = decided(*case, is_first=is_first) if i in listed else before[i, :5].tolist()
        assert found[:5] == expected, case


@pytest.mark.parametrize("phases", [[0, 3, 2, 3, 1], [3, 3, 3], [2], [3], [0] * 8])
def test_order(phases: list[int]) -> None:
    state = torch.full((len(phases), kernels.FIELDS.value), 7, dtype=torch.int32)
    state[:, 0] = torch.tensor(phases)
    order = torch.full((len(phases) + 1,), -1, dtype=torch.int32)
    block = 1 << (len(phases) - 1).bit_length()
    kernels.order_kernel[(1,)](state, order, len(phases), BLOCK=block)
    left = [i for i, phase in enumerate(phases) if phase != DONE]
    assert order[: len(left) + 1].tolist() == [len(left), *left]
    assert (order[len(left) + 1 :] == -1).all()


# -- all of them together


def pictures(seed: int, height: int = 16, width: int = 18) -> Tensor:
    """Two smooth pictures ``(2, H, W)``, one moved against the other."""
    noise = torch.nn.functional.avg_pool2d(normal(1, 1, height + 8, width + 8, scale=300, seed=seed), 5, 1)[0, 0]
    return torch.stack([noise[1 : height + 1, 1 : width + 1], noise[2 : height + 2, 1 : width + 1]]) + 128


PARAMS = TvL1Params(warps=2, outer_iterations=2, inner_iterations=3, nscales=1, epsilon=0.05)


@pytest.mark.parametrize(
    ("dual_dtype", "median_filtering"),
    [
        (torch.float32, 1),
        (torch.int16, 5),
        pytest.param(torch.float32, 5, marks=pytest.mark.slow),
        pytest.param(torch.int16, 1, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_level_is_that_of_plain_operations(
    dual_dtype: torch.dtype, median_filtering: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs that stop at different times, one that is still, and places for two more."""
    tiles(monkeypatch, 16, 32)
    params = TvL1Params(**{**vars(PARAMS), "median_filtering": median_filtering})
    moving, other = pictures(0), pictures(1)
    first_BHW = torch.stack([moving[0], moving[0], other[0]])
    second_BHW = torch.stack([moving[1], moving[0], moving[1]])
    levels = all_levels(16, 18, params, dual_dtype)
    found_B2HW = solver.solve_batch(first_BHW, second_BHW, params, fused.FusedSolver(5, levels, CPU))
    expected_B2HW = solver.solve_batch(first_BHW, second_BHW, params, solver.PlainSolver(3, levels))
    assert (found_B2HW - expected_B2HW).abs().max() < (1e-5 if dual_dtype == torch.float32 else 2e-3)
    assert found_B2HW[0].abs().max() > 0.1
    assert not found_B2HW[1].any()


def test_two_levels_one_batch_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left in the buffers by one batch must not show in the next; bits do not depend on the company."""
    tiles(monkeypatch, 32, 32)
    monkeypatch.setattr(fused, "STEPS_PER_CHUNK", 2)
    params = TvL1Params(warps=1, outer_iterations=1, inner_iterations=3, nscales=2)  # the second chunk is half idle
    levels = all_levels(20, 22, params, torch.int16)
    assert len(levels) == 2
    made = fused.FusedSolver(3, levels, CPU)
    images = [pictures(seed, 20, 22) for seed in range(3)]

    def solve(pairs: list[int], by: fused.FusedSolver) -> Tensor:
        first_BHW, second_BHW = (torch.stack([images[pair][i] for pair in pairs]) for i in (0, 1))
        return solver.solve_batch(first_BHW, second_BHW, params, by)

    together_B2HW = solve([0, 1, 2], made)
    assert torch.equal(solve([2, 0], made), together_B2HW[[2, 0]])
    assert torch.equal(solve([1], fused.FusedSolver(1, levels, CPU)), together_B2HW[[1]])
    plain_B2HW = solve([0, 1, 2], solver.PlainSolver(3, levels))  # type: ignore[arg-type]
    assert (together_B2HW - plain_B2HW).abs().max() < 2e-3


def test_number_of_programs_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles(monkeypatch, 8, 16)
    levels = all_levels(16, 18, TvL1Params(nscales=1, warps=1, outer_iterations=1, inner_iterations=2), torch.float32)
    first_BHW, second_BHW = torch.stack([pictures(0), pictures(1)]).unbind(1)
    flows = []
    for programs in (3, 8):  # for 8 tiles
        monkeypatch.setattr(fused, "_PROGRAMS_PER_PROCESSOR", programs)
        flows.append(solver.solve_batch(first_BHW, second_BHW, PARAMS, fused.FusedSolver(2, levels, CPU)))
    assert torch.equal(flows[0], flows[1])


def test_when_few_are_left_the_rest_costs_nothing_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair of unrelated pictures goes on for long after the others, in chunks with programs for so few."""
    tiles(monkeypatch, 16, 32)
    monkeypatch.setattr(fused, "STEPS_PER_CHUNK", 2)
    params = TvL1Params(warps=2, outer_iterations=2, inner_iterations=4, nscales=1, epsilon=0.3)
    moving, other = pictures(0), pictures(1)
    first_BHW, second_BHW = (
        torch.stack([moving[0], other[0], moving[0]]),
        torch.stack([moving[0], moving[1], moving[0]]),
    )
    flows, launched = [], []
    before = fused.FusedSolver._launch_chunk

    def noted(self: fused.FusedSolver, level: LevelParams, pairs: int) -> None:
        launched.append(pairs)
        before(self, level, pairs)

    monkeypatch.setattr(fused.FusedSolver, "_launch_chunk", noted)
    for few in (4, 1):
        monkeypatch.setattr(fused, "FEW", few)
        made = fused.FusedSolver(4, all_levels(16, 18, params, torch.int16), CPU)
        flows.append(solver.solve_batch(first_BHW, second_BHW, params, made))
        launched.append(0)
    usual, small = launched[: launched.index(0)], launched[launched.index(0) + 1 : -1]
    assert set(usual) == {4}
    assert small == [4] * small.count(4) + [1] * small.count(1)
    assert small.count(1) >= 2
    assert len(small) == len(usual)
    assert torch.equal(flows[0], flows[1])


@pytest.mark.slow
def test_a_scene_cut_in_company_has_the_bits_that_it_has_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles(monkeypatch, 16, 32)
    monkeypatch.setattr(fused, "FEW", 1)
    moving, other = pictures(0), pictures(1)
    first_BHW, second_BHW = (
        torch.stack([moving[0], other[0], moving[0]]),
        torch.stack([moving[1], moving[1], moving[0]]),
    )
    levels = all_levels(16, 18, PARAMS, torch.int16)
    together = solver.solve_batch(first_BHW, second_BHW, PARAMS, fused.FusedSolver(3, levels, CPU))
    for i in range(3):
        one = slice(i, i + 1)
        alone = solver.solve_batch(first_BHW[one], second_BHW[one], PARAMS, fused.FusedSolver(1, levels, CPU))
        assert torch.equal(alone, together[one])


def test_a_pair_that_takes_long_is_solved_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on to the next level without it; its bits are those that it has alone."""
    tiles(monkeypatch, 32, 32)
    for name, value in {"FEW": 1, "PATIENCE": 1, "STEPS_PER_CHUNK": 2, "BUSY_PIXELS": 2 * 20 * 22}.items():
        monkeypatch.setattr(fused, name, value)
    params = TvL1Params(warps=1, outer_iterations=2, inner_iterations=4, nscales=2, epsilon=0.01, median_filtering=1)
    still, other = pictures(0, 20, 22), pictures(1, 20, 22)
    first_BHW, second_BHW = torch.stack([still[0], other[0], still[0]]), torch.stack([still[0], still[1], still[0]])
    levels = all_levels(20, 22, params, torch.int16)
    launched = []
    before = fused.FusedSolver._launch_chunk

    def noted(self: fused.FusedSolver, level: LevelParams, pairs: int) -> None:
        launched.append((self.is_urgent, level.height))
        before(self, level, pairs)

    def start(self: beside.Beside, work: Callable[[], Tensor]) -> "Future[Tensor]":
        recorded.append((set(made._chunks), set(made._small._chunks)))
        return before_start(self, work)

    recorded: list[tuple[set[tuple[int, int]], set[tuple[int, int]]]] = []
    before_start = beside.Beside.start
    monkeypatch.setattr(beside.Beside, "start", start)
    monkeypatch.setattr(fused.FusedSolver, "_launch_chunk", noted)
    made = fused.FusedSolver(3, levels, CPU)
    together = solver.solve_batch(first_BHW, second_BHW, params, made)
    assert recorded == [({(i, pairs) for i in (0, 1) for pairs in (1, 3)}, {(0, 1), (1, 1)})], "not beside the others"
    assert launched.count((False, 16)) == 2, "one after which it is alone, and one of patience"
    assert launched.count((True, 16)) == launched.count((True, 20)) == 4, "all chunks there are"
    assert launched.count((False, 20)) == 1
    assert torch.equal(solver.solve_batch(first_BHW, second_BHW, params, made), together), "the small solver again"
    launched.clear()
    monkeypatch.setattr(fused, "BUSY_PIXELS", 3 * 20 * 22)
    assert torch.equal(solver.solve_batch(first_BHW, second_BHW, params, made), together)
    assert not any(is_urgent for is_urgent, _ in launched), "so few would not keep a device busy"
