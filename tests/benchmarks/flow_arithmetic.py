"""What TV-L1 on a GPU can cost, by counting: bytes, operations and launches of each kernel. No GPU is needed.

    python -m tests.benchmarks.flow_arithmetic

Counted for a batch of pairs of 340x256 with classic, dual variables in 16 bits; iterations are measured, see ITERATED.
"""

import argparse
from dataclasses import dataclass

from kinebert.preprocessing.tvl1 import PRESETS
from kinebert.preprocessing.tvl1.pyramid import level_sizes
from tests.helpers.measuring import print_table

HEIGHT, WIDTH, PAIRS = 256, 340, 256
# Work of one pair of 340x256 with classic, on average over 24 pairs of moving clips, in pixels
ITERATED, WARPED, FILTERED = 28.6e6, 1.08e6, 3.07e6
ITERATIONS_MEAN, ITERATIONS_MOST = 690, 2121
# Bytes per pixel that have to pass: flow, dual variables, gradient and constant in, flow and dual variables out
STEP_BYTES = {"int16": 8 + 8 + 8 + 4 + 8 + 8, "float32": 8 + 16 + 8 + 4 + 8 + 16}
WARP_BYTES, FILTER_BYTES = 8 + 4 + 12 + 12, 4 + 4
GOAL = 2000.0
"""Pairs per second."""


@dataclass(frozen=True)
class Card:
    """What a GPU can do, on paper."""

    name: str
    bytes_per_s: float
    """That a kernel sees: nine tenths of what its memory is said to have."""
    flop_per_s: float
    """Single precision, a fused multiply-add counted as two; of other operations half as many."""


CARDS = (Card("H100", 3.35e12 * 0.9, 67e12), Card("H200", 4.8e12 * 0.9 * 0.9, 67e12))
START_US = 3.5
"""Least time of a kernel in a graph: start, a row of programs, end. Not measured here."""


@dataclass(frozen=True)
class Kernel:
    """One of the kernels, as a chunk launches it."""

    name: str
    launches: int
    """In a chunk of ten iterations."""
    bytes_per_pixel: float
    """Of one pair's pixel that it works on; both components of the flow."""
    operations_per_pixel: float
    """Additions, multiplications, comparisons and roots, as the source has them."""

    def microseconds(self, card: Card, pairs: int) -> float:
        """Expected time of one launch with so many pairs that all have work on the finest level."""
        pixels = pairs * HEIGHT * WIDTH
        by_memory = pixels * self.bytes_per_pixel / card.bytes_per_s
        by_arithmetic = pixels * self.operations_per_pixel / (card.flop_per_s / 2)
        return max(START_US, 1e6 * max(by_memory, by_arithmetic))


KERNELS = (
    Kernel("warp", 1, WARP_BYTES, 16 * 3 * 2 + 44),  # 16 taps of 3 planes, their weights, the linear term
    Kernel("median", 1, 2 * FILTER_BYTES, 2 * 102),  # minima and maxima of a 5x5 network, both components
    Kernel("step", 10, STEP_BYTES["int16"], 95),  # 26 dual, 44 again for two neighbours, 25 primal
    Kernel("decide", 10, 4 / (16 * 32), 1 / (16 * 32)),  # one sum per tile
    Kernel("order", 1, 0.0, 0.0),
)


def roofline(bytes_per_s: float, where: str) -> None:
    """Print what memory allows if everything else were free."""
    rows = []
    for kept, step_bytes in STEP_BYTES.items():
        parts = [ITERATED * step_bytes, WARPED * WARP_BYTES, FILTERED * FILTER_BYTES]
        ms = [1e3 * part / bytes_per_s for part in parts]
        rows.append([kept, step_bytes, f"{sum(parts) / 1e9:.2f}", *(f"{m:.3f}" for m in ms), f"{1e3 / sum(ms):.0f}"])
    print_table(
        f"Arithmetic, not a measurement: one pair of 340x256, classic, at {bytes_per_s / 1e12:.2f} TB/s ({where}); "
        f"goal {GOAL:.0f} pairs/s",
        ["dual kept as", "bytes/px-it", "GB/pair", "iterations ms", "warps ms", "medians ms", "pairs/s at most"],
        rows,
        words=1,
    )


def pairs_per_s(card: Card, cuts: int, pairs: int = PAIRS) -> float:
    """Expected pairs per second of one process, in whole batches with so many pairs of unrelated pictures each.

    Those run every iteration there is. What all pairs do together is bound by memory; what few of them do at the end,
    by the start of kernels.
    """
    pixels = ITERATED * STEP_BYTES["int16"] + WARPED * WARP_BYTES + FILTERED * FILTER_BYTES
    params = PRESETS["classic"]
    levels = len(level_sizes(HEIGHT, WIDTH, params))
    most = levels * params.warps * params.outer_iterations * params.inner_iterations
    iterations = most if cuts else ITERATIONS_MOST
    tail_us = (iterations - ITERATIONS_MEAN) / 10 * sum(kernel.launches for kernel in KERNELS) * START_US
    return pairs / (pairs * pixels / card.bytes_per_s + tail_us * 1e-6)


def kernel_table() -> None:
    """Print what one launch of each kernel moves, computes and takes."""
    rows = []
    for kernel in KERNELS:
        all_us, one_us = ([kernel.microseconds(card, pairs) for card in CARDS] for pairs in (PAIRS, 1))
        megabytes = PAIRS * HEIGHT * WIDTH * kernel.bytes_per_pixel / 1e6
        operations = PAIRS * HEIGHT * WIDTH * kernel.operations_per_pixel / 1e9
        times = [*(f"{us:.0f}" for us in all_us), *(f"{us:.1f}" for us in one_us)]
        rows.append([kernel.name, kernel.launches, f"{megabytes:.1f}", f"{operations:.2f}", *times])
    names = [card.name for card in CARDS]
    print_table(
        f"Arithmetic, not a measurement: one launch on the finest level of 340x256, {PAIRS} pairs busy, and one",
        ["kernel", "launches per chunk", "MB", "G operations", *(f"{n} us" for n in names),
         *(f"{n} us, one pair" for n in names)],
        rows,
        words=1,
    )  # fmt: skip


def rate_table() -> None:
    """Print pairs per second with and without scene cuts."""
    rows = [
        [
            card.name,
            f"{card.bytes_per_s / 1e12:.2f}",
            *(f"{pairs_per_s(card, cuts, pairs):.0f}" for pairs, cuts in CASES),
        ]
        for card in CARDS
    ]
    print_table(
        f"Arithmetic, not a measurement: pairs per second, one process, classic; goal {GOAL:.0f}",
        ["card", "TB/s", *(f"{pairs} pairs, {cuts} cuts" for pairs, cuts in CASES)],
        rows,
        words=1,
    )


CASES = tuple((pairs, cuts) for pairs in (64, 256) for cuts in (0, 1))


def main() -> None:
    """Print the tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    kernel_table()
    rate_table()


if __name__ == "__main__":
    main()
