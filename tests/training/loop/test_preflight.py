"""What is found out before any process of a training is started."""

from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.preprocessing.config import to_plain, to_toml
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.state import load_state, save_state
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.loop.preflight import check_training
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("preflight")
    return make_set(make_rows(folder / "videos", [6] * 6), folder / "rgb", FrameRecipe(resize="none"))


def recipe(shards: ShardSet, **data: object) -> TrainRecipe:
    return TrainRecipe(
        data=DataRecipe(shards=shards.uri, clip_length=4, crop_size=32, **data),  # type: ignore[arg-type]
        model=ModelRecipe(backbone="resnet18", width=0.125),
        batch_size=2,
        micro_batch=2,
        epochs=1,
    )


def test_a_finished_training_goes_on_only_with_its_own_shards(shards: ShardSet, tmp_path: Path) -> None:
    train(recipe(shards), shards, WorkerContext(), str(tmp_path), lambda _: None)
    assert "nothing is trained again" in "".join(check_training(recipe(shards), shards, str(tmp_path)))
    others = ShardSet.open(shards.uri)
    others.digest = "0" * 12
    with pytest.raises(UserError, match=r"holds a training with other settings .*shards.digest"):
        check_training(recipe(shards), others, str(tmp_path))
    with pytest.raises(UserError, match=r"recipe.data.crop_size|recipe.data.flip"):
        check_training(recipe(shards, flip=False), shards, str(tmp_path))


def test_a_key_that_an_older_version_took_for_part_of_the_run(shards: ShardSet, tmp_path: Path) -> None:
    train(recipe(shards), shards, WorkerContext(), str(tmp_path), lambda _: None)
    state = load_state(str(tmp_path))
    assert state is not None
    state.recipe["eval_batch"] = 16
    save_state(str(tmp_path), state)
    assert check_training(replace(recipe(shards), eval_batch=8, epochs=2), shards, str(tmp_path))
    state.best = {"epoch": 0, "val_top1": 1.0, "val_loss": 0.0}
    save_state(str(tmp_path), state)
    (told,) = check_training(replace(recipe(shards), early_stop=1, epochs=2), shards, str(tmp_path))
    assert "which early_stop = 1 has ended after epoch 1; nothing is trained again" in told
    state.recipe["micro_batch"] = 1
    save_state(str(tmp_path), state)
    with pytest.raises(UserError, match=r"other settings \(there != here\): recipe.micro_batch: 1 != 2\. Choose"):
        check_training(recipe(shards), shards, str(tmp_path))


def test_what_cannot_be_trained_is_said_at_once(shards: ShardSet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no 'test' videos. It has: train, val. Name one of those"):
        check_training(recipe(shards, val_part="test"), shards, str(tmp_path))
    with pytest.raises(UserError, match=r"/rgb: holds rgb, the recipe's data.modality is flow. Give a set of flow"):
        check_training(recipe(shards, modality="flow"), shards, str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3}, "has no option 'size'"),
        ({"width": 0.5}, "has no option 'width'"),
        ({"num_heads": "eight"}, "model.head_options.num_heads must be a int, got 'eight'"),
        ({"num_heads": True}, "model.head_options.num_heads must be a int, got True"),
        ({"num_layers": 1.5}, "model.head_options.num_layers must be a int, got 1.5"),
    ],
)
def test_options_of_the_head_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelRecipe(head="bert", head_options=options)
    assert ModelRecipe(head="bert", head_options={"keep_prob": 1}).arguments()["keep_prob"] == 1


def test_a_folder_that_is_not_new_is_never_used_in_silence(shards: ShardSet, tmp_path: Path) -> None:
    first = recipe(shards)
    assert check_training(first, shards, str(tmp_path), new=True) == check_training(first, shards, str(tmp_path))
    train(first, shards, WorkerContext(num_threads=1), str(tmp_path), lambda _: None)
    (tmp_path / "recipe.toml").write_text(to_toml(to_plain(first)))
    over = f"{tmp_path}: holds this training, whose {first.epochs} epochs are over; nothing is trained again"
    assert check_training(first, shards, str(tmp_path))[-1] == over
    longer = replace(first, epochs=first.epochs + 2)
    assert check_training(longer, shards, str(tmp_path))[-1] == (
        f"{tmp_path}: holds this training, begun earlier; going on in epoch {first.epochs + 1} of {longer.epochs}, "
        f"with other settings than before (before != now): epochs: {first.epochs} != {longer.epochs}"
    )
    with pytest.raises(UserError, match="With --new it is left alone: choose another output folder"):
        check_training(longer, shards, str(tmp_path), new=True)
