"""The Triton kernels without a GPU: they compile for one, and do what they should in Triton's interpreter."""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.tvl1.gpu.level import LevelParams, all_levels
from tests.helpers.requirements import missing

if importlib.util.find_spec("triton") is None:
    missing("triton", "Triton is for Linux only")
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from kinebert.preprocessing.tvl1.gpu import fused, kernels, warping
from tests.helpers.paths import ROOT

MODULES = {
    **dict.fromkeys(("warp_kernel", "median_kernel"), warping),
    **dict.fromkeys(("step_kernel", "decide_kernel", "order_kernel"), kernels),
}
"""Where each kernel is."""


@pytest.mark.parametrize("marks", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_in_the_interpreter(marks: str) -> None:
    """In a process of its own, since Triton decides when it is imported whether to interpret."""
    tests = Path(__file__).with_name("interpreted_kernels.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marks, str(tests)]
    ran = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout
    assert "skipped" not in ran.stdout


class PretendedGpu:
    """What Triton asks a driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


class CompileOnly:
    """Stands for a kernel, and compiles it with the arguments that it would be started with."""

    def __init__(self, kernel: Any, compiled: list[Any]) -> None:
        self.kernel, self.compiled = kernel, compiled

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def start(*args: Any, **options: Any) -> None:
            self.compiled.append(self.kernel.warmup(*args, grid=grid, **options))

        return start


@pytest.fixture
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every kernel that is started while this fixture is used, compiled for an A100 or an H200."""
    before = driver._active
    driver.set_active(PretendedGpu(request.param))
    found: list[Any] = []
    for name, module in MODULES.items():
        kernel = getattr(module, name)
        monkeypatch.setattr(module, name, CompileOnly(kernel, found))
        kernel.device_caches.clear()
    yield found
    for name, module in MODULES.items():
        getattr(module, name).kernel.device_caches.clear()
    driver._active = before


def chunk(capacity: int, level: LevelParams) -> None:
    fused.FusedSolver(capacity, (level,), torch.device("cpu"))._launch_chunk(level, capacity)


@pytest.mark.parametrize("compiled", [pytest.param(80, marks=pytest.mark.slow), 90], indirect=True)
def test_compiles(compiled: list[Any]) -> None:
    """And once for all sizes: a number that is 1, or a multiple of 16, would by default make another kernel."""
    fewest = TvL1Params(warps=1, outer_iterations=1, inner_iterations=1, nscales=1)
    chunk(64, all_levels(256, 340, TvL1Params(), torch.int16)[0])
    kinds = {kernel.hash for kernel in compiled if kernel.metadata.name != "order_kernel"}
    chunk(1, all_levels(16, 16, fewest, torch.int16)[0])
    assert {kernel.hash for kernel in compiled if kernel.metadata.name != "order_kernel"} == kinds
    chunk(3, all_levels(17, 23, TvL1Params(median_filtering=1), torch.float32)[0])
    chunk(3, all_levels(17, 23, TvL1Params(median_filtering=3), torch.float32)[0])
    assert {kernel.metadata.name for kernel in compiled} == set(MODULES)
    assert all(kernel.asm["cubin"] for kernel in compiled)
    assert not any(".local" in kernel.asm["ptx"] for kernel in compiled), "nothing that is indexed lies in memory"


@pytest.mark.parametrize("iterations", range(1, 65))
def test_chunks_fill_a_round(iterations: int) -> None:
    level = all_levels(16, 16, TvL1Params(warps=1, outer_iterations=1, inner_iterations=iterations), torch.float32)[0]
    steps, chunks = fused._steps(level), fused._most_chunks(level)
    assert 1 <= steps <= 10
    assert chunks == math.ceil(iterations / steps) == math.ceil(iterations / 10)
