"""What a search decides, without a cluster: trials are a formula here. A kill is a planner that is dropped."""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.search.planner import Leg, Planner
from kinebert.orchestration.search.population import Exchange
from kinebert.orchestration.search.records import (
    Record,
    TakeOver,
    TrialEpoch,
    load_records,
    ranking,
    save_record,
    trial_folder,
)
from kinebert.orchestration.search.space import read_space
from kinebert.orchestration.search.suggest import suggest
from kinebert.preprocessing.errors import UserError
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from tests.helpers.requirements import imported

LR = {"optim.lr": {"log_uniform": [1e-5, 1e-1]}}


def top1(values: dict[str, Any], epoch: int) -> float:
    """Best at a learning rate of 1e-3."""
    return math.exp(-((math.log10(values["optim.lr"]) + 3) ** 2)) * (1 - math.exp(-epoch / 3))


class Search:
    """A planner and a world in which its legs happen, one after the other."""

    def __init__(self, output: Path, epochs: int = 9, score: Callable[..., float] = top1, **tune: Any) -> None:
        self.tune = TuneRecipe(space=LR, **{"trials": 9, **tune})
        recipe = {"data": DataRecipe(shards="/set"), "model": ModelRecipe(backbone="resnet18"), "batch_size": 8}
        self.base = TrainRecipe(**recipe, epochs=epochs, tune=self.tune)  # type: ignore[arg-type]
        self.space = read_space(self.tune, self.base, "r.toml")
        self.output, self.score = output, score
        self.exchanged: list[tuple[int, int]] = []
        self.legs: list[Leg] = []
        self.planner = self.again()

    def again(self) -> Planner:
        """A planner that knows only what was written down."""
        self.planner = Planner(
            self.base, self.space, load_records(str(self.output)), str(self.output), 2, self.exchange, lambda *_: None
        )
        return self.planner

    def exchange(self, item: Exchange) -> None:
        self.exchanged.append((item.taker.number, item.donor.number))

    def run(self, events: float = math.inf) -> list[Record]:
        """Do legs until the end, or until so many epochs were told, in the middle of whatever that is."""
        while (leg := self.planner.next_leg()) is not None:
            self.legs.append(leg)
            stopped = False
            for epoch in range(leg.heard + 1, (leg.until or self.base.epochs) + 1):
                if not events:
                    return self.planner.records
                events -= 1
                row = {"epoch": epoch, "val_top1": self.score(leg.values, epoch), "val_loss": 1.0}
                stopped = self.planner.heard(leg.number, row, 0.5)
                if stopped:
                    break
            if not stopped:
                complete = leg.until is None or leg.until == self.base.epochs
                self.planner.ended(leg.number, None, complete)
        assert self.planner.done
        return self.planner.records


def plain(records: list[Record]) -> list[Any]:
    scores = [[row["val_top1"] for row in record.rows] for record in records]
    outcomes = [(record.number, record.values, record.seed, record.state, record.reason) for record in records]
    return [outcomes, scores, [record.takeovers for record in records]]


@pytest.mark.parametrize("scheduler", ["none", "asha", "median", "pbt"])
def test_a_search_that_is_killed_at_any_moment_ends_as_if_it_was_not(tmp_path: Path, scheduler: str) -> None:
    whole = Search(tmp_path / "whole", scheduler=scheduler, trials=6, interval=3)
    expected = plain(whole.run())
    epochs = sum(len(record.rows) for record in whole.planner.records)
    assert (epochs < 54) is (scheduler in ("asha", "median"))
    for cut in range(2, epochs, 13):
        search = Search(tmp_path / f"cut{cut}", scheduler=scheduler, trials=6, interval=3)
        search.run(cut)
        search.again()
        before = {record.number for record in search.planner.records if record.ended}
        search.legs.clear()
        assert plain(search.run()) == expected
        assert not before & {leg.number for leg in search.legs}  # no finished trial is repeated
        search.again()
        assert search.planner.next_leg() is None
        assert search.planner.done


def test_asha_stops_those_behind_at_its_rungs(tmp_path: Path) -> None:
    records = Search(tmp_path, scheduler="asha", grace_epochs=1, reduction=3).run()
    assert {len(record.rows) for record in records} <= {1, 3, 9}
    stopped = [record for record in records if record.state == "stopped"]
    assert len(stopped) >= 3
    assert stopped[0].reason == f"asha: behind the others after epoch {stopped[0].epoch}"
    best = ranking(records, "val_top1", 1.0)[0]
    assert best.state == "finished"
    assert abs(math.log10(best.values["optim.lr"]) + 3) < 0.7


