"""What solvers make of pictures without an answer, and how they may be called.

Axes: T frames, H height, W width, 2 flow components (x, y).
"""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.tvl1 import Backend, TvL1Params, choose_backend, tvl1_flow
from tests.helpers.flow_pictures import (
    BRIEF,
    each_of_ours,
    every_backend,
    random_frames,
    shift,
    texture,
)


@every_backend
@pytest.mark.parametrize("size", [(16, 16), (31, 47), (90, 120)], ids=str)
def test_identical_frames_give_exactly_zero(backend: Backend, size: tuple[int, int]) -> None:
    frame = random_frames(*size)[0]
    assert not tvl1_flow(np.stack([frame, frame]), backend=backend).any()


@every_backend
@pytest.mark.parametrize(("first", "second"), [(0, 0), (128, 128), (255, 255), (0, 255), (90, 91)])
def test_constant_pictures_give_zero(backend: Backend, first: int, second: int) -> None:
    frames = np.stack([np.full((30, 40), value, np.uint8) for value in (first, second)])
    assert not tvl1_flow(frames, backend=backend).any()


@every_backend
@pytest.mark.parametrize("kind", ["noise", "black and white", "unrelated", "one bright pixel"])
def test_every_pixel_is_finite(backend: Backend, kind: str) -> None:
    rng = np.random.default_rng(1)
    frames = {
        "noise": rng.integers(0, 256, (2, 33, 47), dtype=np.uint8),
        "black and white": rng.integers(0, 2, (2, 33, 47), dtype=np.uint8) * np.uint8(255),
        "unrelated": np.stack([random_frames(33, 47, seed=seed)[0] for seed in (1, 2)]),
        "one bright pixel": np.zeros((2, 33, 47), np.uint8),
    }[kind]
    if kind == "one bright pixel":
        frames[0, 0, 0] = frames[1, -1, -1] = 255
    flow = tvl1_flow(frames, backend=backend)
    assert np.isfinite(flow).all()
    assert np.abs(flow).max() < 100


@every_backend
def test_a_moving_picture_is_finite_up_to_its_border(backend: Backend) -> None:
    flow = tvl1_flow(np.stack([texture(shift(0, 0)), texture(shift(-4, 3))]), backend=backend)
    assert np.isfinite(flow).all()


@every_backend
def test_many_frames_are_solved_pair_by_pair(backend: Backend) -> None:
    """The bits of a pair do not depend on its neighbours, however unlike they are."""
    frames = random_frames(40, 52, count=5)
    frames[2] = 0
    params = TvL1Params(nscales=2, warps=3, outer_iterations=3)  # pairs with the black frame never converge
    together = tvl1_flow(frames, params, backend)
    assert together.shape == (4, 2, 40, 52)
    for flow_2HW, pair in zip(together, pairwise(frames), strict=True):
        assert np.array_equal(flow_2HW, tvl1_flow(np.stack(pair), params, backend)[0])


@pytest.mark.parametrize("num_threads", [2, 3, 8])
def test_any_number_of_threads_gives_the_same_bits(num_threads: int) -> None:
    frames = random_frames(64, 80, count=6)
    one = tvl1_flow(frames, backend="numba")
    for _ in range(3):
        assert np.array_equal(one, tvl1_flow(frames, backend="numba", num_threads=num_threads))


@each_of_ours
def test_the_same_bits_every_time(backend: Backend) -> None:
    frames = np.stack([texture(shift(0, 0)), texture(shift(2.5, 1.25))])
    assert np.array_equal(tvl1_flow(frames, backend=backend), tvl1_flow(frames, backend=backend))


@every_backend
def test_frames_are_only_read(backend: Backend) -> None:
    frames = random_frames(40, 52, count=3)
    before = frames.copy()
    usual = tvl1_flow(frames, BRIEF, backend)
    assert np.array_equal(frames, before)
    frames.flags.writeable = False
    assert np.array_equal(tvl1_flow(frames, BRIEF, backend), usual)


@every_backend
def test_results_are_not_shared(backend: Backend) -> None:
    frames = random_frames(40, 52)
    first = tvl1_flow(frames, BRIEF, backend)
    kept = first.copy()
    tvl1_flow(random_frames(40, 52, seed=5), BRIEF, backend)
    assert np.array_equal(first, kept)


@every_backend
def test_frames_may_lie_anyhow_in_memory(backend: Backend) -> None:
    frames = random_frames(40, 52, count=3)
    usual = tvl1_flow(frames, BRIEF, backend)
    spread = np.zeros((3, 80, 156), np.uint8)
    spread[:, ::2, ::3] = frames
    turned = np.ascontiguousarray(frames.transpose(0, 2, 1))
    backwards = np.ascontiguousarray(frames[::-1, ::-1, ::-1])
    for view in (spread[:, ::2, ::3], turned.transpose(0, 2, 1), backwards[::-1, ::-1, ::-1]):
        assert not view.flags.c_contiguous
        assert np.array_equal(tvl1_flow(view, BRIEF, backend), usual)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 32, 32, 3), np.uint8),
        np.zeros((32, 32), np.uint8),
        np.zeros((1, 32, 32), np.uint8),
        np.zeros((0, 32, 32), np.uint8),
        np.zeros((2, 32, 32), np.float32),
        np.zeros((2, 32, 32), np.int8),
    ],
    ids=lambda frames: f"{frames.dtype} {frames.shape}",
)
@every_backend
def test_refuses_what_are_not_grey_frames(backend: Backend, frames: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(T >= 2, H, W\), got"):
        tvl1_flow(frames, backend=backend)  # type: ignore[arg-type]


@every_backend
@pytest.mark.parametrize("size", [(15, 40), (40, 15), (0, 0), (1, 1)], ids=str)
def test_refuses_pictures_that_are_too_small(backend: Backend, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 16 x 16 pixels"):
        tvl1_flow(np.zeros((2, *size), np.uint8), backend=backend)


def test_refuses_unknown_backends_and_no_threads() -> None:
    with pytest.raises(ValueError, match="cuda.*numba, torch, opencv"):
        choose_backend("cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_threads must be at least 1, got 0"):
        tvl1_flow(random_frames(16, 16), backend="numba", num_threads=0)
