"""Every solver against motion that is known.

Axes: T frames, H height, W width, 2 flow components (x, y).
"""

import numpy as np
import pytest

from kinebert.preprocessing.tvl1 import PRESETS, Backend, TvL1Params, tvl1_flow
from tests.helpers.flow_pictures import Float32, error_px, every_backend, shift, texture, true_flow


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