def test_a_population_goes_on_from_its_first_with_values_that_are_changed(tmp_path: Path) -> None:
    search = Search(tmp_path, scheduler="pbt", trials=4, interval=3, quantile=0.25)
    records = search.run()
    assert all(record.state == "finished" for record in records)
    assert [leg.until for leg in search.legs] == [3] * 4 + [6] * 4 + [9] * 4
    assert len(search.exchanged) == 2  # after epochs 3 and 6, one of four
    for record in records:
        for takeover in record.takeovers:
            donor = records[takeover.donor]
            assert takeover.values != record.values
            assert donor.at(takeover.epoch)["val_top1"] > record.at(takeover.epoch)["val_top1"]  # type: ignore[index]
            after = [row for row in record.rows if row["epoch"] > takeover.epoch]
            assert {row["generation"] for row in after} >= {1}
            legs = [leg for leg in search.legs if leg.number == record.number and leg.heard >= takeover.epoch]
            assert legs[0].values == takeover.values
            assert legs[0].generation >= 1


def test_one_that_failed_keeps_its_reason_and_holds_nobody_up(tmp_path: Path) -> None:
    search = Search(tmp_path, scheduler="pbt", trials=3, interval=3)
    leg = search.planner.next_leg()
    assert leg is not None
    search.planner.ended(leg.number, "epoch 1, step 2: not finite", False)
    records = search.run()
    assert [record.state for record in records] == ["failed", "finished", "finished"]
    assert load_records(str(tmp_path))[0].reason == "epoch 1, step 2: not finite"
    assert ranking(records, "val_top1", 1.0)[0].number > 0


def test_a_donor_is_taken_from_when_its_leg_has_ended_and_not_when_its_epoch_is_heard(tmp_path: Path) -> None:
    search = Search(tmp_path, scheduler="pbt", trials=2, interval=3, quantile=0.5)
    legs = [search.planner.next_leg(), search.planner.next_leg()]
    for leg in legs:
        assert leg is not None
        for epoch in (1, 2, 3):
            row = {"epoch": epoch, "val_top1": top1(leg.values, epoch), "val_loss": 1.0}
            search.planner.heard(leg.number, row, None)
    search.planner.ended(0, None, False)
    assert search.planner.next_leg() is None  # the other's state is still on its way to the disk
    assert not search.exchanged
    planner = search.again()  # killed there: the other's leg is told again, to an end that was heard of
    leg = planner.next_leg()
    assert leg is not None
    assert (leg.number, leg.heard, leg.until) == (1, 3, 3)
    assert planner.next_leg() is None
    planner.ended(1, None, False)
    after = planner.next_leg()
    assert after is not None
    assert after.until == 6
    assert len(search.exchanged) == 1


def test_what_has_ended_gives_no_weights_and_holds_no_population_up(tmp_path: Path) -> None:
    """Its state is deleted; one that failed with an epoch, and one that ended early with the best of all."""
    search = Search(tmp_path, scheduler="pbt", trials=4, interval=3, quantile=0.5)
    search.planner._most = 4
    legs = [search.planner.next_leg() for _ in range(4)]
    for leg in legs:
        assert leg is not None
        for epoch in range(1, 3 if leg.number == 2 else 4):
            row = {"epoch": epoch, "val_top1": (0.9, 0.8, 0.95, 0.1)[leg.number], "val_loss": 1.0}
            search.planner.heard(leg.number, row, None)
    search.planner.ended(0, "disk full", False)
    search.planner.ended(2, None, True)  # a recipe's early_stop
    search.planner.ended(1, None, False)
    search.planner.ended(3, None, False)
    again = [search.planner.next_leg(), search.planner.next_leg()]
    assert [leg.number for leg in again if leg is not None] == [1, 3]
    assert search.exchanged == [(3, 1)]
    search.planner.ended(1, "no memory", False)  # after the comparison: it changes nothing of it
    search.planner.lost(3)
    assert search.planner.next_leg() is not None
    assert search.exchanged == [(3, 1)]


def test_a_record_of_an_earlier_version_is_settled_by_a_leg_that_does_nothing(tmp_path: Path) -> None:
    search = Search(tmp_path, scheduler="pbt", trials=2, interval=3, quantile=0.5)
    for number in range(2):
        rows: list[TrialEpoch] = [
            {"epoch": e, "val_top1": 0.1 * number, "order": e, "generation": 0} for e in (1, 2, 3)
        ]
        save_record(str(tmp_path), Record(number=number, values={"optim.lr": 1e-3}, seed=number, rows=rows, settled=3))
        path = Path(trial_folder(str(tmp_path), number)) / "trial.json"
        path.write_text(path.read_text().replace(' "settled": 3,\n', ""))
    legs = [search.again().next_leg(), search.planner.next_leg()]
    assert [leg.until for leg in legs if leg is not None] == [3, 3]


