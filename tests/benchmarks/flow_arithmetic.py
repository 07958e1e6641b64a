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


CARDS = (
    Card("H100", 3.35e12 * 0.9, 67e12),  # H100 Tensor Core GPU data sheet, SXM
    Card("H200", 4.8e12 * 0.9, 67e12),  # H200 Tensor Core GPU data sheet, SXM
)
START_US = 3.5
"""Least time of a kernel in a graph: start, a row of programs, end. Not measured here."""
SLOWED = 3.0
"""How much longer that takes while others fill the card: programs wait for a place. Not measured here."""


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


def pairs_per_s(card: Card, pairs: int, has_cut: bool, beside: bool) -> float:
    """Expected pairs per second of one process, in whole batches.

    What all pairs do together is bound by memory; what few of them do at the end, by the start of kernels.

    Args:
        card: The GPU.
        pairs: Of a batch.
        has_cut: Whether one pair of each batch runs every iteration there is.
        beside: Whether that one is solved beside the others, so that they do not wait for it on every level.
    """
    pixels = ITERATED * STEP_BYTES["int16"] + WARPED * WARP_BYTES + FILTERED * FILTER_BYTES
    params = PRESETS["classic"]
    levels = len(level_sizes(HEIGHT, WIDTH, params))
    most = levels * params.warps * params.outer_iterations * params.inner_iterations
    start_s = sum(kernel.launches for kernel in KERNELS) / 10 * START_US * 1e-6  # of an iteration
    together_s = pairs * pixels / card.bytes_per_s
    others_s = together_s + (ITERATIONS_MOST - ITERATIONS_MEAN) * start_s
    if not has_cut:
        return pairs / others_s
    if beside:
        return pairs / (others_s + max(0.0, most * start_s - others_s / SLOWED))
    return pairs / (together_s + (most - ITERATIONS_MEAN) * start_s)


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
        [card.name, f"{card.bytes_per_s / 1e12:.2f}", *(f"{pairs_per_s(card, *case):.0f}" for case in CASES.values())]
        for card in CARDS
    ]
    print_table(
        f"Arithmetic, not a measurement: pairs per second, one process, classic; goal {GOAL:.0f}",
        ["card", "TB/s", *CASES],
        rows,
        words=1,
    )


CASES = {
    "64 pairs": (64, False, False),
    "64, a cut waited for": (64, True, False),
    "256 pairs": (256, False, False),
    "256, a cut waited for": (256, True, False),
    "256, a cut beside": (256, True, True),
}
"""Arguments of :func:`pairs_per_s`."""


def main() -> None:
    """Print the tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    kernel_table()
    rate_table()


if __name__ == "__main__":
    main()
