"""How long a training will take, from its first steps, against times worked out by hand."""

from collections.abc import Iterator
from typing import Any

import pytest

from kinebert.training.loop.events import EpochDone, Restarted, StageBegan, Started, StepDone
from kinebert.training.loop.forecast import Forecast, Forecaster
from kinebert.training.run_folder import EpochRow

FACTS: dict[str, Any] = {"num_epochs": 5, "world_size": 1, "stage": 1, "num_stages": 1, "clip_length": 8}
PER_EPOCH = 20


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Training:
    """Five epochs of 20 steps on 60 videos, with 30 in the validation."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.hear = Forecaster(self.clock)
        self.begin()

    def begin(self) -> None:
        facts: dict[str, Any] = {"num_classes": 3, "num_parameters": 7, "notes": []}
        started = Started(**FACTS, **facts, steps_per_epoch=PER_EPOCH, resumed=None, train_videos=60, val_videos=30)
        assert self.hear(started) is None

    def step(self, epoch: int, step: int, seconds: float, per_epoch: int = PER_EPOCH) -> Forecast | None:
        self.clock.now += seconds
        done = (epoch - 1) * per_epoch + step
        numbers: dict[str, Any] = dict.fromkeys(("loss", "top1", "lr", "grad_norm", "skipped", "data_wait"), 0.0)
        return self.hear(
            StepDone(
                **numbers,
                epoch=epoch,
                step=step,
                num_epochs=5,
                steps_per_epoch=per_epoch,
                global_step=done,
                clips_per_s=1.0,
                eta_s=0.0,
                steps_left=5 * per_epoch - done,
            )
        )

    def end(self, epoch: int, validation_s: float, row_s: float = 0.0) -> Forecast | None:
        self.clock.now += validation_s
        row = EpochRow(epoch=epoch, val_top1=0.5, seconds=row_s)
        return self.hear(EpochDone(row=row, num_epochs=5, is_best=True, best_epoch=epoch, best_top1=0.5, data_wait=0.0))

    def epoch(self, epoch: int, step_s: float, validation_s: float) -> Iterator[Forecast | None]:
        for step in range(1, PER_EPOCH + 1):
            yield self.step(epoch, step, step_s)
        yield self.end(epoch, validation_s)


def test_it_is_told_once_from_the_first_steps_and_once_from_the_first_epoch() -> None:
    """The first step, which compiles for 90 s, does not count; the next take 4 s each."""
    training = Training()
    assert training.step(1, 1, 90.0) is None
    assert [training.step(1, step, 4.0) for step in (2, 3)] == [None, None], "8 s are not trusted"
    told = training.step(1, 4, 4.0)
    assert told is not None
    assert not told.is_measured
    validation_s = 20 * 4 * (30 / 60) / 3
    assert told.epoch_s == pytest.approx(80 + validation_s)
    assert told.left_s == pytest.approx(96 * 4 + 5 * validation_s)
    assert [training.step(1, step, 4.0) for step in range(5, 21)] == [None] * 16
    corrected = training.end(1, 7.0)
    assert corrected == Forecast(epoch_s=87.0, left_s=4 * 87.0, is_measured=True)
    assert set(training.epoch(2, 40.0, 70.0)) == {None}, "the progress line says the rest"


def test_short_epochs_are_told_of_when_the_first_is_over() -> None:
    training = Training()
    *steps, told = training.epoch(1, 0.4, 5.0)
    assert set(steps) == {None}
    assert told is None, "four epochs of 13 s are over in less than a minute"
    training = Training()
    *_, told = training.epoch(1, 0.4, 20.0)
    assert told is not None
    assert (told.epoch_s, told.left_s) == pytest.approx((28.0, 4 * 28.0))


def test_what_takes_less_than_a_minute_is_not_worth_a_word() -> None:
    training = Training()
    assert {told for epoch in (1, 2, 3) for told in training.epoch(epoch, 0.5, 1.0)} == {None}


def test_a_run_that_goes_on_waits_for_a_whole_epoch() -> None:
    training = Training()
    assert training.step(2, 20, 3.0) is None
    assert training.end(2, 30.0) is None, "a single step, which was its first"
    told = [one for one in training.epoch(3, 5.0, 30.0) if one is not None]
    assert [one.is_measured for one in told] == [False, True]
    assert told[1].left_s == pytest.approx(2 * (100 + 30))


def test_an_epoch_of_one_step_is_measured_by_its_own_clock() -> None:
    training = Training()
    training.step(1, 1, 50.0, per_epoch=1)
    told = training.end(1, 10.0, row_s=40.0)
    assert told == Forecast(epoch_s=40.0, left_s=4 * 40.0, is_measured=True)


def test_lost_workers_do_not_count_and_a_new_stage_is_told_of_anew() -> None:
    training = Training()
    training.step(1, 1, 4.0)
    training.hear(Restarted(reason="killed", left=3, hung=False))
    assert training.step(1, 1, 1000.0) is None
    told = [training.step(1, step, 4.0) for step in (2, 3, 4)]
    assert told[2] is not None
    assert told[2].epoch_s < 100
    training.hear(StageBegan(**FACTS, steps_per_epoch=PER_EPOCH))
    told = [training.step(2, step, 8.0) for step in (1, 2, 3, 4)]
    assert told[3] is not None
    assert told[3].epoch_s == pytest.approx(2 * (80 + 20 * 4 / 6))
