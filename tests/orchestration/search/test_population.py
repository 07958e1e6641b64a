"""Who takes over from whom, and who waits: a matter of what was at an epoch, whenever it is asked."""

from dataclasses import replace

import pytest

from kinebert.orchestration.search.population import exchanges, is_at_stop, next_stop, waits
from kinebert.orchestration.search.records import Record, TakeOver, TrialEpoch
from kinebert.orchestration.search.space import read_space
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe

TUNE = TuneRecipe(
    space={"optim.lr": {"log_uniform": [1e-5, 1e-1]}}, scheduler="pbt", trials=8, interval=2, quantile=0.25
)
SPACE = read_space(TUNE, TrainRecipe(data=DataRecipe(shards="/set"), epochs=7, tune=TUNE), "r.toml")


def member(number: int, epochs: int = 2, settled: int | None = None, state: str = "running") -> Record:
    """The larger its number, the better it is."""
    rows = [
        TrialEpoch(epoch=e, val_top1=number / 10 + e / 100, val_loss=1.0, order=e, generation=0)
        for e in range(1, epochs + 1)
    ]
    given = {"values": {"optim.lr": 10.0 ** -(1 + number % 4)}, "seed": number, "rows": rows}
    return Record(number=number, settled=epochs if settled is None else settled, state=state, **given)  # type: ignore[arg-type]


def population() -> list[Record]:
    return [member(number) for number in range(8)]


def pairs(records: list[Record], epoch: int = 2) -> dict[int, int]:
    return {item.taker.number: item.donor.number for item in exchanges(records, epoch, SPACE, TUNE)}


def test_the_last_quarter_takes_from_the_first() -> None:
    found = pairs(population())
    assert set(found) == {0, 1}
    assert set(found.values()) <= {6, 7}


def test_it_is_the_same_in_any_order_and_after_a_restart() -> None:
    found = exchanges(population(), 2, SPACE, TUNE)
    again = exchanges(population()[::-1], 2, SPACE, TUNE)
    key = {item.taker.number: (item.donor.number, item.values) for item in found}
    assert {item.taker.number: (item.donor.number, item.values) for item in again} == key


def test_what_has_gone_on_since_changes_nothing_for_those_that_have_not() -> None:
    records = population()
    before = pairs(records)
    records[7] = member(7, epochs=4)
    assert pairs(records) == before


def test_whoever_took_over_or_went_on_does_not_take_again() -> None:
    records = population()
    records[0].takeovers.append(TakeOver(epoch=2, donor=7, values=records[7].values))
    assert set(pairs(records)) == {1}
    records[1] = member(1, epochs=3)
    assert pairs(records) == {}


def test_whoever_has_ended_gives_and_takes_nothing() -> None:
    records = population()
    records[7] = member(7, state="failed")
    records[0] = member(0, state="stopped")
    assert set(pairs(records)) == {1}
    assert set(pairs(records).values()) == {6}
    records[6] = member(6, state="finished")
    assert pairs(records) == {}  # nobody is left to give


def test_one_that_is_not_settled_is_not_compared() -> None:
    records = [member(0, settled=1), *population()[1:]]
    assert set(pairs(records)) == {1, 2}
    assert pairs([member(0)]) == {}
    assert pairs([]) == {}


def test_two_are_enough_and_never_half_of_them_and_more() -> None:
    assert pairs([member(0), member(1)]) == {0: 1}
    three = [member(number) for number in range(3)]
    wide = replace(TUNE, quantile=0.5)
    assert {item.taker.number for item in exchanges(three, 2, SPACE, wide)} == {0}


def test_values_that_are_taken_are_in_the_space_and_not_the_takers() -> None:
    for item in exchanges(population(), 2, SPACE, TUNE):
        assert 1e-5 <= item.values["optim.lr"] <= 1e-1
        assert set(item.values) == {"optim.lr"}
        assert item.donor.values == member(item.donor.number).values  # the donor keeps its own


@pytest.mark.parametrize(
    ("epochs", "settled", "stop"),
    [(0, 0, 2), (1, 1, 2), (2, 2, 4), (2, 1, 2), (5, 5, 6), (6, 6, 7)],
)
def test_where_a_leg_ends(epochs: int, settled: int, stop: int) -> None:
    assert next_stop(member(0, epochs, settled), TUNE, 7) == stop


def test_a_stop_is_every_interval_and_not_the_beginning() -> None:
    assert [is_at_stop(member(0, epochs), TUNE) for epochs in range(5)] == [False, False, True, False, True]


def test_others_are_waited_for_until_they_are_there_or_have_ended() -> None:
    records = population()
    assert not waits(records[0], records, TUNE)
    assert waits(records[0], records[:7], TUNE)  # one was not even begun
    records[5] = member(5, epochs=1)
    assert waits(records[0], records, TUNE)
    records[5] = member(5, epochs=1, state="failed")
    assert not waits(records[0], records, TUNE)
