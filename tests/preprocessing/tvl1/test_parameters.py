"""Every parameter means what it means to OpenCV, where few iterations leave no room for chance; and those of our own.

Axes: T frames, H height, W width, 2 flow components (x, y).
"""

import numpy as np
import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.tvl1 import PRESETS, Backend, TvL1Params, tvl1_flow
from tests.helpers.flow_pictures import BRIEF, Float32, each_of_ours, error_px, random_frames, shift, texture


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
