"""Every solver against motion that is known, against OpenCV where few iterations leave no room for chance, and at the
edges of what it takes.

Axes: T frames, H height, W width, 2 flow components (x, y).
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.tvl1 import PRESETS, Backend, TvL1Params, choose_backend, tvl1_flow
from tests.helpers.videos import smooth

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

BACKENDS: tuple[Backend, ...] = ("opencv", "numba", "torch")
OURS: tuple[Backend, ...] = ("numba", "torch")
BRIEF = TvL1Params(warps=2, inner_iterations=4, outer_iterations=2, epsilon=1e-6)
"""So few iterations that solvers differ by rounding only, and that a test takes no time."""

every_backend = pytest.mark.parametrize("backend", BACKENDS)
each_of_ours = pytest.mark.parametrize("backend", OURS)


def texture(motion_23: Sequence[Sequence[float]], size: tuple[int, int] = (160, 120), grain: float = 3) -> UInt8:
    """Return a smooth random texture of ``size`` (width, height), moved by an affine map about its middle.

    Args:
        motion_23: Where a point (x, y), in pixels from the middle, goes: ``motion_23 @ (x, y, 1)``.
        size: Width and height in pixels.
        grain: Sigma of the blur in pixels: the size of the texture's features.
    """
    width, height = size[0] + 80, size[1] + 80
    noise = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    matrix = np.array(motion_23, np.float64)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] += middle - matrix[:, :2] @ middle
    moved = cv2.warpAffine(
        smooth(noise, grain), matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.clip(np.rint(moved[40:-40, 40:-40]), 0, 255).astype(np.uint8)


def shift(dx: float, dy: float) -> list[list[float]]:
    return [[1, 0, dx], [0, 1, dy]]


def true_flow(motion_23: Sequence[Sequence[float]], size: tuple[int, int] = (160, 120)) -> Float32:
    """Displacement ``(2, H, W)`` of every point of :func:`texture` ``(shift(0, 0), size)``."""
    x_HW, y_HW = np.meshgrid(np.arange(size[0]) - (size[0] - 1) / 2, np.arange(size[1]) - (size[1] - 1) / 2)
    points = np.stack([x_HW, y_HW, np.ones_like(x_HW)])
    return (np.tensordot(np.array(motion_23), points, 1) - points[:2]).astype(np.float32)


def error_px(flow_2HW: Float32, truth_2HW: Float32) -> Float32:
    """Return the end-point error away from the border, where flow has no data to rest on."""
    return np.hypot(*(flow_2HW - truth_2HW))[16:-16, 16:-16]


def random_frames(height: int, width: int, count: int = 2, seed: int = 0) -> UInt8:
    """Blurred noise ``(count, H, W)`` that moves a little and changes a little from frame to frame."""
    rng = np.random.default_rng(seed)
    noise_HW = cv2.GaussianBlur(rng.uniform(0, 255, (height + 8, width + 8)).astype(np.float32), (0, 0), 1.5)
    noise_HW = (noise_HW - noise_HW.min()) * (255 / np.ptp(noise_HW))
    frames = [noise_HW[t % 4 : height + t % 4, t % 3 : width + t % 3] for t in range(count)]
    return np.stack([np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8) for frame in frames])


# -- motion that is known


@every_backend
@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (0.25, -0.6), (2.5, 1.25), (-6, 4)])
def test_recovers_a_known_translation(backend: Backend, dx: float, dy: float) -> None:
    flow = tvl1_flow(np.stack([texture(shift(0, 0)), texture(shift(dx, dy))]), backend=backend)
    assert flow.shape == (1, 2, 120, 160)
    assert flow.dtype == np.float32
    assert np.median(error_px(flow[0], true_flow(shift(dx, dy)))) < 0.05


@every_backend
@pytest.mark.parametrize(
    "motion",
    [
        pytest.param([[np.cos(0.04), -np.sin(0.04), 0], [np.sin(0.04), np.cos(0.04), 0]], id="rotation"),
        pytest.param([[1.04, 0, 0], [0, 1.04, 0]], id="zoom in"),
        pytest.param([[0.96, 0, 1], [0, 0.96, -0.5]], id="zoom out and pan"),
    ],
)
def test_recovers_rotation_and_zoom(backend: Backend, motion: list[list[float]]) -> None:
    """Up to 4 px at the corners."""
    flow = tvl1_flow(np.stack([texture(shift(0, 0)), texture(motion)]), backend=backend)
    error = error_px(flow[0], true_flow(motion))
    assert np.median(error) < 0.05
    assert np.percentile(error, 95) < 0.2


FAR_SIZE, FAR = (256, 256), shift(20, 0)


def far_error(params: TvL1Params, backend: Backend) -> Float32:
    """Errors for a fine texture that moves by 20 px, where it does not leave the picture."""
    frames = np.stack([texture(shift(0, 0), FAR_SIZE, grain=2.5), texture(FAR, FAR_SIZE, grain=2.5)])
    return error_px(tvl1_flow(frames, params, backend)[0], true_flow(FAR, FAR_SIZE))[:, :-20]


@every_backend
def test_wide_finds_a_large_motion_of_fine_texture(backend: Backend) -> None:
    error = far_error(TvL1Params(scale_step=0.5), backend)
    assert np.median(error) < 0.05
    assert np.percentile(error, 90) < 0.05


def test_classic_misses_that_motion() -> None:
    """By one solver only: lost, it runs through all of its iterations."""
    assert np.median(far_error(PRESETS["classic"], "numba")) > 10


# -- against OpenCV, where only rounding can differ


@each_of_ours
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tau": 0.1},
        {"lambda_": 0.05},
        {"theta": 0.5},
        {"nscales": 1},
        {"nscales": 20},
        {"scale_step": 0.5},
        {"scale_step": 0.65},
        {"warps": 1},
        {"warps": 7, "nscales": 2},  # at all levels, 35 warps make much of little
        {"epsilon": 0.05},
        {"inner_iterations": 1},
        {"inner_iterations": 13},
        {"outer_iterations": 1},
        {"outer_iterations": 5},
        {"median_filtering": 1},
        {"median_filtering": 3},
    ],
    ids=str,
)
def test_every_parameter_means_what_it_means_to_opencv(backend: Backend, change: dict[str, float]) -> None:
    params = TvL1Params(**{**vars(BRIEF), **change})  # type: ignore[arg-type]
    frames = random_frames(57, 91)
    assert_alike(tvl1_flow(frames, params, backend), tvl1_flow(frames, params, "opencv"))


def assert_alike(flow: Float32, reference: Float32) -> None:
    """Measured with the same formulas in NumPy: mean 1e-6 to 1e-5, 99th percentile below 2e-4 px.

    Rounding may move single pixels that sit on a threshold, but not the picture.
    """
    assert flow.shape == reference.shape
    difference = np.abs(flow - reference)
    assert difference.mean() < 1e-4
    assert np.percentile(difference, 99) < 1e-3


@each_of_ours
@pytest.mark.parametrize("height", [16, 17, 23])
def test_every_width_from_16_on(backend: Backend, height: int) -> None:
    """Vectors and tiles end somewhere; every remainder is met."""
    for width in range(16, 51):
        frames = random_frames(height, width, seed=width)
        assert_alike(tvl1_flow(frames, BRIEF, backend), tvl1_flow(frames, BRIEF, "opencv"))


@each_of_ours
@pytest.mark.parametrize("size", [(16, 300), (300, 16), (57, 41), (171, 128), (101, 99), (65, 130), (64, 64)], ids=str)
def test_odd_sizes(backend: Backend, size: tuple[int, int]) -> None:
    frames = random_frames(*size)
    assert_alike(tvl1_flow(frames, BRIEF, backend), tvl1_flow(frames, BRIEF, "opencv"))


@each_of_ours
def test_one_size_after_another(backend: Backend) -> None:
    """What is kept from a large pair must not show in a small one."""
    sizes = [(90, 120), (16, 20), (120, 90), (33, 47), (90, 120)]
    flows = [tvl1_flow(random_frames(*size), BRIEF, backend) for size in sizes]
    assert np.array_equal(flows[0], flows[-1])
    for size, flow in zip(sizes, flows, strict=True):
        assert_alike(flow, tvl1_flow(random_frames(*size), BRIEF, "opencv"))


@each_of_ours
def test_wide_is_opencvs_own_at_half_steps(backend: Backend) -> None:
    """Whole runs, hundreds of iterations: measured 0.00 to 0.01 px."""
    frames = np.stack([texture(shift(0, 0)), texture(shift(3, -1))])
    reference = tvl1_flow(frames, TvL1Params(scale_step=0.5), "opencv")
    assert error_px(tvl1_flow(frames, PRESETS["wide"], backend)[0], reference[0]).mean() < 0.02


# -- options that OpenCV does not have


def test_opencv_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="level"):
        tvl1_flow(random_frames(20, 20), PRESETS["fast"], "opencv")


@each_of_ours
def test_options_of_levels_at_the_values_of_all_change_nothing(backend: Backend) -> None:
    frames = random_frames(60, 80)
    usual = tvl1_flow(frames, TvL1Params(), backend)
    assert np.array_equal(usual, tvl1_flow(frames, TvL1Params(level_warps=(5,), level_epsilon=(0.01,) * 9), backend))


@each_of_ours
def test_options_of_levels_count_from_the_finest_and_go_on_with_the_last(backend: Backend) -> None:
    frames = random_frames(60, 80)
    usual = tvl1_flow(frames, TvL1Params(nscales=2, warps=2), backend)
    assert np.array_equal(usual, tvl1_flow(frames, TvL1Params(nscales=2, level_warps=(2, 2, 1)), backend))
    assert not np.array_equal(usual, tvl1_flow(frames, TvL1Params(nscales=2, level_warps=(2, 1)), backend))


@each_of_ours
@pytest.mark.parametrize("change", [{"level_warps": (5, 1)}, {"level_epsilon": (0.01, 0.1)}], ids=str)
def test_options_of_levels_have_an_effect(backend: Backend, change: dict[str, tuple[float, ...]]) -> None:
    frames = random_frames(60, 80)
    assert not np.array_equal(
        tvl1_flow(frames, TvL1Params(**change), backend),  # type: ignore[arg-type]
        tvl1_flow(frames, TvL1Params(), backend),
    )


# -- pictures without an answer


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


# -- how it is called


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
