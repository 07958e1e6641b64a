"""What a training says of its speed, of what is left, and of its epochs, against numbers worked out by hand."""

from typing import Any

import pytest

from kinebert.training.loop.events import (
    EpochDone,
    Event,
    LeftOut,
    Progress,
    StageBegan,
    Started,
    StepDone,
    StoppedEarly,
)
from kinebert.training.loop.stages import Stage, plan_stages
from kinebert.training.run_folder import EpochRow
from tests.helpers.small_training import recipe_with

NUM_VIDEOS = 24
NUMBERS: dict[str, Any] = {"loss": 0.5, "top1": 0.25, "lr": 0.1, "grad_norm": 1.0, "skipped": 0.0}


def telling(stage: int = 0, world_size: int = 1, **changes: Any) -> tuple[Progress, list[Any], Stage]:
    recipe = recipe_with(**changes)
    stages = plan_stages(recipe, NUM_VIDEOS)
    events: list[Event] = []
    return Progress(events.append, recipe.epochs, stages[stage], world_size), events, stages[stage]


def test_seconds_that_are_left_follow_the_steps() -> None:
    """Three epochs of three steps; a step of 2 s, then one of 4 s, of which a tenth counts."""
    progress, events, _ = telling()
    progress.step(0, 1, clips=8, seconds=2.0, waited_s=0.5, **NUMBERS)
    progress.step(0, 2, clips=8, seconds=4.0, waited_s=0.0, **NUMBERS)
    first, second = events
    assert isinstance(first, StepDone)
    assert (first.epoch, first.step, first.global_step, first.num_epochs, first.steps_per_epoch) == (1, 1, 1, 3, 3)
    assert (first.clips_per_s, first.data_wait, first.eta_s) == pytest.approx((4.0, 0.25, 8 * 2.0))
    assert (second.clips_per_s, second.data_wait) == pytest.approx((2.0, 0.0))
    assert second.eta_s == pytest.approx(7 * (0.9 * 2.0 + 0.1 * 4.0))
    assert {name: getattr(second, name) for name in NUMBERS} == NUMBERS
    assert (second.gpu_gib, second.system) == (None, {})


def test_a_validation_counts_once_it_is_known() -> None:
    progress, events, _ = telling()
    row: EpochRow = {"epoch": 1, "val_top1": 0.5, "val_loss": 1.0}
    progress.step(0, 3, clips=8, seconds=2.0, waited_s=0.0, **NUMBERS)
    progress.epoch(row, 10.0, row, True)
    progress.step(1, 1, clips=8, seconds=2.0, waited_s=0.0, **NUMBERS)
    assert events[0].eta_s == pytest.approx(6 * 2.0)
    assert events[2].eta_s == pytest.approx(5 * 2.0 + 2 * 10.0)  # those of the second and third epoch


def test_waiting_is_that_of_the_mean_worker_and_of_this_epoch_alone() -> None:
    progress, events, _ = telling(world_size=4)
    row: EpochRow = {"epoch": 1, "val_top1": 0.5, "val_loss": 1.0}
    for epoch, waited_s in enumerate((4.0, 0.0)):
        progress.step(epoch, 1, clips=8, seconds=2.0, waited_s=waited_s, **NUMBERS)
        progress.step(epoch, 2, clips=8, seconds=2.0, waited_s=0.0, **NUMBERS)
        progress.epoch(row, 0.0, row, epoch == 0, gpu_gib=1.5)
    assert events[0].data_wait == pytest.approx(0.5)  # four workers waited a second each
    assert [event.data_wait for event in events if isinstance(event, EpochDone)] == pytest.approx([0.25, 0.0])
    assert [event.is_best for event in events if isinstance(event, EpochDone)] == [True, False]
    assert events[2].numbers() == {**row, "data_wait": 0.25, "gpu_gib": 1.5}


def test_an_epoch_without_a_step_has_not_waited() -> None:
    """As one has that goes on right before its validation."""
    progress, events, _ = telling()
    row: EpochRow = {"epoch": 1, "val_top1": 0.5, "val_loss": 1.0}
    progress.epoch(row, 0.0, row, True)
    assert (events[0].data_wait, events[0].best_epoch, events[0].best_top1) == (0.0, 1, 0.5)


def test_what_is_recorded_of_an_epoch_are_its_numbers() -> None:
    row: Any = {"epoch": 2, "train_loss": 1.0, "skipped": 1, "lr_sgd": 0.5, "of_another_version": "words"}
    event = EpochDone(row=row, num_epochs=3, is_best=False, best_epoch=1, best_top1=0.5, data_wait=0.1)
    assert event.numbers() == {"epoch": 2, "train_loss": 1.0, "skipped": 1, "lr_sgd": 0.5, "data_wait": 0.1}


def test_stages_say_where_they_stand() -> None:
    stages = [{"clip_length": 2, "epochs": 1}, {"clip_length": 4, "epochs": 2, "batch_size": 4}]
    progress, events, stage = telling(1, 2, stages=stages)
    facts: dict[str, Any] = {
        "train_videos": 24,
        "val_videos": 9,
        "num_classes": 3,
        "num_parameters": 7,
        "device": "cpu",
    }
    progress.start((1, 5), **facts, notes=["short videos"])
    progress.next_stage()
    progress.step(1, 2, clips=4, seconds=1.0, waited_s=0.0, **NUMBERS)
    started, began, step = events
    assert isinstance(started, Started)
    assert isinstance(began, StageBegan)
    for event in (started, began):
        assert (event.num_epochs, event.steps_per_epoch, event.world_size) == (3, 6, 2)
        assert (event.stage, event.num_stages, event.clip_length) == (2, 2, 4)
    assert (started.resumed, started.notes, started.num_parameters, started.device) == (
        (1, 5),
        ["short videos"],
        7,
        "cpu",
    )
    assert step.global_step == stage.first_step + 2 == 3 + 2
    assert step.eta_s == pytest.approx(10 * 1.0)


def test_a_first_stage_counts_the_pictures_of_the_later_ones() -> None:
    """A clip of four images takes as long as two of two."""
    stages = [{"clip_length": 2, "epochs": 1}, {"clip_length": 4, "epochs": 1}]
    progress, events, _ = telling(0, stages=stages)
    progress.step(0, 1, clips=8, seconds=1.0, waited_s=0.0, **NUMBERS)
    assert events[0].eta_s == pytest.approx(2 + 3 * 2)


def test_epochs_and_steps_are_told_from_one() -> None:
    progress, events, _ = telling()
    progress.left_out(0, 1, "the loss is nan")
    progress.early_stop(3, {"epoch": 1, "val_top1": 0.5})
    assert events == [LeftOut(epoch=1, step=1, reason="the loss is nan"), StoppedEarly(epoch=3, best_epoch=1)]
