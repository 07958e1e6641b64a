"""What is shown of a search while it goes on: how many of how many, the best so far, and what is left."""

import time
from typing import Any

import pytest

from kinebert.orchestration.search import progress as search_progress
from kinebert.orchestration.search.progress import SearchProgress
from kinebert.orchestration.search.records import Record, State, TrialEpoch
from kinebert.training.recipe.train import DataRecipe, TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from tests.helpers.listening import Heard

TUNE = TuneRecipe(space={"optim.lr": {"uniform": [0, 1]}})
BASE = TrainRecipe(data=DataRecipe(shards="/set"), epochs=4, tune=TUNE)


def trial(number: int, state: State, *top1: float, **values: Any) -> Record:
    rows = [
        TrialEpoch(epoch=i + 1, val_top1=value, val_loss=1.0, order=i, generation=0) for i, value in enumerate(top1)
    ]
    return Record(number=number, values={"optim.lr": 0.5, **values}, seed=0, state=state, rows=rows)


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(search_progress, "time", clock)
    return clock


def test_a_search_is_never_silent_and_says_how_far_it_is(clock: Clock) -> None:
    heard = Heard()
    told = SearchProgress(BASE, 6, [], heard)
    clock.now += 12
    assert told.text() == "0 of 6 trials have ended; starting: 12 s"
    told.changed(trial(0, "running"), True)
    assert told.text() == "0 of 6 trials have ended; unknown left; at work: 0 (epoch 0 of 4)"
    clock.now += 30
    told.changed(trial(0, "running", 0.25, 0.5), True)
    told.changed(trial(1, "running", epochs=8), True)
    assert told.text() == (
        "0 of 6 trials have ended; 5 min 30 s left; best so far: trial 0, val_top1 50.0%; "
        "at work: 0 (epoch 2 of 4), 1 (epoch 0 of 8)"
    )  # half a trial in 30 s, and five and a half are left
    told.changed(trial(0, "finished", 0.25, 0.5, 0.5, 0.5), False)
    told.changed(trial(1, "failed", 0.9), False)
    assert told.text() == "2 of 6 trials have ended; best so far: trial 0, val_top1 50.0%"
    assert heard.said[0].startswith("trial 0 finished at epoch 4, val_top1 50.0% after epoch 2; optim.lr = 0.5")


def test_what_was_searched_before_counts_but_says_nothing_of_the_speed(clock: Clock) -> None:
    heard = Heard()
    told = SearchProgress(BASE, 4, [trial(0, "finished", 0.5), trial(1, "stopped", 0.75)], heard)
    assert heard.said == ["going on: 2 trials were begun, 2 of them have ended"]
    told.changed(trial(2, "running"), True)
    clock.now += 10
    told.changed(trial(2, "running", 0.1), True)
    assert told.text().startswith(
        "2 of 4 trials have ended; 1 min 10 s left; best so far: trial 1, val_top1 75.0%"
    )  # a quarter of a trial in 10 s


def test_the_line_moves_by_itself_and_ends_with_how_it_ended() -> None:
    heard = Heard()
    with SearchProgress(BASE, 1, [], heard) as told:
        until = time.monotonic() + 20
        while not heard.shown and time.monotonic() < until:
            time.sleep(0.01)
        assert heard.shown[0].startswith("0 of 1 trials have ended; starting: ")
        told.changed(trial(0, "finished", 0.5), False)
    assert heard.shown[-1] == "1 of 1 trials have ended; best so far: trial 0, val_top1 50.0%"
