"""Progressive training: stages of growing clips in one recipe, killed anywhere, and positions that are stretched."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.config import load_config, to_plain, to_toml
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.evaluation.evaluate import recipe_of
from kinebert.training.loop.events import StageBegan, StageFacts, StepDone, StoppedEarly
from kinebert.training.loop.loop import TrainSummary
from kinebert.training.loop.preflight import check_training
from kinebert.training.loop.stages import carry_weights, plan_stages
from kinebert.training.models import build_recognizer
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import Killed, kinds, numbers, recipe_with, run, weights_of

STAGES: list[dict[str, Any]] = [
    {"clip_length": 2, "epochs": 1},
    {"clip_length": 4, "epochs": 2, "micro_batch": 4, "batch_size": 4, "lr": 1e-3},
    {"clip_length": 8, "epochs": 1},
]
RECIPE = recipe_with(stages=STAGES, ema=0.5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSummary, list[Any]]:
    output = tmp_path_factory.mktemp("whole")
    return output, *run(RECIPE, output)


def test_stages_count_on(whole: tuple[Path, TrainSummary, list[Any]]) -> None:
    _, summary, events = whole
    assert [row["epoch"] for row in summary.history] == [1, 2, 3, 4]
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [event.global_step for event in steps] == list(range(1, 3 + 2 * 6 + 3 + 1))
    stages = [event for event in events if isinstance(event, StageFacts)]
    assert [(event.stage, event.clip_length) for event in stages] == [(1, 2), (2, 4), (3, 8)]
    assert [event.num_epochs for event in stages] == [4, 4, 4]
    assert {event.lr for event in steps[3:15]} == {1e-3}
    assert summary.best["epoch"] == 4  # of the last stage: others were validated on other clips
    assert RECIPE.epochs == 4
    assert RECIPE.data.clip_length == 8


def test_each_stage_leaves_its_weights_and_the_next_starts_from_the_last_ones(
    whole: tuple[Path, TrainSummary, list[Any]],
) -> None:
    output, summary, _ = whole
    for number, length in ((1, 2), (2, 4)):
        network, info = load_recognizer(str(output / f"stage{number}_last.pt"))
        assert network.spec.num_frames == length
        assert recipe_of("", info).data.clip_length == length
    network, info = load_recognizer(summary.checkpoint)
    assert (network.spec.num_frames, info.epoch) == (8, 4)
    assert Path(summary.checkpoint).name == "best.pt"


def test_the_first_loss_of_a_stage_is_that_of_the_last_ones_weights(tmp_path: Path) -> None:
    still = {"lr": 1e-12, "schedule": "constant"}
    stages = [{"clip_length": 4, "epochs": 2, "lr": 3e-3}, {"clip_length": 4, "epochs": 1}]
    run(recipe_with(stages=stages, optim=still), tmp_path / "staged")
    before, _ = load_recognizer(str(tmp_path / "staged" / "stage1_last.pt"))
    after, _ = load_recognizer(str(tmp_path / "staged" / "last.pt"))
    for name, value in before.named_parameters():
        torch.testing.assert_close(after.get_parameter(name), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("die_at", [2, 4, 5, 13, 19, 20, 22])
def test_a_run_killed_in_any_stage_goes_on_to_the_same_weights(
    die_at: int, tmp_path: Path, whole: tuple[Path, TrainSummary, list[Any]]
) -> None:
    """Events 4 and 19 end a stage, 5 and 20 begin the next one."""
    assert kinds([whole[2][i] for i in (4, 5, 19, 20)]) == ["EpochDone", "StageBegan"] * 2
    with pytest.raises(Killed):
        run(RECIPE, tmp_path, die_at=die_at)
    summary, events = run(RECIPE, tmp_path)
    assert events[0].stage == (1 if die_at < 5 else 2 if die_at < 20 else 3)
    assert numbers(summary.history) == numbers(whole[1].history)
    expected = weights_of(whole[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(tmp_path).items())
    done, events = run(RECIPE, tmp_path)
    assert (kinds(events), done.history) == (["Started"], summary.history)


def test_an_early_stop_ends_a_stage_and_not_the_training(tmp_path: Path) -> None:
    stages = [{"clip_length": 2, "epochs": 9, "lr": 1e-12}, {"clip_length": 4, "epochs": 1}]
    summary, events = run(recipe_with(stages=stages, early_stop=1, optim={"schedule": "constant"}), tmp_path)
    assert kinds([event for event in events if isinstance(event, StoppedEarly | StageBegan)]) == [
        "StoppedEarly",
        "StageBegan",
    ]
    assert summary.history[-1]["epoch"] == 10  # as planned
    assert len(summary.history) < 10


def test_positions_are_stretched_over_time() -> None:
    few, many = (
        build_recognizer(backbone="resnet18", width=0.125, num_classes=3, clip_length=length, size=16)
        for length in (4, 8)
    )
    weights = {name: value.clone() for name, value in few.state_dict().items()}
    weights["head.positions"] = torch.tensor([9.0, 0.0, 1.0, 2.0, 3.0])[None, :, None].expand(1, 5, 64)
    carried = carry_weights(weights, many)
    expected = [9.0, 0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]  # moments at the middles of eight equal parts
    assert carried["head.positions"][0, :, 0].tolist() == pytest.approx(expected)
    assert torch.equal(carried["head.token"], weights["head.token"])
    same = carry_weights(few.state_dict(), few)
    assert all(torch.equal(value, same[name]) for name, value in few.state_dict().items())


def test_a_head_made_for_one_length_is_refused_before_anything_starts(tmp_path: Path) -> None:
    recipe = recipe_with(model={"head": "concat_fc"}, stages=STAGES)
    with pytest.raises(ConfigError, match=r"stages: .* the head 'concat_fc' is made for one number of frames"):
        check_training(recipe, make_shards(), str(tmp_path))
    check_training(RECIPE, make_shards(), str(tmp_path))


def test_what_a_recipe_says_of_stages(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(to_plain(RECIPE)))
    assert load_config(TrainRecipe, path) == RECIPE
    assert load_config(TrainRecipe, path).digest() == RECIPE.digest() != recipe_with(ema=0.5).digest()
    lengths = [(one.data.clip_length, one.epochs, one.batch_size, one.optim.lr) for one in RECIPE.in_stages()]
    assert lengths == [(2, 1, 8, 3e-3), (4, 2, 4, 1e-3), (8, 1, 8, 3e-3)]
    with pytest.raises(ConfigError, match="stage 2: batch_size 8 cannot be cut into micro-batches of 3"):
        recipe_with(stages=[{"clip_length": 2, "epochs": 1}, {"clip_length": 4, "epochs": 1, "micro_batch": 3}])
    with pytest.raises(ConfigError, match="stage 1: epochs must be at least 1, got 0"):
        recipe_with(stages=[{"clip_length": 2, "epochs": 0}, {"clip_length": 4, "epochs": 1}])


def test_a_later_stage_weighs_as_many_pictures_as_it_has() -> None:
    first, second, third = plan_stages(RECIPE, 24)
    assert first.later_steps == pytest.approx((12 * 4 * 4 + 3 * 8 * 8) / (8 * 2))
    assert (second.first_epoch, second.first_step, third.first_epoch, third.first_step) == (1, 3, 3, 15)
    assert third.later_steps == 0
