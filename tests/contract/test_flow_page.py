"""docs/flow.md: its tables of arithmetic are what is printed, and what a GPU waits for is counted rightly."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from tests.benchmarks import flow_arithmetic
from tests.benchmarks.flow_arithmetic import CARDS, ITERATED, START_US, STEP_BYTES, pairs_per_s
from tests.helpers.paths import ROOT
from tests.helpers.requirements import needs

triton = needs("triton", importlib.util.find_spec("triton") is not None, "Triton is for Linux only")
PAGE = (ROOT / "docs" / "flow.md").read_text()


def test_tables_are_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    flow_arithmetic.kernel_table()
    flow_arithmetic.rate_table()
    printed = capsys.readouterr().out.strip().replace("Arithmetic, not a measurement: ", "")
    assert printed in PAGE


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_cut_costs_least_beside_the_others(card: flow_arithmetic.Card) -> None:
    waited, beside, none = (pairs_per_s(card, 256, *case) for case in ((True, False), (True, True), (False, False)))
    assert waited < beside <= none < card.bytes_per_s / (ITERATED * STEP_BYTES["int16"])


@triton
def test_chunks_are_counted() -> None:
    """Ten iterations each: a pair that stops waits for the next chunk, and one of a queue takes its place there."""
    from tests.benchmarks.flow_tails import chunks

    counts_PW = np.array([[25, 3], [10, 10], [1, 1]])
    assert [left for left, *_ in chunks(counts_PW, 100, CARDS[0])] == [3, 3, 1, 1]
    assert [left for left, *_ in chunks(counts_PW, 100, CARDS[0], capacity=1)] == [3] * 4 + [2] * 2 + [1] * 2
    for left, seconds, busy in chunks(counts_PW, 100, CARDS[0]):
        assert seconds == pytest.approx(23 * START_US * 1e-6), f"next to nothing to do for {left}"
        assert busy < seconds / 100
    endless = dataclasses.replace(CARDS[0], bytes_per_s=1.0)  # so slow that starts do not count
    moved = sum(busy for *_, busy in chunks(counts_PW, 100, endless))
    assert moved == pytest.approx(100 * (counts_PW.sum() * 44 + counts_PW.size * (36 + 16)))


@triton
def test_pairs_that_take_long_are_waited_for_or_not() -> None:
    from tests.benchmarks.flow_tails import seconds

    rng = np.random.default_rng(0)
    counts_PLW = rng.integers(5, 30, (256, 5, 5))
    assert seconds(counts_PLW, CARDS[0], True) == seconds(counts_PLW, CARDS[0], False)
    counts_PLW[7] = 300
    (beside, busy), (waiting, same) = (seconds(counts_PLW, CARDS[0], way) for way in (True, False))
    assert busy == pytest.approx(same), "the same work"
    assert busy < beside < waiting
    few_PLW = counts_PLW[:64]
    assert seconds(few_PLW, CARDS[0], True) == seconds(few_PLW, CARDS[0], False), "so few are waited for"
