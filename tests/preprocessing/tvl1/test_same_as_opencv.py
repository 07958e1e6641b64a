"""The solvers against OpenCV's on real clips, which differ in the last bits and so in where an iteration stops.

OpenCV itself moves by about 0.01 px when its frames change by 0.001 grey levels: closer than that is chance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinebert.preprocessing.tvl1 import PRESETS, Backend, TvL1Params, tvl1_flow
from tests.helpers.clips import (
    LEAST_FLOOR,
    Float32,
    Pair,
    differs_in_8_bits,
    end_point_error,
    noise_floors,
    opencv_flows,
    read_blurred,
    read_cuts,
    read_pairs,
)
from tests.helpers.requirements import needs

pytestmark = [
    pytest.mark.timeout(1800),  # OpenCV takes up to two minutes for all pairs on two idle cores
    needs(
        "opencv5",
        int(cv2.__version__.split(".")[0]) >= 5,
        "OpenCV before 5 rounds where it samples to 1/32 px, and is 0.018 px from its successor by that alone",
    ),
]

CASES = [
    pytest.param(("numba", "340x256", 1), marks=pytest.mark.slow),  # a minute of OpenCV
    ("numba", "171x128", 1),
    ("torch", "171x128", 4),
    pytest.param(("torch", "171x128", 1), marks=pytest.mark.slow),
    pytest.param(("torch", "340x256", 1), marks=pytest.mark.slow),  # without a GPU it is as slow as OpenCV
]
"""A backend, a size, and which pairs: 1 for all of them, 4 for one in four, one of every character among them."""


@dataclass(frozen=True)
class Comparison:
    """What a backend made of the pairs of one size, ``classic`` as it comes."""

    backend: Backend
    pairs: Sequence[Pair]
    references: Sequence[Float32]
    flows: Sequence[Float32]

    def errors(self) -> list[Float32]:
        """End-point errors of each pair in pixels, ``(H, W)``."""
        found = zip(self.flows, self.references, strict=True)
        return [end_point_error(flow, reference) for flow, reference in found]

    def far_from_floor(self) -> list[str]:
        """Name the pairs that are further from OpenCV than 1.5 times what OpenCV is from itself.

        OpenCV with noise is that far in 4 % of pairs if its floor is one draw, in 2 % if it is the larger of two (60
        pairs, 3 draws each): a pair beyond that gets the floor of more draws, 16 at most, before it counts. Nothing is
        drawn for the others, whose floor can only rise.
        """
        means = [float(error.mean()) for error in self.errors()]
        floors = [LEAST_FLOOR] * len(means)
        for seed in range(16):
            far = [i for i, mean in enumerate(means) if mean > 1.5 * floors[i]]
            pairs, flows = [self.pairs[i] for i in far], [self.references[i] for i in far]
            for i, floor in zip(far, noise_floors(pairs, flows, [seed]), strict=True):
                floors[i] = max(floors[i], floor)
        return [
            f"{pair}: {mean:.4f} px, OpenCV {floor:.4f}"
            for pair, mean, floor in zip(self.pairs, means, floors, strict=True)
            if mean > 1.5 * floor
        ]


CHARACTERS = {"moving camera", "fast", "slow", "dark", "noisy", "portrait", "still"}
READ = {"pairs": read_pairs, "cuts": read_cuts, "blurred": read_blurred}
Clips = Callable[[str, str], tuple[list[Pair], list[Float32]]]


@pytest.fixture(scope="module")
def clips(shared: Callable[[str], Path]) -> Clips:
    """Pairs of one size with OpenCV's flow, which is computed once; the kinds are those of ``READ``."""
    known: dict[tuple[str, str], tuple[list[Pair], list[Float32]]] = {}

    def read(kind: str, size: str) -> tuple[list[Pair], list[Float32]]:
        if (kind, size) not in known:
            pairs = READ[kind](shared("data"), size)
            known[kind, size] = pairs, opencv_flows(pairs)
        return known[kind, size]

    return read


def solve(pairs: Sequence[Pair], params: TvL1Params, backend: Backend) -> list[Float32]:
    return [tvl1_flow(pair.stacked(), params, backend)[0] for pair in pairs]


def worst(pairs: Sequence[Pair], means: Sequence[float]) -> list[str]:
    """Name the five worst pairs."""
    order = np.argsort(means)[::-1][:5]
    return [f"{pairs[i]}: {means[i]:.4f} px" for i in order]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case)))
def comparison(request: pytest.FixtureRequest, clips: Clips) -> Comparison:
    backend, size, step = request.param
    every_pair, every_reference = clips("pairs", size)
    pairs, references = every_pair[::step], every_reference[::step]
    assert {pair.character for pair in pairs} == CHARACTERS
    return Comparison(backend, pairs, references, solve(pairs, TvL1Params(), backend))


@pytest.mark.slow
def test_there_are_pairs_of_every_character(clips: Clips) -> None:
    pairs = clips("pairs", "340x256")[0] + clips("pairs", "171x128")[0]
    assert len(pairs) >= 48
    assert {pair.character for pair in pairs} == CHARACTERS


def test_mean_end_point_error(comparison: Comparison) -> None:
    means = [error.mean() for error in comparison.errors()]
    assert np.mean(means) <= 0.02, worst(comparison.pairs, means)


def test_95th_percentile_of_the_end_point_error(comparison: Comparison) -> None:
    assert np.percentile(np.concatenate([error.ravel() for error in comparison.errors()]), 95) <= 0.05


def test_stored_values_differ_by_more_than_one_almost_nowhere(comparison: Comparison) -> None:
    found = zip(comparison.flows, comparison.references, strict=True)
    differs = [differs_in_8_bits(flow, reference).ravel() for flow, reference in found]
    assert np.concatenate(differs).mean() <= 0.003


def test_no_pair_is_far_beyond_the_noise_floor(comparison: Comparison) -> None:
    assert not comparison.far_from_floor()


def test_fast_stays_near_classic(comparison: Comparison) -> None:
    """0.08 px is what 8-bit storage costs by itself; these pairs were chosen for large motions, which cost more."""
    flows = solve(comparison.pairs, PRESETS["fast"], comparison.backend)
    means = [
        end_point_error(flow, reference).mean() for flow, reference in zip(flows, comparison.references, strict=True)
    ]
    assert np.median(means) <= 0.08, worst(comparison.pairs, means)
    assert np.mean(means) <= 0.15, worst(comparison.pairs, means)


@pytest.mark.parametrize("kind", ["cuts", pytest.param("blurred", marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", ["171x128", pytest.param("340x256", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["numba", pytest.param("torch", marks=pytest.mark.slow)])
def test_what_cannot_be_matched_is_no_further_than_the_noise_floor(
    backend: Backend, size: str, kind: str, clips: Clips
) -> None:
    """Nothing converges there: across a cut OpenCV is about 2 px from itself."""
    pairs, references = clips(kind, size)
    assert not Comparison(backend, pairs, references, solve(pairs, TvL1Params(), backend)).far_from_floor()
