"""Flow as 8-bit pictures: the rounding is what it was when the first shards were written."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.video.images import dequantize_flow, quantize_flow


def plainly(flow: NDArray[np.float32], bound: float) -> NDArray[np.uint8]:
    """The definition, operation by operation."""
    return np.rint((np.clip(flow, -bound, bound) + bound) * (255 / (2 * bound))).astype(np.uint8)


@pytest.mark.parametrize("bound", [20.0, 15.0, 8.0, 7.0, 1 / 3, 1000.0])
def test_codes_are_bit_equal_to_the_definition(bound: float) -> None:
    rng = np.random.default_rng(0)
    inside = rng.uniform(-bound, bound, (2, 128, 171)).astype(np.float32)
    beyond = rng.normal(0, 2 * bound, (2, 41, 31)).astype(np.float32)
    between = ((np.arange(256) + 0.5) * (2 * bound / 255) - bound).astype(np.float32)  # as near to a tie as it gets
    ties = np.stack([np.nextafter(between, np.float32(-1e9)), between, np.nextafter(between, np.float32(1e9))])
    extremes = np.array([0, -0.0, bound, -bound, 1e-30, 1e30, -1e30, np.inf, -np.inf], np.float32)
    for flow in (inside, beyond, ties, extremes):
        codes = quantize_flow(flow, bound)
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes, plainly(flow, bound))


def test_the_flow_itself_is_left_alone_and_zero_is_128() -> None:
    flow = np.linspace(-25, 25, 2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16)
    before = flow.copy()
    back = dequantize_flow(quantize_flow(flow, 20), 20)
    assert np.array_equal(flow, before)
    assert np.abs(back - np.clip(flow, -20, 20)).max() <= 20 / 255 + 1e-5
    assert (quantize_flow(np.zeros((2, 16, 16), np.float32), 20) == 128).all()
