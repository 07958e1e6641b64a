"""Which values the next trial gets."""

import importlib.util
import math
from collections.abc import Mapping

import pytest

from kinebert.orchestration.search.records import Record, TrialEpoch
from kinebert.orchestration.search.space import Space, read_space
from kinebert.orchestration.search.suggest import check_installed, known_beforehand, num_trials, suggest
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from tests.helpers.requirements import imported

MIXED = {"optim.lr": {"log_uniform": [1e-5, 1e-1]}, "model.head": {"choice": ["bert", "tgap"]}}
GRID = {"optim.lr": {"grid": [0.1, 0.01]}, "model.head": {"grid": ["bert", "tgap", "concat"]}}


def search(space: Mapping[str, object], **options: object) -> tuple[TuneRecipe, Space]:
    tune = TuneRecipe(space=dict(space), **options)  # type: ignore[arg-type]
    return tune, read_space(tune, TrainRecipe(data=DataRecipe(shards="/set"), epochs=3, tune=tune), "r.toml")


def trained(number: int, values: dict[str, object], top1: float, state: str = "finished") -> Record:
    rows = [TrialEpoch(epoch=1, val_top1=top1, val_loss=1.0, order=number, generation=0)]
    return Record(number=number, values=values, seed=number, state=state, rows=rows)  # type: ignore[arg-type]


def test_a_grid_is_as_large_as_its_cells_and_known_beforehand() -> None:
    tune, space = search(GRID, search="grid")
    known = known_beforehand(tune, space)
    assert num_trials(tune, space) == len(known) == 6
    assert len({(values["optim.lr"], values["model.head"]) for values in known}) == 6
    assert [suggest(tune, space, number, []) for number in range(6)] == known


def test_random_trials_do_not_depend_on_what_others_came_to() -> None:
    tune, space = search(MIXED, trials=5)
    known = known_beforehand(tune, space)
    assert num_trials(tune, space) == 5
    records = [trained(number, values, 0.5) for number, values in enumerate(known)]
    assert [suggest(tune, space, number, records[:number]) for number in range(5)] == known
    other, _ = search(MIXED, trials=5, seed=1)
    assert known_beforehand(other, space) != known


def test_tpe_is_known_by_nobody_beforehand() -> None:
    tune, space = search(MIXED, search="tpe", trials=5)
    assert known_beforehand(tune, space) == []


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "running"])
@pytest.mark.parametrize("top1", [0.5, math.nan])
def test_tpe_bears_trials_of_every_kind(state: str, top1: float) -> None:
    imported("optuna", "optuna")
    tune, space = search(MIXED, search="tpe", trials=20)
    records = [trained(n, {"optim.lr": 10.0 ** -(1 + n % 4), "model.head": "bert"}, top1, state) for n in range(12)]
    values = suggest(tune, space, 12, records)
    assert 1e-5 <= values["optim.lr"] <= 1e-1
    assert values["model.head"] in ("bert", "tgap")
    assert suggest(tune, space, 12, records) == values


def test_tpe_without_optuna_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    tune, _ = search(MIXED, search="tpe")
    with pytest.raises(ConfigError, match=r'needs Optuna: pip install "kinebert\[tune\]", or take "random"'):
        check_installed(tune)
    check_installed(search(MIXED)[0])
