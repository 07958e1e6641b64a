"""Median networks, by the 0-1 principle: a network that is right for all zeros and ones is right for all numbers."""

import itertools

import numpy as np
import pytest

from kinebert.preprocessing.tvl1.networks import median_network


@pytest.mark.parametrize("side", [3, 5])
def test_a_network_finds_the_median_of_every_window(side: int) -> None:
    network = median_network(side)
    ones = np.array(list(itertools.product(range(side + 1), repeat=side)))  # in each of the sorted columns
    wires = [ones[:, column] >= side - rank for rank in range(side) for column in range(side)]
    nothing = np.empty(0, np.bool_)  # whoever used it would not fit the others
    for low, high, keep_low, keep_high in network.window:
        a, b = wires[low], wires[high]
        wires[low] = a & b if keep_low else nothing
        wires[high] = a | b if keep_high else nothing
    np.testing.assert_array_equal(wires[network.median], ones.sum(1) > side * side // 2)


@pytest.mark.parametrize("side", [3, 5])
def test_a_column_is_sorted(side: int) -> None:
    values = np.array(list(itertools.product((0, 1), repeat=side))).T
    wires = list(values)
    for low, high, _, _ in median_network(side).column:
        wires[low], wires[high] = np.minimum(wires[low], wires[high]), np.maximum(wires[low], wires[high])
    np.testing.assert_array_equal(np.stack(wires), np.sort(values, axis=0))
