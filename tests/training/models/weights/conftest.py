"""Fixtures of the tests of weights."""

import pytest

from tests.helpers.toy_weights import LAYOUT, use


@pytest.fixture
def toy_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the toy layout be the only one that is known."""
    use(monkeypatch, LAYOUT)
