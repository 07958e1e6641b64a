"""Records of trials: what they say, how they are ranked, and what becomes of damaged ones."""

import json
import math
from pathlib import Path

import pytest

from kinebert.orchestration.search.records import (
    Record,
    TakeOver,
    TrialEpoch,
    check_same,
    claim,
    in_order,
    load_record,
    load_records,
    ranking,
    save_record,
    score,
    trial_folder,
)
from kinebert.preprocessing.errors import UserError


def epoch(number: int, top1: float, loss: float = 1.0, order: int = 0, generation: int = 0) -> TrialEpoch:
    return TrialEpoch(epoch=number, val_top1=top1, val_loss=loss, order=order, generation=generation)


def record(number: int, *rows: TrialEpoch) -> Record:
    return Record(number=number, values={"optim.lr": 0.1}, seed=number, rows=list(rows))


def test_a_new_trial_has_come_to_nothing() -> None:
    new = record(3)
    assert (new.epoch, new.generation, new.ended) == (0, 0, False)
    assert new.best("val_top1", 1.0) is None
    assert new.at(1) is None
    assert ranking([new], "val_top1", 1.0) == []


@pytest.mark.parametrize(
    ("state", "ended"), [("running", False), ("finished", True), ("stopped", True), ("failed", True)]
)
def test_only_those_that_run_have_something_to_do(state: str, ended: bool) -> None:
    assert Record(number=0, values={}, seed=0, state=state).ended is ended  # type: ignore[arg-type]


def test_the_best_epoch_is_that_of_the_metric_and_of_equal_ones_the_one_that_is_kept() -> None:
    one = record(0, epoch(1, 0.5, 0.9), epoch(2, 0.7, 0.8), epoch(3, 0.7, 0.6), epoch(4, 0.6, 0.5))
    best, lowest = one.best("val_top1", 1.0), one.best("val_loss", -1.0)
    assert best is not None
    assert lowest is not None
    assert (best["epoch"], lowest["epoch"]) == (3, 4)
    assert one.kept(0)["epoch"] == 3
    assert one.at(2) == one.rows[1]


def test_what_is_no_number_is_worse_than_all_that_are() -> None:
    rows = [epoch(1, 0.1, 1e20), epoch(2, 0.1, math.nan), epoch(3, 0.1, math.inf)]
    far = [score(row, "val_loss", -1.0) for row in rows]
    assert far[1] == far[2] < far[0]
    best = record(0, *rows).best("val_loss", -1.0)
    assert best is not None
    assert best["epoch"] == 1


def test_trials_are_ranked_and_equal_ones_by_their_number() -> None:
    trials = [
        record(0, epoch(1, 0.5)),
        record(1, epoch(1, 0.9)),
        record(2, epoch(1, 0.5)),
        record(3),
        record(4, epoch(1, math.nan)),
    ]
    assert [one.number for one in ranking(trials, "val_top1", 1.0)] == [1, 0, 2, 4]
    assert [one.number for one in ranking(trials[:3], "val_top1", -1.0)] == [0, 2, 1]


def test_values_and_weights_are_those_of_the_generation() -> None:
    one = record(
        0, epoch(1, 0.9), epoch(2, 0.2, generation=1), epoch(3, 0.4, generation=1), epoch(4, 0.1, generation=2)
    )
    one.takeovers += [
        TakeOver(epoch=1, donor=5, values={"optim.lr": 0.2}),
        TakeOver(epoch=3, donor=6, values={"optim.lr": 0.3}),
    ]
    assert [one.values_at(generation)["optim.lr"] for generation in range(3)] == [0.1, 0.2, 0.3]
    assert one.present_values == {"optim.lr": 0.3}
    assert [one.kept(generation)["epoch"] for generation in range(3)] == [1, 3, 4]


def test_the_folder_after_a_take_over_is_another_one() -> None:
    assert trial_folder("/s", 7) == "/s/trials/0007"
    assert trial_folder("/s", 7, 2) == "/s/trials/0007-2"
    assert trial_folder("s3://bucket/s", 12345) == "s3://bucket/s/trials/12345"


def test_epochs_are_put_in_the_order_in_which_they_were_heard() -> None:
    trials = [
        record(0, epoch(1, 0, order=0), epoch(2, 0, order=3)),
        record(1, epoch(1, 0, order=1), epoch(2, 0, order=2)),
    ]
    assert [(one.number, row["epoch"]) for one, row in in_order(trials)] == [(0, 1), (1, 1), (1, 2), (0, 2)]


def test_a_gap_ends_what_is_read(tmp_path: Path) -> None:
    assert load_records(str(tmp_path)) == []
    for number in (0, 1, 3):
        save_record(str(tmp_path), record(number, epoch(1, 0.5)))
    assert [one.number for one in load_records(str(tmp_path))] == [0, 1]
    assert load_record(str(tmp_path), 3) == record(3, epoch(1, 0.5))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "colour": "red"}),
        lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != "seed"}),
        lambda text: json.dumps({**json.loads(text), "takeovers": [{"epoch": 1}]}),
        lambda text: json.dumps({**json.loads(text), "rows": [{"epoch": "1", "order": 0, "generation": 0}]}),
        lambda text: json.dumps({**json.loads(text), "state": "asleep"}),
        lambda text: json.dumps({**json.loads(text), "number": 7}),
        lambda text: "[" * 50_000,
        lambda text: "",
    ],
    ids=["cut", "list", "more", "less", "take-over", "row", "state", "of another trial", "deep", "empty"],
)
def test_a_damaged_record_is_named(tmp_path: Path, damage: object) -> None:
    save_record(str(tmp_path), record(0, epoch(1, 0.5)))
    path = Path(trial_folder(str(tmp_path), 0), "trial.json")
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(UserError, match=f"{path}: not the record of a trial. Start the search in another folder."):
        load_records(str(tmp_path))


ABOUT = {"recipe": {"epochs": 3, "model": {"head": "bert"}}, "tune": {"seed": 0}, "shards": {"digest": "abc"}}


def test_a_folder_belongs_to_the_search_that_began_there(tmp_path: Path) -> None:
    check_same(str(tmp_path), ABOUT)  # nothing lives there yet
    claim(str(tmp_path), ABOUT)
    claim(str(tmp_path), json.loads(json.dumps(ABOUT)))
    other = {**ABOUT, "recipe": {"epochs": 4, "model": {"head": "tgap"}}}
    before = (tmp_path / "search.json").read_bytes()
    for refuses in (claim, check_same):
        with pytest.raises(UserError, match="holds another search") as told:
            refuses(str(tmp_path), other)
        assert "recipe.epochs" in str(told.value)
        assert "recipe.model.head" in str(told.value)
        assert "tune" not in str(told.value)
    assert (tmp_path / "search.json").read_bytes() == before


def test_a_description_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text("{not json")
    with pytest.raises(UserError, match="search.json: not the description of a search. Choose another output folder."):
        claim(str(tmp_path), ABOUT)
