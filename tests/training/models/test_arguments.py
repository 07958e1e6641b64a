"""Numbers that networks are built with."""

import math

import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled


def test_the_first_that_is_not_positive_is_named() -> None:
    positive(width=0.1, frames=1)
    with pytest.raises(ConfigError) as error:
        positive(width=0.5, frames=0, size=-1)
    assert str(error.value) == "frames must be positive, got 0."
    with pytest.raises(ConfigError, match="width must be positive, got nan"):
        positive(width=math.nan)


@pytest.mark.parametrize("channels", [8, 45, 64, 921])
def test_channels_are_scaled_to_eights(channels: int) -> None:
    assert scaled(channels, 1.0) == channels, "as published"
    for width in (0.001, 0.125, 0.3, 0.5, 2.0):
        found = scaled(channels, width)
        assert found % 8 == 0
        assert found >= 8
        assert found == 8 or abs(found - channels * width) <= 4


def test_scaled_keeps_what_is_published() -> None:
    assert [scaled(channels, 1) for channels in (64, 45, 921)] == [64, 45, 921]
    assert [scaled(64, width) for width in (2, 0.5, 0.2, 0.001)] == [128, 32, 16, 8]
