"""The table of a search: what is refused, and which way is better."""

from typing import Any, get_args

import pytest

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.settings import changeable
from kinebert.training.recipe.tune import Metric, TuneRecipe
from kinebert.training.run_folder import EpochRow

SPACE: dict[str, Any] = {"optim.lr": {"uniform": [0.0, 1.0]}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"space": {}}, r'tune.space is empty. Name a field, such as "optim.lr"'),
        ({"trials": 0}, "tune.trials must be at least 1, got 0"),
        ({"grace_epochs": 0}, "tune.grace_epochs must be at least 1, got 0"),
        ({"interval": 0}, "tune.interval must be at least 1, got 0"),
        ({"keep": 0}, "tune.keep must be at least 1, got 0"),
        ({"reduction": 1}, "tune.reduction must be at least 2, got 1"),
        ({"concurrent": -1}, "tune.concurrent must be at least 0, got -1"),
        ({"seed": -1}, "tune.seed must be at least 0 and at most 4294967295, got -1"),
        ({"seed": 2**32}, "tune.seed must be at least 0 and at most 4294967295, got 4294967296"),
        ({"quantile": 0.0}, "tune.quantile must lie above 0 and at most at 0.5, got 0.0"),
        ({"quantile": 0.51}, "tune.quantile must lie above 0 and at most at 0.5, got 0.51"),
        ({"scheduler": "pbt", "search": "tpe"}, "starts from random values, tune.search is 'tpe'"),
        ({"scheduler": "pbt", "trials": 1}, "tune.trials is the population of pbt; it must be at least 2"),
        ({"metric": "val_top2"}, "metric: 'val_top2' is not one of 'val_top1'"),
    ],
)
def test_values_out_of_range(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping(TuneRecipe, {"space": SPACE, **values}, "r.toml: tune")


@pytest.mark.parametrize("metric", get_args(Metric))
def test_a_search_looks_at_numbers_that_every_epoch_has(metric: Metric) -> None:
    assert metric in EpochRow.__annotations__
    assert TuneRecipe(space=SPACE, metric=metric).sign == (-1 if metric == "val_loss" else 1)


def test_what_a_search_may_be_continued_with() -> None:
    """The rest decides what was tried, and by which rule it was given up."""
    assert changeable(TuneRecipe) == {"trials", "concurrent", "keep"}
