"""What a search is known by, and what is found out before its first trial."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.search.checks import about, check_trials
from kinebert.orchestration.search.records import check_same, claim
from kinebert.orchestration.search.space import read_space
from kinebert.orchestration.search.trials import Job
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from tests.helpers.fake_shards import make_shards

SHARDS: Any = make_shards()
TUNE = TuneRecipe(space={"optim.lr": {"log_uniform": [1e-5, 1e-1]}}, trials=3)
BASE = TrainRecipe(data=DataRecipe(shards="/fake/set"), epochs=3, tune=TUNE)


def is_same(tmp_path: Path, other: TrainRecipe) -> bool:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    claim(str(folder), about(BASE, SHARDS))
    try:
        check_same(str(folder), about(other, SHARDS))
    except UserError:
        return False
    return True


def test_more_trials_are_the_same_search_and_another_space_is_not(tmp_path: Path) -> None:
    assert is_same(tmp_path, replace(BASE, tune=replace(TUNE, trials=30)))
    assert not is_same(tmp_path, replace(BASE, tune=replace(TUNE, seed=1)))
    assert not is_same(tmp_path, replace(BASE, tune=replace(TUNE, space={"optim.lr": {"log_uniform": [1e-4, 1e-1]}})))
    assert not is_same(tmp_path, replace(BASE, epochs=4))


def test_a_population_does_not_grow(tmp_path: Path) -> None:
    population = replace(TUNE, scheduler="pbt", trials=8, interval=1)
    known = [about(replace(BASE, tune=replace(population, trials=trials)), SHARDS) for trials in (8, 9)]
    assert known[0] != known[1]


def test_another_set_is_another_search() -> None:
    other: Any = replace(SHARDS, content="other bytes")
    assert about(BASE, SHARDS) != about(BASE, other)


def test_a_trial_that_cannot_be_trained_is_told_with_its_values(tmp_path: Path) -> None:
    tune = replace(TUNE, space={"data.train_part": {"choice": ["train", "nobody"]}}, trials=8)
    base = replace(BASE, tune=tune)
    job = Job(base=base, output=str(tmp_path), cpus_per_worker=1.0, where="r.toml")

    def select(split: str, part: str) -> list[Any]:
        if part == "nobody":
            raise UserError(f"split {split!r} has no {part!r} videos.")
        return make_shards().select(split, part)

    shards: Any = make_shards()
    shards.select = select
    with pytest.raises(UserError, match="r.toml: a trial with data.train_part = 'nobody': ") as told:
        check_trials(job, read_space(tune, base, "r.toml"), shards)
    assert str(told.value).count("r.toml") == 1
