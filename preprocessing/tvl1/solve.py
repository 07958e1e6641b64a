"""The one entry to TV-L1, whatever solves it.

Axes: T frames, H height, W width, 2 components (x, y).
"""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.tvl1.params import TvL1Params
from kinebert.preprocessing.tvl1.pyramid import MIN_SIDE

Solver = Literal["numba", "torch", "opencv"]
Backend = Literal["auto", "numba", "torch", "opencv"]


def choose_backend(backend: Backend = "auto") -> Solver:
    """Say who solves on this machine: ``auto`` is torch where CUDA has a device, else numba.

    Raises:
        ValueError: If there is no such backend.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"there is no TV-L1 backend {backend!r}; there are: {', '.join(get_args(Backend))}")
    if backend != "auto":
        return backend
    return "torch" if _cuda_is_here() else "numba"


def tvl1_flow(
    grey_THW: NDArray[np.uint8],
    params: TvL1Params | None = None,
    backend: Backend = "auto",
    *,
    num_threads: int = 1,
) -> NDArray[np.float32]:
    """Estimate dense optical flow between neighbouring frames.

    Args:
        grey_THW: Grey frames in display order, values 0..255, shape ``(T, H, W)`` with T >= 2, H and W >= 16.
        params: Solver parameters; OpenCV's defaults if None.
        backend: Who solves it. The result does not depend on it beyond rounding.
        num_threads: Pairs solved at the same time by ``numba``; the result is the same bits for any number.

    Returns:
        Flow of shape ``(T - 1, 2, H, W)``. Channel 0 is the displacement to the right, channel 1 the displacement
        downwards, both in pixels per frame step. Field ``t`` carries frame ``t`` to frame ``t + 1``.

    Raises:
        ValueError: If ``grey_THW`` is not a ``uint8`` array of that shape, or there is no such backend.
        ConfigError: If the backend has not all that ``params`` ask for.

    Source:
        Zach, Pock & Bischof, "A duality based approach for realtime TV-L1 optical flow", DAGM 2007.
    """
    if grey_THW.ndim != 3 or grey_THW.dtype != np.uint8 or len(grey_THW) < 2:
        raise ValueError(f"expected uint8 (T >= 2, H, W), got {grey_THW.dtype} {grey_THW.shape}")
    if min(grey_THW.shape[1:]) < MIN_SIDE:
        raise ValueError(f"expected frames of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {grey_THW.shape[1:]}")
    if num_threads < 1:
        raise ValueError(f"num_threads must be at least 1, got {num_threads}")
    params = params or TvL1Params()
    solver = choose_backend(backend)
    check_params(params, solver)
    match solver:  # each brings a library that the others do without
        case "numba":
            from kinebert.preprocessing.tvl1.cpu.solver import solve_numba

            return solve_numba(grey_THW, params, num_threads)
        case "torch":
            from kinebert.preprocessing.tvl1.gpu.solver import solve_torch

            return solve_torch(grey_THW, params)
        case "opencv":
            from kinebert.preprocessing.tvl1.opencv import solve_opencv

            return solve_opencv(grey_THW, params)


def check_params(params: TvL1Params, solver: Solver) -> None:
    """Refuse parameters that ``solver`` does not have.

    Raises:
        ConfigError: Saying which.
    """
    if solver == "opencv" and (params.level_warps or params.level_epsilon):
        raise ConfigError("OpenCV's TV-L1 has no level_warps and no level_epsilon. Use the backend numba or torch.")
    if not params.estimates:
        return
    if solver != "numba":
        raise ConfigError(f"tvl1.estimates is for the backend numba, this is {solver}. Leave it out.")
    from kinebert.preprocessing.tvl1.cpu.vectors import FEATURES

    if "+avx" not in FEATURES:
        raise ConfigError("tvl1.estimates needs an x86 CPU with AVX, which this is not. Leave it out.")


def _cuda_is_here() -> bool:
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():  # torch takes seconds to say no
        return False
    import torch

    return torch.cuda.is_available()
