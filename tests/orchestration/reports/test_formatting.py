"""Numbers and long words as people read them."""

import math

import pytest

from kinebert.orchestration.reports import formatting


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0"), (0.6254, "62.5"), (0.6256, "62.6"), (1.0, "100.0"), (math.nan, "–")],
)
def test_shares_are_told_in_percent(share: float, text: str) -> None:
    assert formatting.percent(share) == text


def test_the_ends_of_an_interval_are_told_as_a_share_is() -> None:
    assert formatting.percents((0.601, 0.6478)) == "60.1 to 64.8"
    assert formatting.between_points((-0.005, 0.02)) == "-0.5 to +2.0"


@pytest.mark.parametrize(("difference", "tenths", "whole"), [(0.015, "+1.5", "+2"), (-0.1204, "-12.0", "-12")])
def test_differences_have_a_sign(difference: float, tenths: str, whole: str) -> None:
    assert formatting.points(difference) == tenths
    assert formatting.whole_points(difference) == whole


@pytest.mark.parametrize(("p_value", "text"), [(1.0, "1"), (0.04321, "0.043"), (1.234e-9, "1.2e-09")])
def test_p_values_keep_two_digits_however_small(p_value: float, text: str) -> None:
    assert formatting.p_text(p_value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0123456, 4, "0.01235"),
        (0.0123456, 3, "0.0123"),
        (1e-5, 4, "1e-05"),
        (12345678, 3, "12345678"),
        (True, 4, "True"),
    ],
)
def test_settings_are_rounded_only_if_they_are_no_integers(value: object, digits: int, text: str) -> None:
    assert formatting.value_text(value, digits) == text


def test_long_words_lose_their_end_and_short_ones_nothing() -> None:
    assert formatting.cut_end("brush_hair", 10) == "brush_hair"
    assert formatting.cut_end("brush_hairs", 10) == "brush_hai…"
    for length in range(30):
        assert len(formatting.cut_end("x" * length, 10)) == min(length, 10)


def test_long_values_lose_their_middle() -> None:
    path = "/data/runs/of/this/year/rgb_bert/best.pt"
    assert formatting.cut_middle(path, len(path)) == path
    shown = formatting.cut_middle(path, 20)
    assert shown == "/data/ru … rt/best.pt"
    assert path.startswith(shown.split(" … ")[0])
    assert path.endswith(shown.split(" … ")[1])
