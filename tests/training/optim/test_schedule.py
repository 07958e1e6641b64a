"""Learning rates over time: against torch's schedules, and by hand where torch has none."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from kinebert.training.optim.groups import set_lr
from kinebert.training.optim.schedule import Schedule
from kinebert.training.recipe.optim import OptimRecipe


def test_plateau_is_torch_s() -> None:
    losses = [3.0, 2.0, 2.0, 2.1, 1.99999, 2.0, 1.5, 1.6, 1.6, 1.6, 1.6, 1.6, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=2, factor=0.1)
    ours = Schedule(OptimRecipe(lr=0.1, patience=2, factor=0.1), steps_per_epoch=10, epochs=99)
    for epoch, loss in enumerate(losses):
        if epoch == 9:  # a restart in between changes nothing
            state, ours = ours.state_dict(), Schedule(OptimRecipe(lr=0.1, patience=2, factor=0.1), 10, 99)
            ours.load_state_dict(state)
        assert ours.lr(10 * epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        reference.step(loss)
        ours.end_epoch(loss)
    assert ours.lr(0) < 1e-3


def test_warm_up_and_cosine_by_hand() -> None:
    cosine = Schedule(OptimRecipe(lr=1.0, schedule="cosine", warmup_epochs=1), steps_per_epoch=4, epochs=4)
    rates = [cosine.lr(i) for i in range(16)]
    assert rates[0] == pytest.approx(0.25)
    assert rates[8] == pytest.approx(0.5)
    assert rates[15] == pytest.approx(0.5 * (1 + math.cos(math.pi * 15 / 16)))
    constant = Schedule(OptimRecipe(lr=1.0, schedule="constant"), 4, 4)
    constant.end_epoch(float("nan"))
    assert {constant.lr(i) for i in range(20)} == {1.0}
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    set_lr(optimizer, 0.02)
    assert optimizer.param_groups[0]["lr"] == 0.02


def test_multistep_is_torch_s() -> None:
    recipe = OptimRecipe(lr=0.1, schedule="multistep", milestones=(2, 5), factor=0.3, warmup_epochs=0.5)
    ours = Schedule(recipe, steps_per_epoch=4, epochs=8)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5], 0.3)
    assert [ours.lr(0), ours.lr(1)] == pytest.approx([0.05, 0.1])  # two steps of warm-up
    for epoch in range(8):
        assert [ours.lr(4 * epoch + i) for i in (2, 3)] == pytest.approx([optimizer.param_groups[0]["lr"]] * 2)
        optimizer.step()
        reference.step()


def test_plateau_of_top1_is_torch_s() -> None:
    recipe = OptimRecipe(lr=0.1, patience=1, monitor="top1")
    ours = Schedule(recipe, steps_per_epoch=1, epochs=99)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=1, factor=0.1)
    for epoch, top1 in enumerate([0.1, 0.3, 0.3, 0.3, 0.2, 0.5, 0.5, 0.5, 0.4, 0.5]):
        assert ours.lr(epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        reference.step(top1)
        ours.end_epoch(9.0 - epoch, top1)  # a loss that falls is not looked at
    assert ours.lr(0) < 2e-3


def test_the_rate_can_follow_the_batch() -> None:
    recipe = OptimRecipe(lr=0.1, lr_batch=128)
    assert [recipe.scaled_lr(size) for size in (32, 128, 256)] == [0.025, 0.1, 0.2]
    assert replace(recipe, lr_batch=0).scaled_lr(32) == 0.1


@pytest.mark.parametrize("schedule", ["plateau", "multistep", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.5])
def test_a_warm_up_rises_in_even_steps_to_what_there_is_without_it(schedule: str, warmup: float) -> None:
    milestones = (3,) if schedule == "multistep" else ()
    plain, warm = (
        Schedule(OptimRecipe(lr=1.0, schedule=schedule, milestones=milestones, warmup_epochs=epochs), 4, 6)  # type: ignore[arg-type]
        for epochs in (0.0, warmup)
    )
    shares = [warm.lr(step) / plain.lr(step) for step in range(24)]
    assert shares == pytest.approx([min(1.0, (step + 1) / max(4 * warmup, 1)) for step in range(24)])


def test_a_rate_only_falls_after_its_warm_up() -> None:
    for schedule in ("cosine", "multistep"):
        milestones = (1, 3) if schedule == "multistep" else ()
        rates = Schedule(OptimRecipe(lr=1.0, schedule=schedule, milestones=milestones), 5, 4)  # type: ignore[arg-type]
        found = [rates.lr(step) for step in range(20)]
        assert found == sorted(found, reverse=True)
        assert min(found) > 0


def test_nothing_but_plateau_looks_at_the_validation() -> None:
    for schedule in ("cosine", "constant"):
        rates = Schedule(OptimRecipe(lr=1.0, patience=0, schedule=schedule), 5, 4)  # type: ignore[arg-type]
        before = [rates.lr(step) for step in range(20)]
        for _ in range(5):
            rates.end_epoch(9.0)
        assert [rates.lr(step) for step in range(20)] == before


def test_a_loss_that_is_no_number_is_no_better_one() -> None:
    rates = Schedule(OptimRecipe(lr=1.0, patience=1, factor=0.5), 5, 4)
    for loss in (1.0, math.nan, math.nan):
        rates.end_epoch(loss)
    assert rates.lr(0) == 0.5
    rates.end_epoch(0.9)
    assert rates.state_dict() == {"scale": 0.5, "best": 0.9, "bad_epochs": 0}


def test_a_rate_of_its_own_takes_the_place_of_the_recipe_s() -> None:
    rates = Schedule(OptimRecipe(lr=1.0, schedule="constant"), 5, 4, lr=0.25)
    assert {rates.lr(step) for step in range(20)} == {0.25}


def test_a_warm_up_of_updates_is_one_of_epochs() -> None:
    by_steps, by_epochs = (
        Schedule(OptimRecipe(lr=1.0, schedule="cosine", **warmup), 4, 6)  # type: ignore[arg-type]
        for warmup in ({"warmup_steps": 6}, {"warmup_epochs": 1.5})
    )
    assert [by_steps.lr(step) for step in range(24)] == [by_epochs.lr(step) for step in range(24)]


def test_a_warm_up_from_a_rate_and_a_half_period_after_it_by_hand() -> None:
    """From 0.01 to 1.6 in a straight line, then half a period for the rest (Chen et al., section 5.2.1)."""
    recipe = OptimRecipe(lr=1.6, schedule="cosine", warmup_steps=4, warmup_from=0.00625, cosine_from="warmup")
    ours = Schedule(recipe, steps_per_epoch=4, epochs=3)
    half = 0.8 * (1 + math.cos(math.pi / 8))
    expected = [0.01, 0.4075, 0.805, 1.2025, 1.6, half]
    assert [ours.lr(step) for step in range(6)] == pytest.approx(expected)
    assert [ours.lr(8), ours.lr(12)] == pytest.approx([0.8, 0.0], abs=1e-12)


def test_a_warm_up_from_a_rate_ends_on_the_curve_by_hand() -> None:
    """As PySlowFast has it: the line ends where the cosine, which began with the first update, is by then."""
    ours = Schedule(OptimRecipe(lr=1.0, schedule="cosine", warmup_epochs=1, warmup_from=0.1), 4, 4)
    end = 0.5 * (1 + math.cos(math.pi / 4))
    line = [0.1 + (end - 0.1) * step / 4 for step in range(4)]
    assert [ours.lr(step) for step in range(5)] == pytest.approx([*line, end])


def test_epochs_of_unequal_lengths_by_hand() -> None:
    recipe = OptimRecipe(lr=1.0, schedule="multistep", milestones=(1, 2), factor=0.5, warmup_epochs=1.5)
    ours = Schedule(recipe, [2, 4, 3], epochs=3)
    shares = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]  # of four steps of warm-up: 2 and half of 4
    drops = [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert [ours.lr(step) for step in range(9)] == pytest.approx([a * b for a, b in zip(shares, drops, strict=True)])
    cosine = Schedule(OptimRecipe(lr=1.0, schedule="cosine"), [2, 4, 3], epochs=3)
    assert cosine.lr(9) == pytest.approx(0, abs=1e-12)
    even = Schedule(recipe, 3, epochs=3)
    assert [Schedule(recipe, [3, 3, 3], 3).lr(step) for step in range(10)] == [even.lr(step) for step in range(10)]
