"""A whole training on small synthetic clips: it learns, it resumes to the bit, it refuses what does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.evaluation.evaluate import evaluate
from kinebert.training.loop.events import Note, StepDone
from kinebert.training.loop.loop import TrainSummary
from kinebert.training.recipe.train import OptimRecipe
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import Killed, kinds, numbers, recipe_with, run, weights_of

RECIPE = recipe_with()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSummary, list[Any]]:
    output = tmp_path_factory.mktemp("undisturbed")
    summary, events = run(RECIPE, output)
    return output, summary, events


def test_it_learns(tmp_path: Path) -> None:
    summary, _ = run(replace(RECIPE, epochs=8), tmp_path)
    assert summary.best["val_top1"] == 1.0
    assert summary.history[-1]["train_loss"] < 0.5 * summary.history[0]["train_loss"]


def test_events(undisturbed: tuple[Path, TrainSummary, list[Any]]) -> None:
    _, summary, events = undisturbed
    assert kinds(events) == ["Started", *(["StepDone"] * 3 + ["EpochDone"]) * 3]
    start, step, epoch = events[0], events[1], events[4]
    assert (start.resumed, start.steps_per_epoch, start.train_videos, start.val_videos) == (None, 3, 24, 9)
    assert [event.global_step for event in events if isinstance(event, StepDone)] == list(range(1, 10))
    assert 0 <= step.data_wait <= 1
    assert 0 <= epoch.data_wait <= 1
    assert step.gpu_gib is None
    assert min(step.loss, step.grad_norm, step.clips_per_s, step.eta_s, step.lr) > 0
    means = [sum(getattr(event, key) for event in events[1:4]) / 3 for key in ("loss", "top1")]
    assert [epoch.row["train_loss"], epoch.row["train_top1"]] == pytest.approx(means)
    assert epoch.row == summary.history[0]
    assert list(epoch.row) == [
        *("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "val_top3", "val_top5", "val_mean_class"),
        *("val_ece", "lr", "skipped", "clips_per_s", "seconds"),
    ]
    assert epoch.numbers() == {**epoch.row, "data_wait": epoch.data_wait}
    assert (epoch.is_best, epoch.best_epoch, epoch.best_top1) == (True, 1, epoch.row["val_top1"])


@pytest.mark.parametrize("die_at", [2, 3, 4, 7, 8])
def test_a_killed_run_goes_on_to_the_same_weights(
    die_at: int, tmp_path: Path, undisturbed: tuple[Path, TrainSummary, list[Any]]
) -> None:
    """Killed within an epoch (events 2, 3 and 7 are steps) and between two (4 and 8 follow a validation)."""
    with pytest.raises(Killed):
        run(RECIPE, tmp_path, die_at=die_at)
    summary, events = run(RECIPE, tmp_path)
    assert events[0].resumed is not None
    expected = weights_of(undisturbed[0])
    for name, value in weights_of(tmp_path).items():
        assert torch.equal(value, expected[name]), name
    assert numbers(summary.history) == numbers(undisturbed[1].history)


def test_a_kill_between_best_and_state_does_the_epoch_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: tuple[Path, TrainSummary, list[Any]]
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("kinebert.training.checkpoints.writer.TrainFiles.state", die)
        with pytest.raises(Killed):
            run(replace(RECIPE, save_every_s=1e9), tmp_path)
    (tmp_path / ".best.pt.0123.partial").write_bytes(b"half")
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["best-next.pt"]
    summary, _ = run(RECIPE, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "state-before.pt", "state.pt"]
    assert load_recognizer(str(tmp_path / "best.pt"))[1].epoch == summary.best["epoch"]
    assert summary.best["val_loss"] == undisturbed[1].best["val_loss"]


def test_a_finished_run_is_kept_and_more_epochs_go_on(
    tmp_path: Path, undisturbed: tuple[Path, TrainSummary, list[Any]]
) -> None:
    run(replace(RECIPE, epochs=2), tmp_path)
    summary, events = run(replace(RECIPE, epochs=2), tmp_path)
    assert kinds(events) == ["Started"]
    assert len(summary.history) == 2
    run(RECIPE, tmp_path)
    expected = weights_of(undisturbed[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(tmp_path).items())


def test_the_best_checkpoint_is_the_best_epoch_s(undisturbed: tuple[Path, TrainSummary, list[Any]]) -> None:
    output, summary, _ = undisturbed
    _, info = load_recognizer(str(output / "best.pt"))
    assert info.epoch == summary.best["epoch"]
    top1 = [row["val_top1"] for row in summary.history]
    assert summary.best["val_top1"] == max(top1)
    assert info.metrics["val_top1"] == max(top1)
    assert info.classes == ("class0", "class1", "class2")
    assert info.extra["train"]["data"]["clip_length"] == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 5}, r"recipe.seed: 0 != 5"),
        ({"optim": OptimRecipe(lr=1e-3)}, r"recipe.optim.lr: 0.003 != 0.001"),
        ({"micro_batch": 8}, r"recipe.micro_batch: 4 != 8"),
    ],
)
def test_another_recipe_is_refused_and_the_difference_named(
    change: dict[str, Any], named: str, undisturbed: tuple[Path, TrainSummary, list[Any]]
) -> None:
    before = (undisturbed[0] / "state.pt").read_bytes()
    with pytest.raises(UserError, match=named):
        run(replace(RECIPE, **change), undisturbed[0])
    assert (undisturbed[0] / "state.pt").read_bytes() == before


def test_other_shards_are_refused(undisturbed: tuple[Path, TrainSummary, list[Any]]) -> None:
    shards = make_shards()
    shards.digest = "another"
    with pytest.raises(UserError, match=r"shards.digest: 'd1g35t' != 'another'"):
        run(RECIPE, undisturbed[0], shards)


def test_parts_that_cannot_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"split1/test: there are no videos"):
        run(replace(RECIPE, data=replace(RECIPE.data, val_part="test")), tmp_path)
    shards = make_shards()
    shards.videos[3] = replace(shards.videos[3], label=-1)
    with pytest.raises(ConfigError, match=r"1 of 24 videos have no class, the first is v003"):
        run(RECIPE, tmp_path, shards)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_ends_with_advice_and_saves_nothing(tmp_path: Path) -> None:
    wild = OptimRecipe(name="sgd", lr=1e30, max_grad_norm=1e30)
    with pytest.raises(
        UserError, match=r"epoch 1, step 2: the (loss|gradient.s norm) is nan in the clips of v0.*lower optim\.lr"
    ):
        run(replace(RECIPE, optim=wild, save_every_s=1e9), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_output_is_found_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="must be a folder"):
        run(RECIPE, tmp_path / "file")


def test_flow_and_sections_in_bfloat16(tmp_path: Path) -> None:
    # 64 pixels: on a 1x1 picture torch 2.13's bfloat16 convolution on a CPU leaves parts of its gradient unset (half of
    # 60 repeats of one step had NaN in the weights that only see padding; float32 never had)
    data = replace(RECIPE.data, sampling="sections", flip=False, multi_scale=False, crop_size=64)
    recipe = replace(RECIPE, data=data, epochs=1, amp="bf16")
    summary, events = run(recipe, tmp_path, make_shards(num_classes=2, modality="flow"))
    assert {value.dtype for value in weights_of(tmp_path).values() if value.is_floating_point()} == {torch.float32}
    assert len(summary.history) == 1
    assert "for trying out only" in events[0].text
    assert events[1].num_classes == 2


def test_crops_that_the_device_resizes_train_alike_and_go_on_after_a_kill(tmp_path: Path) -> None:
    """Another resizing, whose pixels differ by little: so do first losses, and the same bits come again."""
    shards, data = make_shards(num_classes=3), replace(RECIPE.data, multi_scale=True)
    recipe = replace(RECIPE, epochs=2, loader_workers=1, data=data)
    on_device = replace(recipe, data=replace(data, resize_on="device"))
    here, theirs = run(recipe, tmp_path / "loader", shards)
    there, ours = run(on_device, tmp_path / "device", shards)
    assert numbers(there.history) != numbers(here.history)
    assert ours[1].loss == pytest.approx(theirs[1].loss, rel=0.01)
    with pytest.raises(Killed):
        run(on_device, tmp_path / "killed", shards, die_at=5)
    again, events = run(on_device, tmp_path / "killed", shards)
    assert events[0].resumed is not None
    assert numbers(again.history) == numbers(there.history)
    with pytest.raises(UserError, match="resize_on"):
        run(recipe, tmp_path / "device", shards)
    recognizer, _ = load_recognizer(there.checkpoint)
    scores = evaluate(recognizer, shards, on_device.data, part="val", batch=2)
    assert scores.metrics().top[1] == pytest.approx(there.best["val_top1"])


def test_a_gpu_s_use_that_cannot_be_measured_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinebert.training.loop.loop.unmeasured", lambda _: "a package is missing")
    said = [run(replace(RECIPE, epochs=epochs), tmp_path)[1] for epochs in (1, 2)]
    assert [[event.text for event in events if isinstance(event, Note)] for events in said] == [
        ["a package is missing"],
        [],
    ]
