"""Trainings whose batches grow as their clips shrink: they resume to the bit in any shape, and feed what is planned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.state import check_continues, load_state
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.loop.events import StepDone
from kinebert.training.loop.learner import Learner
from kinebert.training.loop.loop import TrainSummary
from kinebert.training.loop.memory import training_memory
from kinebert.training.loop.preflight import check_training
from kinebert.training.loop.stages import plan_stages
from kinebert.training.recipe.train import MultigridRecipe, TrainRecipe
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import Killed, numbers, recipe_with, run, weights_of

RECIPE = recipe_with(
    data={"clip_length": 4, "crop_size": 16},
    model={"head": "tgap"},
    optim={"schedule": "cosine"},
    batch_size=2,
    micro_batch=2,
    epochs=6,
    multigrid={"short_cycle": True, "long_cycle": True, "micro_batch": "grows"},
)
"""On 24 videos, in epochs of one to five steps."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSummary, list[Any]]:
    output = tmp_path_factory.mktemp("undisturbed")
    summary, events = run(RECIPE, output)
    return output, summary, events


def test_steps_are_of_the_shapes_of_the_cycles(undisturbed: tuple[Path, TrainSummary, list[Any]]) -> None:
    steps = [event for event in undisturbed[2] if isinstance(event, StepDone)]
    (stage,) = plan_stages(RECIPE, 24)
    assert [step.shape for step in steps] == [
        str(stage.grid(step.epoch - 1, step.step - 1)) for step in steps
    ]  # of what was fed
    by_epoch = [[step.shape for step in steps if step.epoch == epoch] for epoch in range(1, 7)]
    assert by_epoch[:4] == [["32x1x8"], ["16x1x11"], ["16x1x11"], ["16x2x8", "8x2x11"]]
    assert by_epoch[4:] == [["4x2x16", "16x2x8"], ["4x4x11", "2x4x16", "8x4x8", "4x4x11", "2x4x16"]]
    assert [step.global_step for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].steps_left == 0
    rates = {step.shape: step.lr for step in steps}
    assert rates["32x1x8"] == 8 * RECIPE.optim.lr, "the long cycle's rate is scaled, the short one's is not"
    assert rates["4x4x11"] < rates["4x2x16"] / 2
    assert undisturbed[1].history[-1]["lr"] == steps[-1].lr


@pytest.mark.parametrize(("micro_batch", "most"), [("grows", 1), ("stays", 16)])
def test_what_the_network_is_fed_has_these_shapes(
    micro_batch: Any, most: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fed, step = [], Learner.step

    def watched(self: Learner, batches: Any, epoch: int, number: int, lr: float, grid: Any) -> Any:
        taken = []

        def look() -> Any:
            for batch in batches:
                taken.append(tuple(batch.clips.shape[:3]))
                yield batch

        done = step(self, look(), epoch, number, lr, grid)
        fed.append((grid, taken, done.num_clips))
        return done

    monkeypatch.setattr(Learner, "step", watched)
    run(replace(RECIPE, multigrid=replace(RECIPE.multigrid, micro_batch=micro_batch)), tmp_path)
    for grid, taken, num_clips in fed:
        assert taken == [(grid.micro_batch, grid.clip_length, grid.crop_size)] * (grid.batch_size // grid.micro_batch)
        assert num_clips == grid.batch_size
    assert max(len(taken) for _, taken, _ in fed) == most


@pytest.mark.parametrize("die_at", [3, 8])
def test_a_killed_run_goes_on_to_the_same_weights(
    die_at: int, tmp_path: Path, undisturbed: tuple[Path, TrainSummary, list[Any]]
) -> None:
    with pytest.raises(Killed):
        run(RECIPE, tmp_path, die_at=die_at)
    summary, events = run(RECIPE, tmp_path)
    assert events[0].resumed is not None
    expected = weights_of(undisturbed[0])
    for name, value in weights_of(tmp_path).items():
        assert torch.equal(value, expected[name]), name
    assert numbers(summary.history) == numbers(undisturbed[1].history)


def test_clips_are_functions_of_their_places(undisturbed: tuple[Path, TrainSummary, list[Any]]) -> None:
    shards, (stage,) = make_shards(), plan_stages(RECIPE, 24)
    videos = shards.select("split1", "train")
    clips = ClipDataset(shards, videos, RECIPE.data, training=True, calendar=stage.calendar)  # type: ignore[arg-type]
    shapes = [clips[(0, 0)][0], clips[(5, 0)][0], clips[(0, 23)][0]]
    assert [one.shape for one in shapes if not isinstance(one, tuple)] == [  # type: ignore[union-attr]
        (stage.calendar.grid_at(*key).clip_length, *[stage.calendar.grid_at(*key).crop_size] * 2, 3)
        for key in ((0, 0), (5, 0), (0, 23))
    ]


def test_a_network_that_takes_one_length_is_refused_before_anything_starts(tmp_path: Path) -> None:
    bert = replace(RECIPE, model=replace(RECIPE.model, head="bert", head_options={}))
    shards: Any = make_shards()
    with pytest.raises(ConfigError, match=r"clips of 1 images of 8 pixels: .*'bert' was built for 4 frames.*tgap"):
        check_training(bert, shards, str(tmp_path))
    with pytest.raises(ConfigError, match=r"clips of 1 images of 8 pixels"):
        run(bert, tmp_path)
    check_training(replace(bert, multigrid=MultigridRecipe(short_cycle=True)), shards, str(tmp_path))


def test_other_epochs_are_another_training(undisturbed: tuple[Path, TrainSummary, list[Any]]) -> None:
    constant = replace(RECIPE, optim=replace(RECIPE.optim, schedule="constant"))
    state = load_state(str(undisturbed[0]))
    assert state is not None
    state.recipe = constant.identity()
    with pytest.raises(UserError, match=r"epochs: 6 != 7.*shared out among the shapes of multigrid.long_cycle"):
        check_continues(state, replace(constant, epochs=7).identity(), state.shards, "/runs/r")
    short = replace(constant, multigrid=MultigridRecipe(short_cycle=True))
    state.recipe = short.identity()
    check_continues(state, replace(short, epochs=7).identity(), state.shards, "/runs/r")


def test_memory_is_that_of_the_largest_shape() -> None:
    def activations(recipe: TrainRecipe) -> int:
        return training_memory(recipe, "rgb", 3, torch.device("cpu")).activations

    plain = activations(replace(RECIPE, multigrid=MultigridRecipe()))
    more = replace(RECIPE, multigrid=replace(RECIPE.multigrid, micro_batch="stays"))
    assert activations(more) == plain, "batches grow, micro-batches do not"
    assert plain <= activations(RECIPE) < 2 * plain
