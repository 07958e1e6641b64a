"""Methods of optical flow side by side on the same pairs: what they cost, and how far they are from OpenCV's TV-L1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.tvl1 import PRESETS, tvl1_flow
from tests.helpers.clips import Pair, differs_in_8_bits, end_point_error
from tests.helpers.measuring import cpu_ms

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

_MANY = 1_000_000
_TORCH_PAIRS = 6
"""Torch without a GPU is as slow as OpenCV; a sample says so."""
_BY_OPENCV = {"classic", "wide"}
"""Presets that OpenCV can compute as well."""


@dataclass(frozen=True)
class Method:
    """One way to compute flow."""

    name: str
    preset: str
    solve: Callable[[UInt8], Float32]
    """Frames ``(2, H, W)`` to flow ``(2, H, W)``."""
    repeats: int = 1
    most_pairs: int = _MANY


@dataclass(frozen=True)
class Measured:
    """One method on one pair."""

    character: str
    ms: float
    classic_ms: float
    """OpenCV's time for the same pair."""
    error: Float32
    """End-point error against OpenCV's ``classic``, pixels ``(H, W)``."""
    differs: NDArray[np.bool_]
    """Where the stored value differs from that by more than 1."""
    same_error: float | None
    """Mean end-point error against OpenCV with the same parameters."""


def our_methods(backends: Sequence[str], presets: Sequence[str], quick: bool) -> list[Method]:
    """OpenCV itself first, then ours."""
    found = []
    for backend in ("opencv", *backends):
        for preset in presets:
            if backend == "opencv" and preset not in _BY_OPENCV:
                continue
            limit = _TORCH_PAIRS if backend == "torch" else _MANY
            repeats = 3 if backend == "numba" and not quick else 1
            found.append(Method(backend, preset, _solver(backend, preset), repeats, limit))
    return found


def _solver(backend: str, preset: str) -> Callable[[UInt8], Float32]:
    return lambda frames: tvl1_flow(frames, PRESETS[preset], backend)[0]  # type: ignore[arg-type]


def _calculated(solver: Any, frames: UInt8) -> Float32:
    flow_HW2: Float32 = solver.calc(frames[0], frames[1], None)
    return flow_HW2.transpose(2, 0, 1)


def _farneback(frames: UInt8) -> Float32:
    flow_HW2 = np.zeros((*frames.shape[1:], 2), np.float32)
    found_HW2 = cv2.calcOpticalFlowFarneback(frames[0], frames[1], flow_HW2, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(found_HW2, np.float32).transpose(2, 0, 1)


def other_methods() -> list[Method]:
    """Other flows of OpenCV, which are not TV-L1."""
    found, opencv = [], cast(Any, cv2)  # the stubs of OpenCV know DIS by its class only
    for name in ("ultrafast", "fast", "medium"):
        dis = opencv.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{name.upper()}"))
        found.append(Method("DIS", name, partial(_calculated, dis), 3))
    found.append(Method("Farneback", "", _farneback, 3))
    return found


def measure(pairs: Sequence[Pair], methods: Sequence[Method]) -> dict[tuple[str, str], list[Measured]]:
    """Run every method on every pair, OpenCV's ``classic`` among them."""
    found: dict[tuple[str, str], list[Measured]] = {(method.name, method.preset): [] for method in methods}
    for method in methods:  # compile, and allocate what is kept
        if method.name != "opencv":
            method.solve(pairs[0].stacked())
    classic = Method("opencv", "classic", _solver("opencv", "classic"))
    for i, pair in enumerate(pairs):
        frames = pair.stacked()
        classic_ms, reference = cpu_ms(classic.solve, frames)
        by_opencv = {"classic": reference}
        for method in methods:
            if i % max(1, len(pairs) // min(method.most_pairs, len(pairs))) or _full(found, method):
                continue
            if (method.name, method.preset) == ("opencv", "classic"):
                ms, flow = classic_ms, reference
            else:
                runs = [cpu_ms(method.solve, frames) for _ in range(method.repeats)]
                ms, flow = median(run[0] for run in runs), runs[0][1]
            if method.name == "opencv":
                by_opencv[method.preset] = flow
            same = by_opencv.get(method.preset)
            found[method.name, method.preset].append(
                Measured(
                    pair.character,
                    ms,
                    classic_ms,
                    end_point_error(flow, reference),
                    differs_in_8_bits(flow, reference),
                    None if same is None else float(end_point_error(flow, same).mean()),
                )
            )
    return found


def _full(found: dict[tuple[str, str], list[Measured]], method: Method) -> bool:
    return len(found[method.name, method.preset]) >= method.most_pairs


@dataclass(frozen=True)
class Row:
    """A line of the tables of solvers."""

    size: str
    clips: str
    method: str
    preset: str
    pairs: int
    ms: float
    median_ms: float
    pairs_per_s: float
    times_opencv: float
    epe_px: float
    worst_epe_px: float
    p95_px: float
    share_8_bit: float
    same_epe_px: float | None


def summed_up(size: str, group: str, name: str, preset: str, found: Sequence[Measured]) -> Row:
    """Make one line of the pairs of one kind."""
    ms = [each.ms for each in found]
    same = [each.same_error for each in found if each.same_error is not None]
    return Row(
        size=size,
        clips=group,
        method=name,
        preset=preset,
        pairs=len(found),
        ms=float(np.mean(ms)),
        median_ms=median(ms),
        pairs_per_s=1e3 / float(np.mean(ms)),
        times_opencv=sum(each.classic_ms for each in found) / sum(ms),
        epe_px=float(np.mean([each.error.mean() for each in found])),
        worst_epe_px=float(max(each.error.mean() for each in found)),
        p95_px=float(np.percentile(np.concatenate([each.error.ravel() for each in found]), 95)),
        share_8_bit=float(np.concatenate([each.differs.ravel() for each in found]).mean()),
        same_epe_px=float(np.mean(same)) if same else None,
    )


def rows_of(size: str, found: dict[tuple[str, str], list[Measured]]) -> list[Row]:
    """Moving and still clips apart."""
    rows = []
    for group in ("moving", "still"):
        for (name, preset), all_pairs in found.items():
            part = [each for each in all_pairs if (each.character == "still") == (group == "still")]
            if part:
                rows.append(summed_up(size, group, name, preset, part))
    return rows
