"""What is special to the solver for CPUs: its parts against OpenCV's, its memory, and the same bits everywhere.

Axes: T frames, H height, W width, 2 components (x, y).
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params, tvl1_flow
from kinebert.preprocessing.tvl1.cpu import warp as warping
from kinebert.preprocessing.tvl1.cpu.layout import BLOCK, U1, blocks_per_row
from kinebert.preprocessing.tvl1.cpu.median import filter_medians, scratch_size
from kinebert.preprocessing.tvl1.cpu.solver import build_pyramid, solve_sequence
from kinebert.preprocessing.tvl1.cpu.vectors import LANES
from kinebert.preprocessing.tvl1.cpu.workspace import Workspace
from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing
from tests.helpers.videos import smooth

Float32 = NDArray[np.float32]
SIZES = [(16, 16), (17, 23), (33, 32), (40, 64), (57, 41)]
PARAMS = [
    *PRESETS.values(),
    TvL1Params(median_filtering=1, nscales=3, warps=2),
    TvL1Params(median_filtering=3, warps=1),
]


def textures(height: int, width: int) -> NDArray[np.uint8]:
    """Three frames: a texture, the same moved by a little, and something else."""
    rng = np.random.default_rng(height * 1000 + width)
    noise = smooth(rng.uniform(0, 255, (height + 8, width + 8)).astype(np.float32), 1.5)
    frames = noise[4:-4, 4:-4], noise[3:-5, 2:-6], rng.uniform(0, 255, (height, width))
    return np.stack(frames).astype(np.uint8)


def fingerprint() -> str:
    """Digest of the flow of frames of many sizes; another interpreter calls it as well."""
    digest = hashlib.sha256()
    for size in SIZES:
        for params in PARAMS:
            digest.update(tvl1_flow(textures(*size), params, "numba").tobytes())
    return digest.hexdigest()


@pytest.fixture
def workspace() -> Workspace:
    return Workspace(57, 41, TvL1Params())


def blocks_of(workspace: Workspace, level: int = 0) -> Float32:
    """State of a level as ``(rows, blocks, quantities, lanes)``, without the row of zeros before it."""
    height, _, blocks = (int(value) for value in workspace.levels[level][:3])
    return workspace.memory[0][: (height + 1) * blocks * BLOCK].reshape(height + 1, blocks, BLOCK // LANES, LANES)[1:]


def put(workspace: Workspace, quantity: int, image_HW: Float32) -> None:
    view = blocks_of(workspace)[:, :, quantity]
    padded = np.zeros((view.shape[0], view.shape[1] * LANES), np.float32)
    padded[:, : image_HW.shape[1]] = image_HW
    view[:] = padded.reshape(view.shape)


def get(workspace: Workspace, quantity: int) -> Float32:
    view = blocks_of(workspace)[:, :, quantity]
    return view.reshape(len(view), -1)[:, : int(workspace.levels[0][1])].copy()


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("size", SIZES)
def test_the_median_is_that_of_opencv_bit_for_bit(side: int, size: tuple[int, int]) -> None:
    height, width = size
    workspace = Workspace(height, width, TvL1Params())
    image_HW = np.random.default_rng(side).normal(size=size).astype(np.float32)
    image_HW[height // 2] = 0  # ties, and values of both signs
    put(workspace, 0, image_HW)
    scratch = np.zeros(scratch_size(width), np.float32)
    filter_medians(workspace.memory[0], height, width, blocks_per_row(width), U1, side, scratch)
    np.testing.assert_array_equal(get(workspace, 0), cv2.medianBlur(image_HW, side))


def test_a_pyramid_is_that_of_opencv(workspace: Workspace) -> None:
    frame_HW = textures(57, 41)[0]
    build_pyramid(frame_HW, workspace.pyramids[0], workspace.levels, workspace.step, *workspace.line)
    expected_HW = frame_HW.astype(np.float32)
    for height, width, _, first, stride in workspace.levels.tolist():
        if (height, width) != (57, 41):
            expected_HW = cv2.resize(expected_HW, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_LINEAR)
        assert expected_HW.shape == (height, width)
        found_HW = workspace.pyramids[0][first : first + height * stride].reshape(height, stride)[:, :width]
        np.testing.assert_allclose(found_HW, expected_HW, atol=1e-3)


@pytest.mark.parametrize("amplitude", [1e-4, 0.6, 3.0, 40.0], ids=["still", "small", "rough", "far outside"])
@pytest.mark.parametrize("sigma", [0.0, 6.0], ids=["torn", "smooth"])
def test_warping_is_that_of_opencv(amplitude: float, sigma: float) -> None:
    """Whole vectors and single pixels, inside the image and beyond its border."""
    height, width = 57, 41
    params = TvL1Params()
    scale = params.tau / params.theta
    workspace = Workspace(height, width, params)
    one_HW, two_HW = textures(height, width)[:2]
    for frame_HW, pyramid in zip((one_HW, two_HW), workspace.pyramids, strict=True):
        build_pyramid(frame_HW, pyramid, workspace.levels, workspace.step, *workspace.line)
    flow_HW2 = np.random.default_rng(1).normal(size=(height, width, 2)).astype(np.float32)
    if sigma:
        flow_HW2 = np.asarray(cv2.GaussianBlur(flow_HW2, (0, 0), sigma), np.float32)
        flow_HW2 /= flow_HW2.std()
    flow_HW2 *= np.float32(amplitude)
    for component in range(2):
        put(workspace, component, flow_HW2[..., component] * np.float32(scale))
    _, _, blocks, first, stride = workspace.levels[0].tolist()
    table, scratch = workspace.memory[1], workspace.memory[5]
    warping.build_table(workspace.pyramids[1], first, stride, height, width, blocks, table)
    warping.warp(
        workspace.memory[0], workspace.pyramids[0], first, stride, height, width, blocks, table, scratch, scale, 0.045
    )

    image_HW = two_HW.astype(np.float32)
    around = np.pad(image_HW, 1, mode="edge")
    gx_HW, gy_HW = (around[1:-1, 2:] - around[1:-1, :-2]) / 2, (around[2:, 1:-1] - around[:-2, 1:-1]) / 2
    y_HW, x_HW = np.mgrid[:height, :width].astype(np.float32)
    warped_HW, gx_HW, gy_HW = (
        cv2.remap(
            each, x_HW + flow_HW2[..., 0], y_HW + flow_HW2[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT
        )
        for each in (image_HW, gx_HW, gy_HW)
    )
    length_HW = get(workspace, 9) / (scale * 0.045)
    np.testing.assert_allclose(
        length_HW, np.hypot(gx_HW, gy_HW), atol=0.05
    )  # OpenCV's own steps are 1/32 px in some releases
    np.testing.assert_allclose(get(workspace, 6) * length_HW, gx_HW, atol=0.05)
    np.testing.assert_allclose(get(workspace, 7) * length_HW, gy_HW, atol=0.05)
    residual_HW = get(workspace, 8) / scale * length_HW + gx_HW * flow_HW2[..., 0] + gy_HW * flow_HW2[..., 1]
    steep = length_HW > 0.5
    np.testing.assert_allclose(residual_HW[steep], (warped_HW - one_HW)[steep], atol=0.05 + 0.02 * amplitude)


def test_threads_runs_and_neighbours_change_no_bit() -> None:
    frames_THW = np.concatenate([textures(40, 64), textures(40, 64)[::-1]])
    alone = [tvl1_flow(frames_THW[t : t + 2], backend="numba")[0] for t in range(len(frames_THW) - 1)]
    for num_threads in (1, 2, 3, 8):
        together = tvl1_flow(frames_THW, backend="numba", num_threads=num_threads)
        np.testing.assert_array_equal(together, np.stack(alone))


def test_memory_is_made_once_and_stays_below_20_mb() -> None:
    params = TvL1Params()
    assert Workspace(256, 340, params).num_bytes < 20e6
    with Workspace.borrow(48, 64, params) as first:
        pass
    with Workspace.borrow(48, 64, params) as second, Workspace.borrow(48, 64, params) as other:
        assert second is first
        assert other is not first


def test_estimates_stay_at_the_noise_floor() -> None:
    frames_THW = textures(96, 128)[:2]
    try:
        estimated = tvl1_flow(frames_THW, TvL1Params(estimates=True), "numba")
    except ConfigError as error:
        missing("system", str(error))
    exact = tvl1_flow(frames_THW, backend="numba")
    assert 0 < np.hypot(*(estimated - exact)[0]).mean() < 0.02
    with pytest.raises(ConfigError, match="estimates"):
        tvl1_flow(frames_THW, TvL1Params(estimates=True), "opencv")


def test_iterations_of_every_warp_are_noted() -> None:
    """The same frame twice stops at once, another goes on to the end; warps that a level does not have count none."""
    params = TvL1Params(nscales=2, level_warps=(1, 3), inner_iterations=4, outer_iterations=2, epsilon=1e-6)
    first_HW, _, other_HW = textures(33, 47)
    field_12HW = np.empty((1, 2, 33, 47), np.float32)
    with Workspace.borrow(33, 47, params) as workspace:
        solve_sequence(np.stack([first_HW, first_HW]), workspace, field_12HW)
        assert workspace.iterations.tolist() == [[1, 0, 0], [1, 1, 1]]
        solve_sequence(np.stack([first_HW, other_HW]), workspace, field_12HW)
        assert workspace.iterations.tolist() == [[8, 0, 0], [8, 8, 8]]


ELSEWHERE = """
import sys
import numpy as np
from tests.preprocessing.tvl1.test_cpu import fingerprint, textures
from kinebert.preprocessing.tvl1 import TvL1Params, tvl1_flow
from kinebert.preprocessing.tvl1.cpu.solver import solve_sequence
from kinebert.preprocessing.tvl1.cpu.vectors import LANES
from kinebert.preprocessing.tvl1.cpu.workspace import Workspace
print(LANES, fingerprint())
for height in (16, 17, 20, 31, 33):
    for width in (16, 17, 31, 32, 33, 47, 48, 49, 64, 65, 80):
        assert np.isfinite(tvl1_flow(textures(height, width), TvL1Params(warps=2), "numba")).all()
for k in range(6):
    with Workspace.borrow(33, 47, TvL1Params()) as workspace:
        whole = workspace.memory
        workspace.memory = tuple(m[: m.size // 2 - 8] if i == k else m for i, m in enumerate(whole))
        try:
            solve_sequence(textures(33, 47), workspace, np.empty((2, 2, 33, 47), np.float32))
        except IndexError as error:
            print("caught", k)
        workspace.memory = whole
"""


def test_other_cpus_give_the_same_bits_and_nothing_is_read_or_written_out_of_bounds(tmp_path: Path) -> None:
    """As on a CPU without AVX (which also has other vectors), with every access checked; and the check does check."""
    environment: dict[str, Any] = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *caught = done.stdout.splitlines()
    assert first == f"8 {fingerprint()}"
    assert caught == [f"caught {k}" for k in range(6)]