@pytest.mark.parametrize("scheduler", ["none", "asha", "median", "pbt"])
def test_a_loss_that_is_no_number_is_the_worst(tmp_path: Path, scheduler: str) -> None:
    search = Search(tmp_path, scheduler=scheduler, metric="val_loss", trials=6, interval=3)
    losses = [1.0, math.nan, 0.5, math.nan, 2.0, math.nan]
    while (leg := search.planner.next_leg()) is not None:
        for epoch in range(leg.heard + 1, (leg.until or 9) + 1):
            if search.planner.heard(leg.number, {"epoch": epoch, "val_top1": 0.5, "val_loss": losses[leg.number]}, 0.1):
                break
        else:
            search.planner.ended(leg.number, None, leg.until in (None, 9))
    records = search.again().records
    assert search.planner.done
    assert [record.number for record in ranking(records, "val_loss", -1.0)[:3]] == [2, 0, 4]
    takers = {record.number for record in records if record.takeovers}
    if scheduler == "pbt":
        assert takers <= {1, 3, 5}
        assert takers
    elif scheduler != "none":
        assert [records[n].state for n in (3, 5)] == ["stopped"] * 2 or scheduler == "median"
        assert records[5].state == "stopped"
        assert records[2].state == "finished"
    if scheduler == "none" and importlib.util.find_spec("optuna"):
        tpe = replace(search.tune, search="tpe")
        assert 1e-5 <= suggest(tpe, search.space, 6, records)["optim.lr"] <= 1e-1


def test_the_median_rule_hears_of_every_epoch_once(tmp_path: Path) -> None:
    search = Search(tmp_path, scheduler="median", trials=6)
    search.run()
    heard = {alias.trial_id: [row["epoch"] for row in rows] for alias, rows in search.planner._rule._results.items()}
    assert heard == {f"{r.number:04d}": [row["epoch"] for row in r.rows] for r in search.planner.records}
    assert any(record.state == "stopped" for record in search.planner.records)
    again = search.again()
    assert {alias.trial_id: [row["epoch"] for row in rows] for alias, rows in again._rule._results.items()} == heard
    stopped = next(record for record in search.planner.records if record.state == "stopped")
    stopped.state = "running"  # as a search by a rule that counted otherwise has left it
    save_record(str(tmp_path), stopped)
    leg = search.again().next_leg()
    assert leg is not None
    row = {"epoch": leg.heard + 1, "val_top1": 1.0, "val_loss": 0.1}
    assert search.planner.heard(leg.number, row, None)


def test_what_is_heard_twice_or_too_late_counts_once(tmp_path: Path) -> None:
    search = Search(tmp_path, scheduler="none", trials=2)
    leg = search.planner.next_leg()
    assert leg is not None
    for epoch in (1, 1, 2, 1):
        search.planner.heard(leg.number, {"epoch": epoch, "val_top1": 0.1, "val_loss": 1.0}, None)
    assert [row["epoch"] for row in search.planner.records[0].rows] == [1, 2]
    search.planner.ended(leg.number, "lost", False)
    assert search.planner.heard(leg.number, {"epoch": 3, "val_top1": 0.1, "val_loss": 1.0}, None)  # stop, it is over
    assert search.planner.records[0].epoch == 2


def test_no_more_trials_at_a_time_than_fit(tmp_path: Path) -> None:
    search = Search(tmp_path, scheduler="none", trials=5)
    assert [leg is not None for leg in (search.planner.next_leg() for _ in range(3))] == [True, True, False]


def test_a_search_that_is_done_goes_on_with_more_trials(tmp_path: Path) -> None:
    first = Search(tmp_path, scheduler="asha", trials=3).run()
    more = Search(tmp_path, scheduler="asha", trials=5)
    assert plain(more.run()[:3]) == plain(first)
    assert {leg.number for leg in more.legs} == {3, 4}
    fewer = Search(tmp_path, scheduler="asha", trials=2)
    assert fewer.planner.done


def test_tpe_suggests_the_same_again_and_finds_better_values(tmp_path: Path) -> None:
    imported("optuna", "optuna")
    search = Search(tmp_path / "a", search="tpe", scheduler="none", trials=30, epochs=1)
    search.planner._most = 1
    records = search.run()
    again = Search(tmp_path / "b", search="tpe", scheduler="none", trials=30, epochs=1)
    again.planner._most = 1
    again.run(13)
    again.again()._most = 1
    assert plain(again.run()) == plain(records)
    early, late = ([top1(record.values, 1) for record in part] for part in (records[:10], records[20:]))
    assert sum(late) / len(late) > sum(early) / len(early)
    running = Record(number=30, values=records[0].values, seed=0)
    failed = Record(number=31, values=records[1].values, seed=0, state="failed")
    found = suggest(search.tune, search.space, 32, [*records, running, failed])
    assert 1e-5 <= found["optim.lr"] <= 1e-1


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    takeover = TakeOver(epoch=2, donor=1, values={"optim.lr": 0.1})
    rows: list[TrialEpoch] = [{"epoch": 1, "order": 0, "generation": 0}]
    record = Record(number=0, values={"optim.lr": 0.2}, seed=5, takeovers=[takeover], rows=rows)
    save_record(str(tmp_path), record)
    assert load_records(str(tmp_path)) == [record]
    (Path(trial_folder(str(tmp_path), 0)) / "trial.json").write_text("{}")
    with pytest.raises(UserError, match=r"trial.json: not the record of a trial. Start the search in another"):
        load_records(str(tmp_path))
