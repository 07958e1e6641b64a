"""How far a training has come: counted step by step, and read from states of every version."""

from typing import Any

import numpy as np
import pytest

from kinebert.training.checkpoints.state import TrainState
from kinebert.training.loop.learner import StepOutcome
from kinebert.training.loop.reached import NUM_SUMS, Reached
from kinebert.training.run_folder import EpochRow

EMPTY: dict[str, Any] = {"recipe": {}, "shards": {}, "weights": {}, "optimizer": {}, "schedule": {}, "scaler": None}


def outcome(loss: float, num_right: float, left_out: str = "") -> StepOutcome:
    return StepOutcome(loss=loss, num_right=num_right, num_clips=8, waited_s=0, grad_norm=1, left_out=left_out)


def test_means_weigh_every_clip_alike_and_leave_out_what_was_left_out() -> None:
    at = Reached(3)
    for done in (outcome(1.0, 2), outcome(float("nan"), 0, "the loss is nan"), outcome(2.0, 6)):
        at.add(done)
    assert (at.epoch, at.step, at.num_clips, at.num_left_out) == (3, 3, 16, 1)
    assert (at.train_loss, at.train_top1) == (1.5, 0.5)


def test_an_epoch_ends_and_the_best_one_stays() -> None:
    at = Reached(0)
    rows: list[EpochRow] = [
        {"epoch": 1, "val_top1": 0.5, "val_loss": 1.0},
        {"epoch": 2, "val_top1": 0.5, "val_loss": 1.0},  # no better than the first
        {"epoch": 3, "val_top1": 0.5, "val_loss": 0.9},
        {"epoch": 4, "val_top1": 0.4, "val_loss": 0.1},
    ]
    told = at.history
    better = []
    for row in rows:
        at.add(outcome(1.0, 1))
        better.append(at.finish(row))
        assert (at.step, at.num_clips) == (0, 0)
    assert better == [True, False, True, False]
    assert (at.epoch, at.best, at.history) == (4, rows[2], rows)
    assert told == []  # a list that was handed out does not grow


@pytest.mark.parametrize("num", [3, NUM_SUMS])
def test_states_of_every_version_are_read(num: int) -> None:
    """The first ones did not count what was left out."""
    row: EpochRow = {"epoch": 1, "val_top1": 0.5}
    state = TrainState(**EMPTY, epoch=1, step=2, sums=[3.0, 4.0, 5.0, 6.0][:num], best=row, history=[row], taken_over=1)
    at = Reached.of(state)
    assert (at.epoch, at.step, at.best, at.history, at.taken_over) == (1, 2, row, [row], 1)
    assert at.sums.tolist() == [3.0, 4.0, 5.0, 6.0 if num == NUM_SUMS else 0.0]
    again = Reached.of(TrainState(**EMPTY, **at.plain()))
    np.testing.assert_array_equal(again.sums, at.sums)
    assert again.plain() == at.plain()
