"""Three runs of one test, each better than the one before."""

import pytest

from kinebert.orchestration.comparing.runs import Run
from tests.helpers.compared import make_scores, side


@pytest.fixture(scope="module")
def three() -> list[Run]:
    tables = [make_scores(0.6, seed=1), make_scores([0.9, 0.7, 0.6, 0.95], seed=2), make_scores(0.8, seed=3)]
    return [side(name, scores, seed=i) for i, (name, scores) in enumerate(zip("abc", tables, strict=True))]
