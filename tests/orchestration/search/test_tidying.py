"""What is left of trials on disk: numbers and recipe of all, weights of the best, nothing that nobody needs."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.orchestration.reports.run_files import load_history
from kinebert.orchestration.search.records import Record, TakeOver, TrialEpoch, trial_folder
from kinebert.orchestration.search.tidying import Keeper
from kinebert.orchestration.search.trials import Job
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from kinebert.training.run_folder import BEST_FILE, LAST_FILE, RECIPE_FILE, SCRATCH_FOLDER, STATE_FILES

TUNE = TuneRecipe(space={"optim.lr": {"log_uniform": [1e-5, 1e-1]}}, keep=2)
BASE = TrainRecipe(data=DataRecipe(shards="/set"), batch_size=8, epochs=3, tune=TUNE)


def keeper(tmp_path: Path, tune: TuneRecipe = TUNE) -> Keeper:
    return Keeper(Job(base=replace(BASE, tune=tune), output=str(tmp_path), cpus_per_worker=1.0, where="r.toml"))


def trial(tmp_path: Path, number: int, top1: float, state: str = "finished", generations: int = 1) -> Record:
    """A trial with all the files that a training may leave, in the folder of each generation."""
    rows = [
        TrialEpoch(epoch=e, val_top1=top1 * e, val_loss=1.0, order=e, generation=min(e, generations) - 1)
        for e in (1, 2, 3)
    ]
    for generation in range(generations):
        folder = Path(trial_folder(str(tmp_path), number, generation))
        (folder / SCRATCH_FOLDER).mkdir(parents=True)
        (folder / SCRATCH_FOLDER / "left").write_text("by a worker")
        for name in (BEST_FILE, LAST_FILE, *STATE_FILES):
            (folder / name).write_bytes(b"x")
    values = {"optim.lr": 10.0 ** -(1 + number)}
    return Record(number=number, values=values, seed=number, state=state, rows=rows)  # type: ignore[arg-type]


def left(tmp_path: Path, number: int, generation: int = 0) -> set[str]:
    return {path.name for path in Path(trial_folder(str(tmp_path), number, generation)).iterdir()}


SAID = {RECIPE_FILE, "history.json"}


def test_the_best_keep_their_weights_and_all_their_numbers(tmp_path: Path) -> None:
    records = [trial(tmp_path, number, top1) for number, top1 in enumerate((0.3, 0.1, 0.2))]
    keeper(tmp_path).tidy(records)
    assert [left(tmp_path, number) for number in range(3)] == [
        SAID | {BEST_FILE, LAST_FILE},
        SAID,
        SAID | {BEST_FILE, LAST_FILE},
    ]
    for record in records:
        folder = trial_folder(str(tmp_path), record.number)
        recipe = tomllib.loads(Path(folder, RECIPE_FILE).read_text())
        assert recipe["optim"]["lr"] == record.values["optim.lr"]
        assert recipe["seed"] == record.seed
        assert load_history(folder) == record.rows


def test_one_that_is_overtaken_loses_its_weights_later(tmp_path: Path) -> None:
    tidier, first = keeper(tmp_path, replace(TUNE, keep=1)), [trial(tmp_path, 0, 0.1)]
    tidier.tidy(first)
    assert BEST_FILE in left(tmp_path, 0)
    tidier.tidy([*first, trial(tmp_path, 1, 0.2)])
    assert BEST_FILE not in left(tmp_path, 0)
    assert BEST_FILE in left(tmp_path, 1)


def test_whoever_runs_is_left_alone_and_one_that_failed_is_never_among_the_best(tmp_path: Path) -> None:
    records = [
        trial(tmp_path, 0, 0.3, "running"),
        trial(tmp_path, 1, 0.2, "failed"),
        trial(tmp_path, 2, 0.1, "stopped"),
    ]
    before = left(tmp_path, 0)
    keeper(tmp_path, replace(TUNE, keep=1)).tidy(records)
    assert left(tmp_path, 0) == before
    assert left(tmp_path, 1) == SAID
    assert left(tmp_path, 2) == SAID | {BEST_FILE, LAST_FILE}


def test_one_whose_processes_may_be_alive_is_described_and_emptied_the_next_time(tmp_path: Path) -> None:
    tidier, records = keeper(tmp_path), [trial(tmp_path, 0, 0.3)]
    tidier.tidy(records, at_work=0)
    assert left(tmp_path, 0) > SAID
    assert set(STATE_FILES) < left(tmp_path, 0)
    tidier.tidy(records)
    assert not set(STATE_FILES) & left(tmp_path, 0)


def test_what_a_late_process_writes_is_gone_after_the_search(tmp_path: Path) -> None:
    tidier, records = keeper(tmp_path, replace(TUNE, keep=1)), [trial(tmp_path, 0, 0.1), trial(tmp_path, 1, 0.2)]
    tidier.tidy(records, at_work=1)
    late = Path(trial_folder(str(tmp_path), 0), STATE_FILES[0])
    late.write_bytes(b"late")
    tidier.tidy(records, at_work=1)
    assert late.exists()  # it was emptied before, and is not looked at for every trial that ends
    tidier.tidy(records)
    assert not late.exists()


def test_a_trial_that_took_over_is_described_where_its_best_weights_are(tmp_path: Path) -> None:
    record = trial(tmp_path, 0, 0.3, generations=2)
    record.takeovers.append(TakeOver(epoch=1, donor=1, values={"optim.lr": 0.05}))
    keeper(tmp_path).tidy([record])
    assert RECIPE_FILE not in left(tmp_path, 0, 0)
    recipe = tomllib.loads(Path(trial_folder(str(tmp_path), 0, 1), RECIPE_FILE).read_text())
    assert recipe["optim"]["lr"] == 0.05
    for generation in (0, 1):
        assert SCRATCH_FOLDER not in left(tmp_path, 0, generation)


def test_one_that_came_to_nothing_has_a_recipe_all_the_same(tmp_path: Path) -> None:
    record = Record(number=0, values={"optim.lr": 0.1}, seed=0, state="failed", reason="no memory")
    keeper(tmp_path).tidy([record])
    assert left(tmp_path, 0) == SAID
    assert load_history(trial_folder(str(tmp_path), 0)) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    record = Record(number=0, values={"optim.lr": 0.1}, seed=0, state="failed")
    (tmp_path / "trials").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="trials/0000: cannot write the recipe"):
        keeper(tmp_path).tidy([record])
